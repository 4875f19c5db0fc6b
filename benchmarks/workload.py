"""What the benchmarks run on: events of 20 features as files, a reference of the same distribution, and policies."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.decode import CATEGORIES, NUMBERS, VOCABULARY
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.streams.batch import Frame
from interlock.streams.fit import learn
from interlock.streams.fit_files import gather
from interlock.streams.reference import Reference

START = 1_700_000_400_000
"""A multiple of ten minutes, so that every pane is full."""
SPACING = 1200
"""Milliseconds between events: 500 in a pane of ten minutes, 10 per tenant."""
TENANTS = 50
LABEL_DELAY = 30 * 60_000
BATCH = 65_536
"""Rows made, and written to Arrow files, at a time."""

HEAD = """
version: 1
model: claims
human_goal: "Claims are decided as a careful person would."
proxies: [{name: throughput, over_optimised: "speed before care"}]
owners: {model: claims-ml, on_call: claims-sre, risk: risk}
runbook_url: https://runbooks.example/claims
false_pages_per_year: 1
"""
NEVER = """never_events: [{name: approved_blindly, when: "decision == 'approve' && score < 0.0001"}]\n"""
SLO = '- {name: %s, objective: "kept", target: "%s", window: %s, action_on_breach: notify%s}\n'
OOD = SLO % ("ood_rate_24h", "<= 0.05", "24h", ", per: [tenant]")
OTHERS = SLO % ("unseen_rate_24h", "<= 0.05", "24h", "") + SLO % ("never_event_violations", "== 0", "rolling", "")
ECE = SLO % ("decision_ece_24h", "<= 0.05", "24h", "")
LABELS = "labels: {join_ttl: 2d, maturity: 1h}\n"
AUDITS = "audits: {rate: 0.05}\n"


def policy(*, labels: bool = False, audits: bool = False) -> Policy:
    """Return the policy of a row of the table."""
    return load_policy(policy_text(labels=labels, audits=audits).encode(), "benchmark")


def policy_text(*, labels: bool = False, audits: bool = False, reference: str = "") -> str:
    """Return the same as a file has it, with the name of a reference's file if there is one."""
    named = f"reference: {{file: {reference}}}\n" if reference else ""
    return _text(NEVER + LABELS * labels + AUDITS * audits + named, TENANTS, OOD + OTHERS + ECE * labels)


def slices_policy(slices: int) -> Policy:
    """Return a policy of one SLO over so many slices."""
    return load_policy(_text("", slices, OOD).encode(), "benchmark")


def counting_policy(slices: int, *, labels: bool = False) -> Policy:
    """Return a policy of what is flagged, and with `labels` of calibration, over so many slices."""
    ece = SLO % ("decision_ece_24h", "<= 0.05", "24h", ", per: [tenant]")
    return load_policy(_text(LABELS * labels, slices, OOD + ece * labels).encode(), "benchmark")


def _text(options: str, slices: int, slos: str) -> str:
    return f"{HEAD}{options}slices: [{{by: [tenant], max: {slices}}}]\nslos:\n{slos}"


def predictions(rows: int, *, dictionaries: bool = False, spacing: int = SPACING) -> Iterator[pa.RecordBatch]:
    """Yield predictions: ten numbers, ten categories, a tenant; ids are as long as UUIDs.

    With `dictionaries`, texts other than ids are dictionary-encoded. `spacing` is in ms.
    """
    for start in range(0, rows, BATCH):
        yield _predictions(start, min(BATCH, rows - start), dictionaries=dictionaries, spacing=spacing)


def _predictions(start: int, count: int, *, dictionaries: bool = False, spacing: int = SPACING) -> pa.RecordBatch:
    rng = np.random.default_rng(start)

    def text(values: Sequence[str], codes: np.ndarray) -> Any:
        indices: Any = pa.array(codes.astype(np.int32))
        array = pa.DictionaryArray.from_arrays(indices, pa.array(values))
        return array if dictionaries else array.dictionary_decode()

    numbers: list[Any] = [pa.array(column) for column in rng.normal(size=(10, count)).round(4)]
    texts = [text(list(VOCABULARY), column) for column in rng.integers(0, 30, size=(10, count))]
    tenant = text([f"tenant-{number:02d}" for number in range(TENANTS)], rng.integers(0, TENANTS, count))
    score, same = rng.random(count).round(4) * 0.998 + 0.001, np.zeros(count)
    arrays: list[Any] = [
        pa.array([f"00000000-0000-4000-8000-{number:012d}" for number in range(start, start + count)]),
        pa.array(START + spacing * np.arange(start, start + count, dtype=np.int64)),
        text(["claims"], same),
        text(["3"], same),
        pa.StructArray.from_arrays([tenant], ["tenant"]),
        pa.StructArray.from_arrays([*numbers, *texts], [*NUMBERS, *CATEGORIES]),
        pa.array(score),
        text(["approve", "deny"], score < 0.5),
    ]
    names = ["event_id", "ts", "model", "model_version", "segment", "features", "score", "decision"]
    return pa.RecordBatch.from_arrays(arrays, names)


def outcomes(rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the outcome of every prediction, half an hour later; scores mean what they say."""
    return map(outcomes_of, predictions(rows))


def outcomes_of(made: pa.RecordBatch) -> pa.RecordBatch:
    """Return the same of a batch of predictions."""
    score: Any = made.column("score")
    ts: Any = made.column("ts")
    label = np.random.default_rng(0).random(made.num_rows) < score.to_numpy()
    arrays: list[Any] = [made.column("event_id"), pa.array(ts.to_numpy() + LABEL_DELAY), pa.array(label)]
    return pa.RecordBatch.from_arrays(arrays, ["event_id", "ts", "label"])


def write_arrow(path: Path, batches: Iterator[pa.RecordBatch]) -> Path:
    """Write an Arrow file."""
    ipc: Any = pa.ipc
    first = next(batches)
    with ipc.new_file(str(path), first.schema) as writer:
        for batch in chain([first], batches):
            writer.write_batch(batch)
    return path


def write_json(path: Path, batches: Iterator[pa.RecordBatch]) -> Path:
    """Write JSON lines."""
    with path.open("w") as file:
        for batch in batches:
            file.writelines(line + "\n" for line in json_lines(batch))
    return path


def json_lines(batch: pa.RecordBatch) -> Iterator[str]:
    """Yield each event as JSON."""
    return (json.dumps(row, separators=(",", ":")) for row in batch.to_pylist())


def reference(rows: int = 20_000) -> Reference:
    """Return what `interlock fit` learns of other events of the same distribution."""
    batch = _predictions(10**9, rows)
    return learn(gather((*NUMBERS, *CATEGORIES), [Frame(batch, 0, 0)], []).rows, 0.01)
