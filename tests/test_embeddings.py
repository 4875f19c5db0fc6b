"""Embeddings: from JSON and Arrow alike, learned, scored, and never NaN."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.tables import frame, read
from interlock.errors import UserError
from interlock.policies.load import load_policy
from interlock.streams.batch import Frame, Lines, Wanted
from interlock.streams.decode import prediction_decoder
from interlock.streams.fit import learn
from interlock.streams.fit_files import gather
from interlock.streams.reference import Reference, from_bytes, to_bytes
from interlock.streams.scoring import Scorer

DECODE = prediction_decoder(Wanted(embedding=True), b"key")
POLICY = load_policy(
    b"{version: 1, model: m, human_goal: g, proxies: [{name: p, over_optimised: o}], owners: {model: a, on_call: b, "
    b"risk: c}, runbook_url: 'https://r.example', false_pages_per_year: 1, slos: [{name: ood_rate_24h, "
    b"objective: kept, target: '<= 0.05', window: 24h, action_on_breach: notify}]}",
    "policy",
)
KNOWN = np.random.default_rng(0).normal(size=(3, 16))
"""Directions of familiar embeddings."""


def rows(embeddings: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"event_id": f"e{i}", "ts": 1_700_000_000_000, "model": "m", "embedding": e} for i, e in enumerate(embeddings)
    ]


def from_json(embeddings: Sequence[Any]) -> Any:
    return DECODE(Lines([json.dumps(row).encode() for row in rows(embeddings)], 0, 0))


def from_arrow(embeddings: Sequence[Any], kind: Any = None) -> Any:
    kind = kind or pa.list_(pa.float64())
    table = rows([None] * len(embeddings))
    batch = pa.RecordBatch.from_pylist([{k: v for k, v in row.items() if k != "embedding"} for row in table])
    return DECODE(Frame(batch.append_column("embedding", pa.array(embeddings, kind)), 0, 0))


def vectors(n: int, seed: int, *, odd: bool = False) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(n, 16)) if odd else KNOWN[rng.integers(0, 3, n)]
    return np.asarray((middle + 0.15 * rng.normal(size=(n, 16))) * rng.uniform(0.1, 10, size=(n, 1)))


def events(embeddings: Any, prefix: str = "e", **features: Any) -> Frame:
    made = frame({"x": np.zeros(len(embeddings)), **features}, prefix=prefix)
    return Frame(
        made.batch.append_column("embedding", pa.array(list(embeddings), pa.list_(pa.float32()))), 0, made.appended
    )


def fitted(*frames: Frame, names: Sequence[str] = ("x",)) -> Reference:
    return learn(gather(names, frames, []).rows, 0.01)


REFERENCE = fitted(events(vectors(3000, 1), "r"))


@given(st.lists(st.none() | st.lists(st.floats(-1024, 1024, width=32), max_size=5), min_size=1, max_size=9))
def test_json_and_arrow_of_the_same_embeddings_are_the_same(embeddings: list[Any]) -> None:
    one, dead = from_json(embeddings)
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float32())):
        other, also = from_arrow(embeddings, kind)

        assert [(letter.offset, letter.reason, letter.detail) for letter in dead] == [
            (letter.offset, letter.reason, letter.detail) for letter in also
        ]
        np.testing.assert_array_equal(one.embedding.lengths, other.embedding.lengths)
        np.testing.assert_array_equal(one.embedding.values, other.embedding.values)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [("text", "wrong_type"), ([1, "x"], "wrong_type"), ([1, None], "wrong_type"), ([], "out_of_range"),
     ([10**400], "out_of_range"), ([0.5] * 4097, "out_of_range"), ({"a": 1}, "wrong_type")],
)  # fmt: skip
def test_what_is_no_embedding_is_a_dead_letter_and_takes_no_other_event_with_it(bad: Any, reason: str) -> None:
    batch, dead = from_json([[1.0, 2.0], bad, None])

    assert [(letter.offset, letter.reason) for letter in dead] == [(1, reason)]
    assert batch.embedding.lengths.tolist() == [2, -1]


def test_arrow_lists_with_nan_null_or_of_text_are_dead_letters() -> None:
    for bad in ([[float("nan"), 1.0], [1.0]], [[None, 1.0], [1.0]], [[float("inf")], [1.0]]):
        batch, dead = from_arrow(bad)

        assert [letter.reason for letter in dead] == ["out_of_range"]
        assert batch.embedding.lengths.tolist() == [1]
    assert [letter.reason for letter in from_arrow([["a"]], pa.list_(pa.string()))[1]] == ["wrong_type"]
    assert not from_arrow([[1.0, 2.0]], pa.list_(pa.float32(), 2))[1]


def test_embeddings_of_other_directions_are_flagged_and_familiar_ones_are_not() -> None:
    scorer = Scorer(POLICY, REFERENCE, b"secret")
    familiar = scorer.score(read(REFERENCE, events(vectors(4000, 2))))
    odd_batch = read(REFERENCE, events(vectors(400, 3, odd=True)))
    odd = scorer.score(odd_batch)

    assert REFERENCE.width == 16
    assert familiar.scored.all()
    assert familiar.flagged.mean() < 0.02
    assert odd.flagged.mean() > 0.95
    assert set(scorer.reasons(odd_batch, np.flatnonzero(odd.flagged)).texts) == {"embedding"}
    assert set(scorer.odd_features(odd_batch, np.flatnonzero(odd.flagged))) == {"embedding"}


def test_an_event_without_the_embedding_or_with_one_of_another_length_is_not_scored() -> None:
    embeddings = [*vectors(3, 4).tolist(), None, [1.0] * 15, [1.0] * 17, [0.0] * 16]
    scores = Scorer(POLICY, REFERENCE, b"secret").score(read(REFERENCE, events(embeddings)))

    assert scores.compared.all()
    assert scores.scored.tolist() == [True, True, True, False, False, False, True]
    assert not scores.flagged[3:6].any()


def test_a_score_with_embeddings_does_not_depend_on_how_the_stream_is_cut() -> None:
    scorer, batch = Scorer(POLICY, REFERENCE, b"secret"), read(REFERENCE, events(vectors(700, 5, odd=True)))
    whole = scorer.score(batch)
    parts = [scorer.score(batch.take(np.arange(a, min(a + 101, 700)))) for a in range(0, 700, 101)]

    np.testing.assert_array_equal(np.concatenate([part.flagged for part in parts]), whole.flagged)


def test_a_reference_with_embeddings_is_the_same_in_any_order_and_as_a_file() -> None:
    made = events(vectors(3000, 1), "r")
    order = np.random.default_rng(0).permutation(3000)
    parts = [Frame(made.batch.take(order[a:b]), 0, made.appended) for a, b in ((0, 1000), (1000, 3000))]

    assert fitted(*parts).id == REFERENCE.id
    assert from_bytes(to_bytes(REFERENCE), "m.ref").id == REFERENCE.id
    assert from_bytes(to_bytes(REFERENCE), "m.ref").width == 16


def test_embeddings_alone_are_enough_to_learn_from_and_too_few_are_left_out() -> None:
    alone = fitted(events(vectors(1000, 6), "r"), names=())
    few = events([*vectors(100, 7).tolist(), *[None] * 900], "r")

    assert alone.width == 16
    assert alone.features == ()
    assert any("only 100 rows" in warning for warning in fitted(few).warnings)
    assert fitted(few).width == 0
    with pytest.raises(UserError, match="or `embedding`"):
        fitted(few, names=())


def test_where_no_reference_knows_embeddings_they_are_not_read() -> None:
    batch, dead = prediction_decoder(Wanted(), b"key")(Lines([json.dumps(rows(["junk"])[0]).encode()], 0, 0))

    assert not dead
    assert batch.embedding is None
