"""How fast history runs through the core: the code of `interlock replay`, files in and files out, without ClickHouse."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks import workload
from benchmarks.decode import BARE_CHUNK, Bare
from interlock.policies.model import Policy
from interlock.policies.planning import make_plan
from interlock.streams.outputs import Outputs
from interlock.streams.reference import Reference
from interlock.streams.replay import Inputs, replay

RUN_START = workload.START + 10 * 366 * 86_400_000
"""When the run says it began: after all events."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A row of the table: what ran, events (predictions and outcomes) per second, the median of the runs."""

    what: str
    rate: float


def run(
    policy: Policy,
    reference: Reference,
    files: Mapping[str, Path],
    out: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Replay files; return how many events were counted, none of which may be lost."""
    inputs = Inputs({topic: [path] for topic, path in files.items()}, RUN_START, None, b"benchmark")
    with Outputs(out, make_plan(policy), clickhouse=False) as outputs:
        summary = replay(policy, reference, inputs, outputs, progress)
    if summary.counters["dead_letters"] or summary.counters["evicted"] or not summary.latest:
        raise RuntimeError(f"the benchmark's events were not judged: {summary.counters}")
    return summary.counters["predictions"] + summary.counters["outcomes"]


def bare(path: Path) -> int:
    """Decode the same file barely, into the same columns; return how many events."""
    decode, count = Bare(), 0
    with path.open("rb") as file:
        while lines := list(islice(file, BARE_CHUNK)):
            count += len(decode(lines)[0])
    return count


def speed(what: str, work: Callable[[], int], repeats: int) -> Speed:
    """Return events per second, the median of some runs."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        events = work()
        rates.append(events / (time.perf_counter() - start))
    return Speed(what, median(rates))


def speeds(events: int, repeats: int, folder: Path) -> Iterator[Speed]:
    """Yield the rows: bare decoding of JSON first, all else after it."""
    reference, plain = workload.reference(), workload.policy()
    lines = {"predictions": workload.write_json(folder / "p.jsonl", workload.predictions(events))}
    arrow = {"predictions": workload.write_arrow(folder / "p.arrow", workload.predictions(events))}
    coded = workload.write_arrow(folder / "d.arrow", workload.predictions(events, dictionaries=True))
    yield speed("JSON, bare decoding", lambda: bare(lines["predictions"]), repeats)
    labelled = {
        "JSON": lines | {"outcomes": workload.write_json(folder / "o.jsonl", workload.outcomes(events))},
        "Arrow": arrow | {"outcomes": workload.write_arrow(folder / "o.arrow", workload.outcomes(events))},
    }
    rows = [
        ("JSON", plain, lines),
        ("Arrow", plain, arrow),
        ("Arrow, dictionary-encoded", plain, {"predictions": coded}),
        ("JSON, with audits", workload.policy(audits=True), lines),
        ("Arrow, with audits", workload.policy(audits=True), arrow),
        ("JSON, with outcomes and decision_ece", workload.policy(labels=True), labelled["JSON"]),
        ("Arrow, with outcomes and decision_ece", workload.policy(labels=True), labelled["Arrow"]),
    ]
    for what, policy, files in rows:
        yield speed(what, lambda p=policy, f=files: run(p, reference, f, folder / "out"), repeats)  # type: ignore[misc]
