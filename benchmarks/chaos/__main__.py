"""`make chaos`: real workers on a Kafka of three nodes, hit by a seeded driver, and what they lost: nothing, or exit code 1.

Usage: python -m benchmarks.chaos [--seed 1] [--kills 200] [--runs 4]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.__main__ import machine
from benchmarks.chaos import report
from benchmarks.chaos.campaign import Report, run
from benchmarks.chaos.children import Nursery
from benchmarks.chaos.cluster import Cluster


def main() -> int:
    """Run all; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description="Kill, freeze, cut and corrupt, then count.")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others have those after it")
    parser.add_argument("--kills", type=int, default=200, help="of all runs together")
    parser.add_argument("--runs", type=int, default=4, help="each on a cluster of its own")
    asked = parser.parse_args()
    print(machine(), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    held = campaign(folder, asked.seed, asked.kills, asked.runs)
    if held:
        shutil.rmtree(folder)
    else:
        print(f"what stood there is in {folder}")
    return 0 if held else 1


def campaign(folder: Path, seed: int, kills: int, runs: int) -> bool:
    """Run Interlock under faults; print the tables, and return whether nothing was lost, doubled or wrong."""
    reports: list[Report] = []
    with Nursery() as nursery:
        for one in range(seed, seed + runs):
            with Cluster.start(folder / f"kafka{one}") as cluster:
                reports.append(run((cluster, nursery), folder / f"run{one}", one, -(-kills // runs)))
            print(report.table(reports), report.said(reports), sep="\n", flush=True)
    print(report.faults(reports))
    return all(one.findings.held for one in reports)


if __name__ == "__main__":
    sys.exit(main())
