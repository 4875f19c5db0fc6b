"""Tables of features through the product's own way: rows to events, events to a reference, a reference to scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from interlock.detectors.logits import Score
from interlock.policies.plan import Plan
from interlock.records import Control
from interlock.streams.batch import Frame, Predictions
from interlock.streams.decode import prediction_decoder
from interlock.streams.fit import LEAST_ROWS, learn
from interlock.streams.fit_files import gather
from interlock.streams.pipeline import Pipeline
from interlock.streams.reference import Reference

START = 1_700_006_400_000
"""A whole hour."""

Table = Mapping[str, Any]
"""Columns by name: sequences of equal length."""


def named(values: np.ndarray) -> Table:
    """Return columns x0, x1, … of a matrix [n, F]."""
    return {f"x{place}": values[:, place] for place in range(values.shape[1])}


def frame(features: Table, *, prefix: str = "e", start: int = START, spacing: int = 1000) -> Frame:
    """Return one event per row, `spacing` ms apart; ids are the prefix and the row."""
    columns = {f"features.{name}": pa.array(values) for name, values in features.items()}
    rows = len(next(iter(columns.values())))
    known: dict[str, Any] = {
        "event_id": pa.array([f"{prefix}{row}" for row in range(rows)]),
        "ts": pa.array(start + spacing * np.arange(rows, dtype=np.int64)),
        "model": pa.array(["m"] * rows),
    }
    return Frame(pa.RecordBatch.from_pydict(known | columns), 0, start + spacing * rows)


def fitted(features: Table, least: int = LEAST_ROWS) -> Reference:
    """Return what `interlock fit` learns of these rows."""
    return learn(gather(tuple(features), [frame(features, prefix="r")], []).rows, 0.01, least)


def read(reference: Reference, events: Frame, logits: Score | None = None) -> Predictions:
    """Return events as a shard gets them, whose policy counts `logits` so."""
    batch, dead = prediction_decoder(reference.wanted((), logits), b"")(events)
    if dead:
        raise ValueError(dead[0].detail)
    return batch


def scores(reference: Reference, features: Table) -> np.ndarray:
    """Return the OOD score of each row, int64[n]."""
    batch = read(reference, frame(features))
    return reference.ood.score(batch.numbers, batch.categories)


def paged(plan: Plan, reference: Reference, events: Frame) -> Control | None:
    """Return the first control that a policy publishes on these events."""
    pipeline = Pipeline(plan, reference, b"secret")
    told = [pipeline.read(read(reference, events)), pipeline.end("predictions"), pipeline.end("outcomes")]
    controls = [control for one in [*told, pipeline.finish()] for control in one.controls]
    return min(controls, key=lambda one: one.ts, default=None)
