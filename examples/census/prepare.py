"""Turn the census files into event files: a month of reference, then a month of live traffic with three incidents.

Usage: python examples/census/prepare.py OUT_DIR

Everything is deterministic: offices, endpoints and injected events follow from a person's id alone.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
HOUR, DAY = 3_600_000, 86_400_000
START = int(np.datetime64("2026-10-01T00:00:00", "ms").astype(np.int64))
DAYS = 30
LABEL_DELAY = 6 * HOUR
MODEL, VERSION = "employment-ma", "1.0"

NUMBER = "AGEP"
CATEGORIES = ["SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL", "ANC", "NATIVITY", "DEAR", "DEYE", "DREM", "SEX", "RAC1P"]  # fmt: skip
OFFICES = {
    "boston": 0.20, "worcester": 0.16, "springfield": 0.14, "lowell": 0.12,
    "cambridge": 0.11, "brockton": 0.10, "quincy": 0.09, "lynn": 0.08,
}  # fmt: skip
ENDPOINTS = {"/benefits/claim": 0.36, "/benefits/renewal": 0.33, "/benefits/appeal": 0.31}

CODES_OFFICE, CODES_SHARE = "springfield", 0.60
CODES_START, CODES_END = START + 26 * DAY + 8 * HOUR, START + 26 * DAY + 20 * HOUR
NEW_CODES = {"CIT": "ZX-9", "MIG": "ZX-11"}
CONFIDENT_START, CONFIDENT_END = START + 8 * DAY, START + 10 * DAY
CONFIDENT_VERSION, CONFIDENT_FACTOR = "1.1", 4.0
NEVER_START, NEVER_AGE = START + 20 * DAY + 10 * HOUR, 16

TOLD_CODES: dict[str, object] = {
    "what": f"{CODES_SHARE:.0%} of {CODES_OFFICE}'s events have {' and '.join(f'{k}={v}' for k, v in NEW_CODES.items())}",
    "slo": "ood_rate_24h",
    "where": {f"features.{name}": code for name, code in NEW_CODES.items()},
}
TOLD_CONFIDENT: dict[str, object] = {
    "what": f"version {CONFIDENT_VERSION} serves everywhere, its log-odds {CONFIDENT_FACTOR:g} times too large",
    "slo": "decision_ece_p95_24h",
    "where": {"model_version": CONFIDENT_VERSION},
}
TOLD_NEVER: dict[str, object] = {
    "what": f"a person under {NEVER_AGE} is decided 'employed' by a machine alone",
    "slo": "never_event_violations",
}

Arrow = Any
"""An Arrow array."""
Columns = dict[str, Arrow]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class People:
    """n people in file order: id int64[n], features, the model's score float64[n] and the truth bool[n]."""

    ids: NDArray[np.int64]
    age: NDArray[np.float64]
    categories: Columns
    score: NDArray[np.float64]
    employed: Mask


def read_people(data: Path, name: str) -> People:
    """Read one of the two populations; the truth of `analysis` stands in a file of its own, in the same order."""
    table = pq.read_table(data / f"employment_MA_{name}.parquet")
    truth = table if name == "reference" else pq.read_table(data / "employment_MA_analysis_target.parquet")
    if not truth["id"].equals(table["id"]):
        sys.exit("the truths are not in the order of the predictions")
    return People(
        ids=table["id"].to_numpy(),
        age=table[NUMBER].to_numpy(),
        categories={name: table[name].cast(pa.string()).combine_chunks() for name in CATEGORIES},
        score=table["predicted_probability"].to_numpy(),
        employed=truth["employed"].to_numpy() == 1,
    )


def uniform(ids: NDArray[np.int64], purpose: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) per id that looks random and is the same for ever (SplitMix64, Steele et al. 2014)."""
    z = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(purpose * 0xD1B54A32D192ED03 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) / 2.0**64


def assigned(draw: NDArray[np.float64], shares: Mapping[str, float]) -> NDArray[np.object_]:
    """Return the name that each draw falls on."""
    edges = np.cumsum(list(shares.values()))[:-1]
    return np.array(list(shares), dtype=object)[np.searchsorted(edges, draw, side="right")]


def predictions(people: People, start: int) -> Columns:
    """Return the prediction events of these people, laid evenly over DAYS from `start`."""
    n = len(people.ids)
    employed = people.score >= 0.5  # noqa: PLR2004 - the model's own threshold: it gives the file's `prediction`
    columns: Columns = {
        "event_id": pa.array([f"person-{i:06d}" for i in people.ids.tolist()]),
        "ts": pa.array(start + np.arange(n, dtype=np.int64) * (DAYS * DAY) // n),
        "model": pa.array([MODEL] * n),
        "model_version": pa.array([VERSION] * n),
        "segment.office": pa.array(assigned(uniform(people.ids, 1), OFFICES)),
        "segment.endpoint": pa.array(assigned(uniform(people.ids, 2), ENDPOINTS)),
        "score": pa.array(people.score),
        "prediction": pa.array(employed),
        "decision": pa.array(np.where(employed, "employed", "not_employed").astype(object)),
        "route": pa.array(["automatic"] * n),
        f"features.{NUMBER}": pa.array(people.age),
    }
    return columns | {f"features.{name}": values for name, values in people.categories.items()}


def outcomes(events: Columns, people: People, confirmed: Mask) -> Columns:
    """Return each prediction's true label, 6 hours later, and whether a reviewer would call the event unfamiliar.

    A file cannot know what a detector will flag, so every outcome carries the reviewers' answer; Interlock uses it only
    for events that it flagged or selected for audit, as if nobody had looked at the others.
    """
    return {
        "event_id": events["event_id"],
        "ts": pc.add(events["ts"], LABEL_DELAY),
        "label": pa.array(people.employed),
        "confirmed_ood": pa.array(confirmed),
    }


def inject_codes(events: Columns, people: People) -> tuple[Columns, Mask]:
    """Incident 3: one office's new form sends codes never seen before, in two fields, for twelve hours."""
    ts = events["ts"].to_numpy()
    hit = (ts >= CODES_START) & (ts < CODES_END) & (uniform(people.ids, 3) < CODES_SHARE)
    hit &= events["segment.office"].to_numpy(zero_copy_only=False) == CODES_OFFICE
    changed = {
        f"features.{name}": pc.if_else(pa.array(hit), code, events[f"features.{name}"])
        for name, code in NEW_CODES.items()
    }
    return events | changed, hit


def inject_confidence(events: Columns) -> tuple[Columns, Mask]:
    """Incident 1: version 1.1 takes all traffic for two days; its log-odds are four times too large."""
    ts = events["ts"].to_numpy()
    hit = (ts >= CONFIDENT_START) & (ts < CONFIDENT_END)
    score = np.clip(events["score"].to_numpy(), 1e-12, 1 - 1e-12)
    confident = 1.0 / (1.0 + np.exp(-CONFIDENT_FACTOR * np.log(score / (1.0 - score))))
    changed = {
        "score": pa.array(np.where(hit, confident, events["score"].to_numpy())),
        "model_version": pc.if_else(pa.array(hit), CONFIDENT_VERSION, events["model_version"]),
    }
    return events | changed, hit


def inject_never_event(events: Columns, people: People) -> tuple[Columns, Mask]:
    """Incident 2: one child is decided to be employed, by a machine alone; the model's own score stays as it was."""
    hit = np.zeros(len(people.ids), dtype=np.bool_)
    hit[np.flatnonzero((events["ts"].to_numpy() >= NEVER_START) & (people.age < NEVER_AGE))[0]] = True
    changed = {"decision": pc.if_else(pa.array(hit), "employed", events["decision"])}
    return events | changed, hit


def incident(name: str, events: Columns, hit: Mask, told: dict[str, object]) -> dict[str, object]:
    """Return the record of an incident: which events it changed and how, where they are seen, and by which SLO."""
    ts = events["ts"].to_numpy()[hit]
    offices = sorted(set(events["segment.office"].to_numpy(zero_copy_only=False)[hit].tolist()))
    return {
        "name": name,
        "injected": True,
        "first": iso(int(ts[0])),
        "last": iso(int(ts[-1])),
        "offices": offices if len(offices) == 1 else "all",
        "events": int(hit.sum()),
        **told,
    }


def iso(milliseconds: int) -> str:
    """Return a time as RFC 3339 text."""
    return f"{np.datetime64(milliseconds, 'ms')}Z"


def live(people: People) -> tuple[Columns, Mask, list[dict[str, object]]]:
    """Return the live predictions with their three incidents, which events are truly unfamiliar, and the records."""
    events, coded = inject_codes(predictions(people, START), people)
    events, confident = inject_confidence(events)
    events, never = inject_never_event(events, people)
    child = str(events["event_id"][int(np.flatnonzero(never)[0])])
    records = [
        incident("over_confident_version", events, confident, TOLD_CONFIDENT),
        incident("never_event", events, never, TOLD_NEVER | {"where": {"event_id": child}}),
        incident("unseen_codes", events, coded, TOLD_CODES),
    ]
    return events, coded, records


def prepare(data: Path, out: Path) -> None:
    """Write the four event files and incidents.json into a directory."""
    out.mkdir(parents=True, exist_ok=True)
    past = read_people(data, "reference")
    familiar = predictions(past, START - DAYS * DAY)
    write(out / "reference-predictions.parquet", familiar)
    nobody = np.zeros(len(past.ids), dtype=np.bool_)
    write(out / "reference-outcomes.parquet", outcomes(familiar, past, nobody))
    people = read_people(data, "analysis")
    events, unfamiliar, records = live(people)
    write(out / "predictions.parquet", events)
    write(out / "outcomes.parquet", outcomes(events, people, unfamiliar))
    (out / "incidents.json").write_text(json.dumps(records, indent=2) + "\n")


def write(path: Path, columns: Columns) -> None:
    """Write columns as Parquet."""
    pq.write_table(pa.table(columns), path, row_group_size=65_536)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the census demo's event files into a directory.")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    prepare(DATA, parser.parse_args().out)


if __name__ == "__main__":
    main()
