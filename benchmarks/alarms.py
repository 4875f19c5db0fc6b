"""A policy's own machine, fed counts of many slots pane by pane: which slots page, and when.

Verdicts are not written, since to write those of 600 slots takes longer than to judge them; nothing else is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from benchmarks.court import Floats, Ints, make_context, tenants
from interlock.detectors.ece import micro_bin
from interlock.detectors.fixed import SCALE
from interlock.policies.alarm import Change
from interlock.policies.context import Learned
from interlock.policies.machine import Machine
from interlock.policies.machines import build
from interlock.policies.plan import DECISIONS

ALL_AUDITED = Learned({}, audit_probabilities=(1.0,), scores_ood=True)
"""A reference's word for streams of which people look at every event."""


def machine(slo: dict[str, object], slots: int, pages: float, **more: object) -> Machine:
    """Return the machine of an SLO over so many tenants, which may page falsely `pages` times a year, all together."""
    # One slot more is for `(other)`; it stays empty here, and its share of the budget with it.
    context = make_context(slo, slots, false_pages_per_year=pages * (slots + 1) / slots, **more)
    made = build(replace(context, learned=ALL_AUDITED))
    if not isinstance(made, Machine):
        raise TypeError(f"{slo['name']} is judged by a machine of another kind")
    return made


def machine_at(slo: dict[str, object], slots: int, page: float, **more: object) -> Machine:
    """Return the same with the budget that makes the threshold C of each slot `page`."""
    panes = make_context(slo).thresholds.panes_per_year
    return machine(slo, slots, panes * slots / page, **more)


def paged(of: Machine, slots: int, panes: Iterable[Ints]) -> tuple[Floats, int]:
    """Judge counts int64[S, width] pane by pane.

    Returns:
        The pane of each slot's first page float64[S], inf without one; and the number of all pages. An engagement within
        a day of a release updates its incident, and is no page.
    """
    names, first, pages = tenants(slots), np.full(slots, np.inf), 0
    of.slots.admit(dict.fromkeys(names, 1))
    places = {of.slots.slot(name): number for number, name in enumerate(names)}
    for pane, table in enumerate(panes):
        of.judge(pane, dict(zip(names, table, strict=True)))
        engaged = [places[change.slot] for change in of.changes if change.change is Change.ENGAGED]
        first[engaged] = np.minimum(first[engaged], pane)
        pages += len(engaged)
        of.changes.clear()
    return first, pages


def counted(of: Machine, cells: Mapping[int, Ints]) -> Ints:
    """Return a pane's counts int64[S, width] from counts int64[S] by cell of its series."""
    table = np.zeros((len(next(iter(cells.values()))), of.measure.width), np.int64)
    for cell, counts in cells.items():
        table[:, of.measure.column(cell)] = counts
    return table


def confident(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return the confidences of notes/detectors.md 4.1: half of a Beta(4, 1.2) variable above one half, .88 in the mean."""
    p: Floats = rng.beta(4, 1.2, shape) / 2 + 0.5
    return p


def doubtful(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return confidences spread evenly from .54 to .91, which say less by each label."""
    return rng.uniform(0.54, 0.91, shape)


def ece_panes(of: Machine, draws: Iterable[Floats], rng: np.random.Generator, error: float) -> Iterator[Ints]:
    """Yield panes of labelled decisions with confidences float64[S, n] that are too high by `error`, all of them."""
    for p in draws:
        slots, per_pane = p.shape
        table = counted(of, {DECISIONS: np.full(slots, per_pane)})
        bins = 3 * micro_bin(p)
        positive = (rng.random(p.shape) < p - error).astype(np.int64)
        sums = np.ones_like(bins), np.rint(p * SCALE).astype(np.int64), positive
        for place, what in enumerate(sums):
            np.add.at(table, (np.arange(slots)[:, None], of.measure.column(0) + bins + place), what)
        yield table
