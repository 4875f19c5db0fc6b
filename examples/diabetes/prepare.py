"""Turn scikit-learn's diabetes into event files: six days of reference, then eight days of traffic with one incident.

Usage: python examples/diabetes/prepare.py OUT_DIR

The set is small (442 patients), so events are drawn from a part of it with replacement, by seed: patients come again and
again. Half of them train the model; the others are both reference and traffic.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

HOUR, DAY = 3_600_000, 86_400_000
START = int(np.datetime64("2026-10-01T00:00:00", "ms").astype(np.int64))
"""The first day of traffic; the reference lies before it."""

PER_DAY, REFERENCE_DAYS, DAYS = 1000, 6, 8
LABEL_DELAY = 12 * HOUR
CLINICS = ("harbour", "hill", "market")

WRONG_UNIT, WRONG_FROM, WRONG_UNTIL, KPA = "hill", START + 5 * DAY, START + 6 * DAY, 0.133322
"""The incident: for a day this clinic's new cuffs report blood pressure in kPa instead of mmHg."""


def events(
    patients: Any, truth: Any, model: Any, first: int, days: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield predictions with their outcomes, at even distances from `first` (ms) on."""
    rng = np.random.default_rng(first // DAY)
    drawn = rng.integers(0, len(truth), days * PER_DAY)
    clinics = rng.integers(0, len(CLINICS), len(drawn))
    times = first + np.arange(len(drawn)) * (DAY // PER_DAY)
    wrong = (times >= WRONG_FROM) & (times < WRONG_UNTIL) & (clinics == CLINICS.index(WRONG_UNIT))
    seen = patients[drawn].copy()
    pressure = FEATURES.index("bp")
    seen[wrong, pressure] *= KPA
    for i, value in enumerate(model.predict(seen)):
        name = f"patient-{int(times[i])}"
        yield (
            {
                "event_id": name,
                "ts": int(times[i]),
                "model": "diabetes",
                "model_version": "1",
                "segment": {"clinic": CLINICS[clinics[i]]},
                "features": {key: round(float(x), 4) for key, x in zip(FEATURES, seen[i], strict=True)},
                "prediction": round(float(value), 2),
            },
            {"event_id": name, "ts": int(times[i]) + LABEL_DELAY, "label": float(truth[drawn[i]])},
        )


FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def prepare(out: Path) -> None:
    """Write the events of both times, and where the incident lies."""
    patients, truth = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(0).permutation(len(truth))
    fitted, known = np.array_split(order, 2)
    model = Ridge().fit(patients[fitted], truth[fitted])
    out.mkdir(parents=True, exist_ok=True)
    for name, first, days in (("reference-", START - REFERENCE_DAYS * DAY, REFERENCE_DAYS), ("", START, DAYS)):
        pairs = list(events(patients[known], truth[known], model, first, days))
        for kind, column in (("predictions", 0), ("outcomes", 1)):
            lines = (json.dumps(pair[column]) + "\n" for pair in pairs)
            (out / f"{name}{kind}.jsonl").write_text("".join(lines), "utf-8")
    incident = {"what": "bp in kPa", "clinic": WRONG_UNIT, "from": WRONG_FROM, "until": WRONG_UNTIL}
    (out / "incident.json").write_text(json.dumps(incident) + "\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the script and its argument
        sys.exit("usage: prepare.py OUT_DIR")
    prepare(Path(sys.argv[1]))
