"""Write the quickstart's events: `python examples/quickstart/make.py` rewrites both files, always the same.

Four hundred claims over ten hours, a label half an hour after each. One line is cut short, and one claim is denied by
a machine alone although it is large: the never-event of policy.yaml.
"""

import json
import random
from pathlib import Path

HERE = Path(__file__).parent
START = 1_790_848_800_000  # 2026-10-01T10:00:00Z
CLAIMS, STEP, LABEL_DELAY = 400, 90_000, 1_800_000
BAD_LINE, NEVER_EVENT = 150, 300


def claim(number: int, draw: random.Random) -> dict[str, object]:
    """Return one prediction."""
    amount = round(draw.lognormvariate(6.0, 1.0), 2)
    score = round(draw.betavariate(2.0, 1.0), 4)
    decision = "pay" if score >= 0.5 else "deny"  # noqa: PLR2004 - the model's threshold
    route = "human" if amount > 5000 and decision == "deny" else "automatic"  # noqa: PLR2004
    if number == NEVER_EVENT:
        amount, score, decision, route = 64_000.0, 0.31, "deny", "automatic"
    return {
        "event_id": f"claim-{number:04d}",
        "ts": START + number * STEP,
        "model": "claims-triage",
        "model_version": "2.3",
        "segment": {"tenant": draw.choice(["acme", "zenith"])},
        "features": {
            "amount": amount,
            "vendor_code": draw.choice(["A1", "A2", "B7", "C3"]),
            "age": draw.randint(18, 90),
        },
        "score": score,
        "decision": decision,
        "route": route,
    }


def outcome(prediction: dict[str, object], draw: random.Random) -> dict[str, object]:
    """Return the label of a prediction, right as often as the score says."""
    at, score = prediction["ts"], prediction["score"]
    if not isinstance(at, int) or not isinstance(score, float):
        raise TypeError(prediction)
    return {"event_id": prediction["event_id"], "ts": at + LABEL_DELAY, "label": draw.random() < score}


def main() -> None:
    """Write predictions.jsonl and outcomes.jsonl beside this file."""
    draw = random.Random(7)  # noqa: S311 - a simulation
    claims = [claim(number, draw) for number in range(CLAIMS)]
    lines = [json.dumps(one) for one in claims]
    lines.insert(BAD_LINE, lines[BAD_LINE][:60])
    outcomes = [json.dumps(outcome(one, draw)) for one in claims]
    (HERE / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    (HERE / "outcomes.jsonl").write_text("\n".join(outcomes) + "\n")


if __name__ == "__main__":
    main()
