"""`make chaos`: real workers on a Kafka of three nodes, hit by a seeded driver, and what they lost: nothing, or exit code 1.

Usage: python -m benchmarks.chaos [--seed 1] [--kills 200] [--runs 4] [--messages 1000000] [--stock-kills 20]
                                  [--only faults,mutated,stock] [--write]
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.__main__ import machine
from benchmarks.chaos import campaign, mutated, pages, report, stock_campaign
from benchmarks.chaos.campaign import Report
from benchmarks.chaos.children import Nursery
from benchmarks.chaos.cluster import Cluster
from interlock.commands.broker import Broker

SCENARIOS = ("faults", "mutated", "stock")

Run = Callable[[tuple[Cluster, Nursery], Path, int, int], Report]


def main() -> int:
    """Run what is asked for; return 1 if anything of Interlock's was lost, doubled or wrong."""
    asked = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    head = f"`python -m benchmarks.chaos {' '.join(sys.argv[1:])}`, {machine()}, {_today()}.\n"
    print(head, flush=True)
    made, held = dict[str, str](), True
    for name in asked.only.split(","):
        text, good = {"faults": faults, "mutated": mutants, "stock": stock}[name](asked, folder / name)
        print(text, flush=True)
        made[name], held = text, held and good
    if asked.write:
        pages.write(head, made)
    if held:
        shutil.rmtree(folder)
    else:
        print(f"what stood there is in {folder}")
    return 0 if held else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description="Kill, freeze, cut and corrupt, then count.")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others have those after it")
    parser.add_argument("--kills", type=int, default=200, help="of all runs together")
    parser.add_argument("--runs", type=int, default=4, help="each on a cluster of its own")
    parser.add_argument("--messages", type=int, default=1_000_000, help="to be mutated")
    parser.add_argument("--stock-kills", type=int, default=20, help="of the stock Faust app")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="some of the scenarios, by commas")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/chaos.md and docs/evidence.md")
    asked = parser.parse_args()
    if unknown := set(asked.only.split(",")) - set(SCENARIOS):
        parser.error(f"--only: no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return asked


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def faults(asked: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """Interlock under faults."""
    reports = list(
        _runs(campaign.run, folder, range(asked.seed, asked.seed + asked.runs), -(-asked.kills // asked.runs))
    )
    text = [report.table(reports), report.faults(reports), report.said(reports)]
    return "### Interlock under faults\n\n" + "\n".join(text), all(one.findings.held for one in reports)


def _runs(run: Run, folder: Path, seeds: Sequence[int], kills: int) -> Iterator[Report]:
    """Yield what each seed did on a cluster of its own; a table is printed after each."""
    done = []
    with Nursery() as nursery:
        for seed in seeds:
            with Cluster.start(folder / f"kafka{seed}") as cluster:
                done.append(run((cluster, nursery), folder / f"run{seed}", seed, kills))
            print(report.table(done), report.said(done), sep="\n", flush=True)
            yield done[-1]


def mutants(asked: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """Mutated messages."""
    with Broker.start(folder / "kafka") as broker:
        found = mutated.compare(broker.bootstrap, folder / "run", asked.seed, asked.messages)
    return f"### Mutated messages\n\n{report.compared(asked.seed, found)}", found.held


def stock(asked: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """The stock app, which may lose and double what it likes."""
    reports = list(_runs(stock_campaign.run, folder, [asked.seed], asked.stock_kills))
    text = [report.short_table(reports), report.faults(reports), report.said(reports)]
    return "### A stock Faust app with a Table under the same driver\n\n" + "\n".join(text), True


if __name__ == "__main__":
    sys.exit(main())
