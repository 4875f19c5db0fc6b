"""Turn scikit-learn's digits into event files: six days of reference, then eight days of traffic with one incident.

Usage: python examples/digits/prepare.py OUT_DIR

The set is small (1,797 images), so traffic is drawn from a part of it with replacement, by seed: images come again and
again. A third trains the model, a third is the reference, a third is the traffic; no image is in two.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

HOUR, DAY = 3_600_000, 86_400_000
START = int(np.datetime64("2026-10-01T00:00:00", "ms").astype(np.int64))
"""The first day of traffic; the reference lies before it."""

PER_DAY, REFERENCE_DAYS, DAYS = 1000, 6, 8
LABEL_DELAY = 6 * HOUR
SCANNERS = ("north", "east", "south", "west")

TURNED, TURNED_FROM, TURNED_UNTIL = "east", START + 5 * DAY, START + 6 * DAY
"""The incident: for a day this scanner stands on its side, and its images come turned by 90 degrees."""


def events(
    images: Any, truth: Any, model: Any, first: int, days: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield predictions with their outcomes, at even distances from `first` (ms) on."""
    rng = np.random.default_rng(first // DAY)
    drawn = rng.integers(0, len(images), days * PER_DAY)
    scanners = rng.integers(0, len(SCANNERS), len(drawn))
    times = first + np.arange(len(drawn)) * (DAY // PER_DAY)
    turned = (times >= TURNED_FROM) & (times < TURNED_UNTIL) & (scanners == SCANNERS.index(TURNED))
    seen = np.where(turned[:, None, None], np.rot90(images[drawn], axes=(1, 2)), images[drawn]).reshape(len(drawn), -1)
    for i, stated in enumerate(model.predict_proba(seen)):
        name = f"digit-{int(times[i])}"
        yield (
            {
                "event_id": name,
                "ts": int(times[i]),
                "model": "digits",
                "model_version": "1",
                "segment": {"scanner": SCANNERS[scanners[i]]},
                "features": {
                    f"p{row}{column}": float(seen[i][8 * row + column]) for row in range(8) for column in range(8)
                },
                "probabilities": {str(digit): round(float(p), 4) for digit, p in enumerate(stated)},
            },
            {"event_id": name, "ts": int(times[i]) + LABEL_DELAY, "label": int(truth[drawn[i]])},
        )


def prepare(out: Path) -> None:
    """Write the events of both times, and where the incident lies."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    fitted, known, live = np.array_split(order, 3)
    model = LogisticRegression(C=0.02, max_iter=500).fit(digits.data[fitted], digits.target[fitted])
    out.mkdir(parents=True, exist_ok=True)
    for name, part, first, days in (
        ("reference-", known, START - REFERENCE_DAYS * DAY, REFERENCE_DAYS),
        ("", live, START, DAYS),
    ):
        pairs = list(events(digits.images[part], digits.target[part], model, first, days))
        for kind, column in (("predictions", 0), ("outcomes", 1)):
            lines = (json.dumps(pair[column]) + "\n" for pair in pairs)
            (out / f"{name}{kind}.jsonl").write_text("".join(lines), "utf-8")
    incident = {"what": "images turned by 90 degrees", "scanner": TURNED, "from": TURNED_FROM, "until": TURNED_UNTIL}
    (out / "incident.json").write_text(json.dumps(incident) + "\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the script and its argument
        sys.exit("usage: prepare.py OUT_DIR")
    prepare(Path(sys.argv[1]))
