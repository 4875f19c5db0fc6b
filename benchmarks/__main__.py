"""`python -m benchmarks`: what Interlock costs on this machine. `--quick` only shows that every row is there.

`--live` or `--files` runs one half: the live pipeline on a real broker, or everything else; `--counting` and
`--storing` one table of it. Two that neither half has: `--overload` sends more than a worker can take, `--waiting` lets
predictions wait for labels on a real worker. `--pending=50000000` says how many wait in `--storing` and `--waiting`,
`--rounds=3` of how many rounds the rows of `--live` are medians.
"""

import os
import platform
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from benchmarks import (
    counting,
    drifting,
    fitting,
    judging,
    live,
    live_more,
    live_pending,
    memory,
    overload,
    replaying,
    scoring,
    storing,
)
from benchmarks.replaying import Speed
from interlock.commands.broker import Broker
from interlock.errors import Unreachable, UserError

T = TypeVar("T")

OPTIONS = {"--quick", "--live", "--files", "--counting", "--storing", "--overload", "--waiting"}

EVENTS, REPEATS = 300_000, 3
MEMORY_EVENTS = 1_000_000
DAYS = 30
QUICK = 6_000, 1, 8_000, 1
"""Events, runs, events of the memory's run, days judged."""

DRIFT, DRIFT_QUICK = (10_000, 5), (50, 2)
"""Slices of 20 streams, ticks."""

STORED = 1_000_000
"""Predictions that wait for their labels."""

LIVE = live.Size(EVENTS, 5_000, 100, 5)
LIVE_QUICK = live.Size(QUICK[0], 200, 10, 1, peers=False)
MORE = 1_200_000, 10_000_000
MORE_QUICK = 6_000, 8_000, 1
OVERLOAD, OVERLOAD_QUICK, WAITING_QUICK = 200_000, 20_000, 100_000
"""Events of a topic, events of the memory's run; rounds."""
QUICKLY = ("--session-timeout", "6")


def main(options: Collection[str]) -> None:
    """Print the machine and the tables."""
    if unknown := {option for option in options if not option.startswith(("--pending=", "--rounds="))} - OPTIONS:
        sys.exit(
            __doc__ if "--help" in unknown else f"{', '.join(sorted(unknown))}: expected {', '.join(sorted(OPTIONS))}"
        )
    quick = "--quick" in options
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}")
    pending = _number(options, "--pending", STORED)
    if "--storing" in options:
        print_rows(storing.rows(QUICK[0] if quick else pending, DRIFT_QUICK[0] if quick else DRIFT[0]))
        return
    if "--waiting" in options:
        on_broker(print_waiting, WAITING_QUICK if quick else pending)
        return
    if "--overload" in options:
        on_broker(print_overload, OVERLOAD_QUICK if quick else OVERLOAD)
        return
    if "--counting" in options:
        print_counting(counting.rows(QUICK[0] if quick else EVENTS, 1 if quick else REPEATS))
        return
    if "--live" not in options:
        print_files(*(QUICK if quick else (EVENTS, REPEATS, MEMORY_EVENTS, DAYS)))
    if "--files" not in options:
        on_broker(print_live, LIVE_QUICK if quick else replace(LIVE, rounds=_number(options, "--rounds", LIVE.rounds)))


def print_files(events: int, repeats: int, memory_events: int, days: int) -> None:
    """Print the tables of what needs no broker."""
    print(f"{events:,} predictions of 20 features, 500 in a pane, 50 tenants; medians of {repeats}\n")
    with TemporaryDirectory() as folder:
        print_speeds(replaying.speeds(events, repeats, Path(folder)))
    print_scoring(scoring.costs(events, repeats))
    print_counting(counting.rows(events, repeats))
    print_rows(storing.rows(min(events, STORED), (DRIFT_QUICK if days == QUICK[3] else DRIFT)[0]))
    print_judging(judging.month(days), days)
    print_drift(drifting.ticks(*(DRIFT_QUICK if days == QUICK[3] else DRIFT)))
    with TemporaryDirectory() as folder:
        print_fits(fitting.fits(memory_events, Path(folder)), memory_events)
    with TemporaryDirectory() as folder:
        print_memory(memory.memories(memory_events, Path(folder)), memory_events)


def on_broker(table: Callable[[Broker, Path, T], None], size: T) -> None:
    """Print a table that needs a real broker, or why there is none."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            broker = Broker.start(folder / "kafka")
        except (UserError, Unreachable) as error:
            print(f"\nno broker, so no figures: {error}")
            return
        with broker:
            table(broker, folder, size)


def print_live(broker: Broker, folder: Path, size: live.Size) -> None:
    """Print the tables of the live pipeline."""
    print(
        f"\n{size.events:,} events, {live.MORE} times as many in frames, {live.PARTITIONS} partitions, one worker; "
        f"medians of {size.rounds}\n\n{'live':45}{'events/s':>12}{'us of CPU':>11}{'of bare':>9}"
    )
    for speed in live.speeds(broker, size, folder):
        share = f"{speed.share:9.3f}" if speed.what.startswith("JSON") else ""
        print(f"{speed.what:45}{speed.rate:12,.0f}{speed.cpu:11.1f}{share}", flush=True)
    print(f"\n{'milliseconds':45}{'p50':>12}{'p99':>9}{'of':>6}")
    for delay in live.delays(broker, size, folder):
        print(f"{delay.what:45}{delay.p50:12.1f}{delay.p99:9.1f}{delay.count:6}", flush=True)
    more = MORE_QUICK if size is LIVE_QUICK else (*MORE, size.rounds)
    print_more(broker.bootstrap, folder / "policy.yaml", more)


def print_overload(broker: Broker, folder: Path, events: int) -> None:
    """Print what happens to so many events that come faster than a worker takes them."""
    found = overload.overloaded(broker, events, folder)
    print(f"\n{f'overload: {events:,} events in frames, 10 in a pane':65}")
    for what, value, unit in (
        ("taken by a worker alone", found.alone, "events/s"),
        ("offered", found.offered, "events/s"),
        ("taken meanwhile", found.meanwhile, "events/s"),
        ("offered, of what it takes alone", found.offered / found.alone, "times"),
        ("most lag told", found.told, "records"),
        ("waiting when all was sent", found.waiting, "records"),
        ("memory at a tenth", found.early / 2**20, "MiB"),
        ("memory at most", found.most / 2**20, "MiB"),
        ("to drain", found.drained, "s"),
        ("never-events acted on", overload.NEVER, f"of {overload.NEVER}"),
    ):
        print(f"{what:65}{value:14,.{0 if value >= 100 or isinstance(value, int) else 1}f} {unit}")


def _number(options: Collection[str], name: str, usual: int) -> int:
    told = next((option.partition("=")[2] for option in options if option.startswith(f"{name}=")), str(usual))
    return int(told) if told.isdecimal() and int(told) else sys.exit(f"{name}={told}: expected a number")


def print_waiting(broker: Broker, folder: Path, pending: int) -> None:
    """Print what so many pending predictions cost a worker."""
    print_rows(live_pending.rows(broker.bootstrap, folder, pending))


def print_more(bootstrap: str, policy: Path, size: tuple[int, int, int]) -> None:
    """Print what more workers bring, how soon a killed one's work is caught up, and memory over hours of event time."""
    events, many, rounds = size
    print(f"\n{'frames, workers in a group':45}{'events/s':>12}{'of one':>9}")
    rates = dict(live_more.scaling(policy, bootstrap, events, rounds))
    for workers, rate in rates.items():
        print(f"{f'workers: {workers}':45}{rate:12,.0f}{rate / rates[1]:9.2f}", flush=True)
    print(f"\n{'killed in a backlog':45}{'events left':>12}{'seconds':>9}")
    for number in range(rounds):
        caught = live_more.killed(policy, bootstrap, f"killed-{number}.", events, QUICKLY if rounds == 1 else ())
        print(f"{f'kill {number + 1}':45}{caught.left:12,}{caught.seconds:9.1f}", flush=True)
    marks = "".join(f"{many * mark / live_more.MARKS / 1e6:>8.3g} M" for mark in range(1, live_more.MARKS + 1))
    print(f"\n{'resident MB of a worker after events':45}{marks}")
    sizes = live_more.sizes(policy, bootstrap, "memory.", many)
    print(f"{'frames':45}" + "".join(f"{one:>10.0f}" for one in sizes), flush=True)


def machine() -> str:
    """Return the processor, cores, memory and versions in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    return f"{model}, {os.cpu_count()} cores, {size:.0f} GiB; {versions}"


def print_speeds(rows: Iterable[Speed]) -> None:
    """Print events per second, and JSON rows as a share of bare decoding, which comes first."""
    print(f"{'replay':45}{'events/s':>12}{'of bare':>9}")
    bare = 0.0
    for row in rows:
        bare = bare or row.rate
        share = f"{row.rate / bare:9.2f}" if row.what.startswith("JSON") else ""
        print(f"{row.what:45}{row.rate:12,.0f}{share}", flush=True)


def print_scoring(rows: Iterable[scoring.Cost]) -> None:
    """Print microseconds an event, and how many times what comes first each costs."""
    print(f"\n{'scoring':45}{'us/event':>12}{'of ours':>9}")
    ours = 0.0
    for row in rows:
        ours = ours or row.us
        print(f"{row.what:45}{row.us:12.2f}{row.us / ours:9.1f}", flush=True)


def print_fits(rows: Iterable[fitting.Fitted], events: int) -> None:
    """Print seconds and memory of a fit."""
    print(f"{f'{events:,} predictions of 20 features, labelled':45}{'seconds':>12}{'MB':>9}")
    for row in rows:
        print(f"{row.what:45}{row.seconds:12.1f}{row.megabytes:9.0f}", flush=True)
    print()


def print_counting(rows: Iterable[counting.Row]) -> None:
    """Print what a shard takes to score and count in many slices, beside np.bincount, which does a part of it."""
    print(f"\n{'a shard, 1000 slices, decoded before':45}{'events/s':>12}{'of bare':>9}")
    bare = 0.0
    for row in rows:
        bare = bare or row.rate
        print(f"{row.what:45}{row.rate:12,.0f}{row.rate / bare:9.4f}", flush=True)


def print_rows(rows: Iterable[storing.Row]) -> None:
    """Print what remembering predictions costs."""
    print(f"\n{'predictions that wait for labels':65}")
    for row in rows:
        print(f"{row.what:65}{row.value:14,.{row.digits}f} {row.unit}", flush=True)


def print_judging(judged: judging.Judged, days: int) -> None:
    """Print how long a month takes."""
    each = judged.seconds / judged.panes * 1e3
    print(f"\njudging {days} days of {judging.SLICES} slices: {judged.seconds:.1f} s, {each:.2f} ms a pane")
    print(f"({judged.panes:,} panes, {judged.verdicts:,} verdicts)\n", flush=True)


def print_drift(tick: drifting.Ticks) -> None:
    """Print a tick of drift, and what counting costs an event."""
    streams = tick.slices * drifting.STREAMS
    print(
        f"drift: {streams:,} streams judged in {tick.judge * 1e3:.0f} ms, verdicts {tick.conclude * 1e3:.0f} ms more;"
    )
    print(f"{tick.resident:.0f} MiB resident at most; bins and counts {tick.counting:.2f} us an event\n", flush=True)


def print_memory(rows: Iterable[memory.Memory], events: int) -> None:
    """Print resident memory at every quarter."""
    marks = "".join(f"{events * quarter / memory.MARKS / 1e6:>8.3g} M" for quarter in range(1, memory.MARKS + 1))
    print(f"{'resident MB after predictions':45}{marks}")
    for row in rows:
        print(f"{row.what:45}" + "".join(f"{size:>10.0f}" for size in row.resident), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
