"""Play the reviewers: fill in a table, each event an hour after it came."""

import csv
import sys
from datetime import datetime, timedelta
from pathlib import Path

todo, done = map(Path, sys.argv[1:])
with todo.open(encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
for row in rows:
    row["confirmed_ood"] = "yes" if int(row["event_id"].removeprefix("claim-")) % 10 == 0 else "no"
    row["reviewed_at"] = (datetime.fromisoformat(row["ts"]) + timedelta(hours=1)).isoformat()
with done.open("w", encoding="utf-8", newline="") as file:
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
