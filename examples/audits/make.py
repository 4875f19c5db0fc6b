"""Write two days of predictions: one in ten is unfamiliar, of which the detector misses one in ten."""

import json
import sys
from pathlib import Path

START, MINUTE, EVENTS = 1_789_948_800_000, 60_000, 2_880

Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
with (Path(sys.argv[1]) / "predictions.jsonl").open("w", encoding="utf-8") as file:
    for i in range(EVENTS):
        flagged = i % 10 == 0 and i % 100 != 0
        event = {"event_id": f"claim-{i}", "ts": START + i * MINUTE, "model": "claims-triage", "score": 0.75}
        file.write(json.dumps(event | {"ood_score": 0.95 if flagged else 0.2}) + "\n")
