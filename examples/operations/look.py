"""Say where the workers of a group are, and what they have counted together: `python examples/operations/look.py HOST:PORT…`."""

import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

KINDS = ("predictions", "outcomes", "joined", "duplicate", "late", "orphan", "evicted", "dead_letters")


def health(address: str) -> dict[str, Any] | None:
    """Return what a worker's /health says; None if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as refused:
        return dict(json.load(refused))
    except OSError:
        return None


def main() -> None:
    """Print a line a worker, and one of their counts added up."""
    counts: Counter[str] = Counter()
    judged: list[int] = []
    for address in sys.argv[1:]:
        found = health(address)
        if found is None:
            print(f"{address}: does not answer")
            continue
        shards, judges = found["shards"], found["judges"]
        print(
            f"{address}: {found['failing'] or found['status']}; shards {' '.join(sorted(shards, key=int)) or '-'};"
            f" judges {' '.join(judges) or '-'}; lag {sum(found['lag'].values())};"
            f" exceptions {' '.join(found['exceptions']) or '-'}"
        )
        for shard in shards.values():
            counts.update({what: shard["counted"].get(what, 0) for what in KINDS})
        judged += [judge["judged"] or 0 for judge in judges.values()]
    print(", ".join(f"{what} {counts[what]}" for what in KINDS), f"; judged to {max(judged, default=0)}", sep="")


if __name__ == "__main__":
    main()
