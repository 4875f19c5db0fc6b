"""A12: however a stream is spread, ordered, repeated or late, verdicts and controls are the same to the byte."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from benchmarks.evidence.registry import Measured, Size, acceptance
from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.records import control_line, verdict_line
from interlock.streams.batch import Lines, Wanted
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.pipeline import Batch, Pipeline, Yield

POLICY = """
model: m
lateness: 5m
false_pages_per_year: 100
labels: {join_ttl: 2d, maturity: 6h}
ood: {threshold: 0.9}
audits: {rate: 0.25}
slices: [{by: [tenant], max: 3}]
slos:
- {name: ood_rate_24h, objective: o, target: "<= 0.10", window: 24h, action_on_breach: notify, per: slice}
- {name: ood_recall_24h, objective: o, target: ">= 0.80", window: 24h, action_on_breach: notify}
- {name: decision_ece_24h, objective: o, target: "<= 0.08", window: 24h, action_on_breach: notify}
"""
SECRET = b"evidence"
MINUTE = 60_000
START = 1_750_003_200_000
READ = START + 3 * 24 * 60 * MINUTE
"""When the files say they are read: after all events."""


@dataclass(frozen=True, slots=True)
class Events:
    """Lines of two topics with the ts (ms) of each, in the order of delivery."""

    predictions: tuple[Sequence[bytes], np.ndarray]
    outcomes: tuple[Sequence[bytes], np.ndarray]


def _events(count: int) -> Events:
    """Return two days of events that break all SLOs on the second; labels come up to four hours later."""
    rng = np.random.default_rng(12)
    ts = START + np.sort(rng.integers(0, 48 * 60 * MINUTE, count))
    late = ts + rng.integers(MINUTE, 240 * MINUTE, count)
    bad = ts > START + 24 * 60 * MINUTE
    odd = rng.random(count) < np.where(bad, 0.3, 0.03)
    found = rng.random(count) < np.where(bad, 0.5, 0.95)
    score = rng.uniform(0.5, 1.0, count).round(4)
    label = rng.random(count) < np.where(bad, score - 0.25, score)
    made, told = [], []
    for i in range(count):
        event = {"event_id": f"e{i}", "ts": int(ts[i]), "model": "m", "model_version": "1"}
        more = {"segment": {"tenant": f"t{i % 5}"}, "score": float(score[i]), "ood_score": float(odd[i] and found[i])}
        made.append(json.dumps(event | more).encode())
        outcome = {"event_id": f"e{i}", "ts": int(late[i]), "label": bool(label[i]), "confirmed_ood": bool(odd[i])}
        told.append(json.dumps(outcome).encode())
    order = np.argsort(late, kind="stable")
    return Events((made, ts), ([told[i] for i in order], late[order]))


def _disturbed(events: Events, rng: np.random.Generator) -> Events:
    """Deliver out of order by up to four minutes (`lateness` is five), and a tenth of all events a second time."""

    def once_more(lines: Sequence[bytes], ts: np.ndarray) -> tuple[Sequence[bytes], np.ndarray]:
        twice = np.flatnonzero(rng.random(len(lines)) < 0.1)
        which = np.concatenate([np.arange(len(lines)), twice])
        when = np.concatenate(
            [ts + rng.uniform(0, 2 * MINUTE, len(ts)), ts[twice] + rng.uniform(0, 4 * MINUTE, len(twice))]
        )
        order = np.argsort(when, kind="stable")
        return [lines[i] for i in which[order]], ts[which[order]]

    return Events(once_more(*events.predictions), once_more(*events.outcomes))


def _said(events: Events, shards: int, sizes: Sequence[int]) -> tuple[str, int]:
    """Return a digest of all verdicts and controls in order, and how many there are."""
    plan = make_plan(load_policy(POLICY.encode(), "merging.yaml"))
    pipeline, heard = Pipeline(plan, None, SECRET, shards), Yield()
    decoders = {
        "predictions": prediction_decoder(Wanted(paths=plan.paths), SECRET),
        "outcomes": outcome_decoder(SECRET),
    }
    feeds = {topic: _chunks(getattr(events, topic)[0], sizes) for topic in decoders}
    while feeds:
        topic = min(feeds, key=pipeline.watermark)
        chunk = next(feeds[topic], None)
        if chunk is None:
            del feeds[topic]
            made = pipeline.end(topic)
        else:
            batch: Batch = decoders[topic](chunk)[0]
            made = pipeline.read(batch)
        heard.verdicts += made.verdicts
        heard.controls += made.controls
    rest = pipeline.finish()
    lines = [*map(verdict_line, heard.verdicts + rest.verdicts), *map(control_line, heard.controls + rest.controls)]
    return sha256(b"".join(lines)).hexdigest(), len(lines)


def _chunks(lines: Sequence[bytes], sizes: Sequence[int]) -> Iterator[Lines]:
    at, turn = 0, 0
    while at < len(lines):
        size = sizes[turn % len(sizes)]
        yield Lines(list(lines[at : at + size]), at, READ)
        at, turn = at + size, turn + 1


@acceptance(
    "A12",
    "Spread over partitions at random, out of order, a tenth delivered twice, labels hours late: verdicts and controls "
    "are the same to the byte.",
    "all runs identical",
)
def merged(size: Size) -> Measured:
    """Measure A12."""
    count, runs = (20_000, 12) if size is Size.FULL else (2_000, 1)
    events, rng = _events(count), np.random.default_rng(13)
    straight, lines = _said(events, 1, [997])
    same = 0
    for _ in range(runs):
        sizes = rng.integers(50, 3000, 5).tolist()
        same += _said(_disturbed(events, rng), int(rng.integers(1, 17)), sizes)[0] == straight
    figure = f"{same} of {runs} runs of {count:,} events identical, {lines:,} verdicts and controls each"
    return Measured(figure, same == runs)
