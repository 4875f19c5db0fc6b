"""`drift`: which streams (a feature, the score or the prediction, of a slice) have evidence of having drifted."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.drift import BINS, Design, DriftDetector
from interlock.detectors.e_bh import e_bh
from interlock.policies.accepted import Accepted
from interlock.policies.causes import Causes, Exemplar
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, ReleaseCommand, Scope
from interlock.policies.drift_story import Drift, Streams, evidence, hour_of, marked, sentence
from interlock.policies.drift_tallies import Tallies
from interlock.policies.measures import MOST_UNDECIDED
from interlock.policies.plan import slo_paths
from interlock.policies.said import Moment, Said
from interlock.policies.slots import OTHER, POOL, Slots
from interlock.policies.slotted import Slotted
from interlock.policies.states import Facts, decide
from interlock.policies.window import PaneWindow
from interlock.records import Control, State, Verdict

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

LOW = 20.0
"""M at or below which nothing is going on, as in most streams at most times: evidence is told as of the pane after it."""
HOLDS = 4
"""Times as long as a stream's evidence took to come, it is held after its last warning."""
PARTS = ("slots", "window", "detector", "tallies", "controls", "causes")


class DriftMachine(Slotted):
    """Judges drift by arrival pane; every finding is a ticket.

    A stream is found by e-BH at C = A x paging SLOs / b over all streams that there is room for: its best evidence must
    reach C x streams, j of them C x streams / j each. All null, that is at most b / paging SLOs false tickets a year, under
    any dependence: a ticket needs a mean M of C, the mean grows by at most 1 a pane, and what is found starts at 0 again.
    A found stream is clear when, for a hold of its own judged panes, its new evidence has not reached C_warn. The hold is
    the policy's, or four times as long as finding it, or the longest wait for a warning, took (up to max_hold): a change that goes on would be warned of sooner.
    """

    def __init__(self, context: Context) -> None:
        """Start before the first pane."""
        self.context = context
        self.streams = context.learned.drift
        self.slots = Slots(context.cap)
        shape = (len(self.slots), len(self.streams))
        self.width = 2 + shape[1] * BINS
        designs = [Design.of(one) for one in self.streams]
        self.detector = DriftDetector(designs, shape[0])
        self._blind = [design.bins.name for design in designs if not design.tried]
        self.window = PaneWindow(shape[0], 2, context.window_panes)
        self.tallies = Tallies.of(*shape)
        self.drifts: dict[tuple[int, int], Drift] = {}
        self.controls = Controls(context.owner, self.describe)
        self.causes = Causes(context.window_panes)
        self.accepted = Accepted(context.policy.accept_drift, [one.name for one in self.streams])
        limits = context.thresholds
        self._room = shape[0] * shape[1]
        self._find, self._warn = limits.page / shape[0], limits.warn
        self._warned = np.zeros(shape, np.bool_)
        counts = [(*one.counts, *(0,) * (BINS - len(one.counts))) for one in self.streams]
        self._reference = np.array(counts, np.int64).reshape(-1, BINS)
        self._shown: dict[int, tuple[State, tuple[int, ...]]] = {}
        self._moved: set[int] = set()

    def judge(self, pane: int, slices: Mapping[str, Ints]) -> None:
        """Take in an arrival pane: counts int64[width] by slice; events, undecided ones, then bins of each stream."""
        if not any(row.any() for row in slices.values()):
            self.window.expire(pane)
            return
        table = self._place(pane, slices)
        self.window.add(pane, table[:, :2], np.zeros((len(table), 0), np.int64))
        busy = np.flatnonzero(table[:, 0])
        if not len(busy) or not self.streams:
            return
        counts = table[:, 2:].reshape(len(table), -1, BINS)
        self.tallies.add(pane // max(1, self.context.window_panes // 2), counts)
        self.detector.step(counts, busy, hour_of(pane, self.context.pane_ms))
        self._decide(pane, busy)
        self._since(pane, counts)

    def _place(self, pane: int, slices: Mapping[str, Ints]) -> Ints:
        """Return the counts by slot, int64[S, width]."""
        if self.context.cap:
            self.slots.admit({name: int(row[0]) for name, row in slices.items() if row[0]})
        table = np.zeros((len(self.slots), self.width), np.int64)
        for name, row in slices.items():
            table[self.slots.slot(name)] += row
        for slot in np.flatnonzero(table[:, 0]).tolist():
            if self.slots.last[slot] is None:
                self.tallies.since[slot] = pane
            self.slots.seen(slot, pane)
        return table

    def _decide(self, pane: int, busy: Ints) -> None:
        m = self.detector.m
        end = (pane + 1) * self.context.pane_ms
        if self.accepted.any(end):
            self._let_be(self.accepted.mask(end, {s: self._slice(s) for s in self.slots.taken()}, m.shape))
        self._follow(pane, set(busy.tolist()))
        known = marked(self.drifts, self.detector.m.shape)
        found = e_bh(np.where(known, 0.0, m), self._find, self._room)
        for slot, stream in np.argwhere(found).tolist():
            self._engage(pane, (slot, stream))
        self._warned = e_bh(np.where(known, 0.0, self.detector.m), self._warn, self._room)

    def _since(self, pane: int, counts: Ints) -> None:
        self.tallies.follow(pane, (self.detector.m > LOW) | marked(self.drifts, self.detector.m.shape), counts)

    def _let_be(self, quiet: Mask) -> None:
        self.detector.restart(*np.nonzero(quiet))
        for pair in [pair for pair in self.drifts if quiet[pair]]:
            self._clear(pair)

    def _follow(self, pane: int, busy: set[int]) -> None:
        """Warn of found streams anew, or clear them."""
        for pair, drift in sorted(self.drifts.items()):
            if pair[0] not in busy:
                continue
            if self.detector.m[pair] >= self._warn:
                drift.hold = max(drift.hold, self._hold(drift.clear + 1))
                drift.clear, drift.best, drift.last = 0, self.detector.best(*pair), pane
                self.detector.restart(np.array([pair[0]]), np.array([pair[1]]))
                continue
            drift.clear += 1
            if drift.clear >= drift.hold:
                self._clear(pair)

    def _engage(self, pane: int, pair: tuple[int, int]) -> None:
        since = min(pane, int(self.tallies.since[pair]))
        best, m = self.detector.best(*pair), float(self.detector.m[pair])
        self.drifts[pair] = Drift(since, pane, pane, best, m, self._hold(pane + 1 - since))
        self.detector.restart(np.array([pair[0]]), np.array([pair[1]]))
        self._moved.add(pair[0])

    def _hold(self, took: int) -> int:
        """Return how many panes without a warning clear a stream whose finding, or next warning, took some."""
        limits = self.context.thresholds
        return max(limits.hold_panes, min(HOLDS * took, limits.max_hold_panes))

    def _clear(self, pair: tuple[int, int]) -> None:
        del self.drifts[pair]
        self._moved.add(pair[0])

    # -- verdicts ----------------------------------------------------------------------------------------------------

    def conclude(self, moment: Moment) -> Said:
        """Return the verdicts and controls as of an arrival pane."""
        said, taken = Said(), self.slots.taken()
        due = (moment.pane + 1) % self.context.block == 0
        by_slot: dict[int, tuple[int, ...]] = {}
        for slot, stream in sorted(self.drifts):
            by_slot[slot] = *by_slot.get(slot, ()), stream
        for slot, state in zip(taken, self._states(moment, taken, by_slot), strict=True):
            shown = state, by_slot.get(slot, ())
            before = self._shown.get(slot)
            if due or shown != before:
                self._shown[slot] = shown
                said.verdicts.append(self._verdict(slot, moment))
                said.controls += self._controls(slot, before[1] if before else (), said.verdicts[-1])
        self._moved.clear()
        if due:
            said.freed = self._free(moment)
        return said

    def _states(self, moment: Moment, taken: list[int], by_slot: Mapping[int, tuple[int, ...]]) -> list[State]:
        sums, last = self.window.sums[taken], [self.slots.last[slot] for slot in taken]
        quiet = [one is None or moment.pane - one >= self.context.stale_panes for one in last]
        return decide(
            Facts(
                breached=np.array([slot in by_slot for slot in taken], np.bool_),
                silent=np.array(quiet, np.bool_) | (not self.streams),
                unidentified=(sums[:, 1] > MOST_UNDECIDED * sums.sum(axis=1)) | (len(self._blind) == len(self.streams)),
                too_little=sums[:, 0] < self.context.slo.least_events,
                at_risk=np.asarray(self._warned[taken].any(axis=1)),
                proven=np.ones(len(taken), np.bool_),
            )
        )

    def _controls(self, slot: int, before: tuple[int, ...], verdict: Verdict) -> list[Control]:
        """Return the control that a change of the drifted streams asks for: one per scope, of all its streams."""
        now = self._shown[slot][1]
        if now == before:
            return []
        cause = Cause(verdict.ts, verdict.verdict_id, sentence(verdict, cleared=not now), verdict.evidence)
        write = self.controls.release if not now else self.controls.update if before else self.controls.engage
        return [write(verdict.scope, cause)]

    def _verdict(self, slot: int, moment: Moment) -> Verdict:
        context, scope = self.context, self.scope_of(self.slots.names[slot])
        end = (moment.pane + 1) * context.pane_ms
        state, drifted = self._shown[slot]
        return Verdict(
            verdict_id=context.verdict_id(scope, moment.pane),
            model=context.model,
            slo=context.slo.name,
            scope=scope,
            ts=end,
            window_start=end - context.window_panes * context.pane_ms,
            window_end=end,
            state=state,
            value=float(len(drifted)) if self.streams and state != "no_data" else None,
            lower=None,
            upper=None,
            n=int(self.window.sums[slot, 0]),
            label_coverage=None,
            target=str(context.slo.target),
            evidence=evidence(self._told(slot, end), state),
            policy_digest=context.policy.digest,
        )

    def _told(self, slot: int, end: int) -> Streams:
        return Streams(
            self.context,
            self.streams,
            self.detector.m[slot],
            self.tallies.begun[slot],
            self.tallies.recent[:, slot].sum(axis=0),
            self._reference,
            {stream: drift for (at, stream), drift in sorted(self.drifts.items()) if at == slot},
            self.causes.told(slot, 0),
            self.accepted.told(end, self._slice(slot)),
            int(self.window.sums[slot, 0]),
            self._find * self._room,
            self._blind,
        )

    def scope_of(self, name: str | None) -> dict[str, str]:
        """Return the scope of a slice by its name as counted."""
        return self.context.scope(name, pool=OTHER)

    def _slice(self, slot: int) -> str:
        return self.scope_of(self.slots.names[slot]).get("slice", "")

    # -- the rest of what every machine does ---------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether a stream was found or cleared since the last verdict."""
        return bool(self._moved)

    def explain(self, pane: int, found: Sequence[Exemplar]) -> None:
        """Keep which values were never seen before, and how often."""
        self.causes.take(pane, found, self.slots.slot)

    def describe(self, scope: Scope) -> dict[str, object]:
        """Return the fields that a slice is of."""
        return {"by": list(slo_paths(self.context.policy, self.context.slo))} if "slice" in scope else {}

    def let_go(self, command: ReleaseCommand, pane: int) -> list[Control]:  # noqa: ARG002 - the next pane is the first
        """End the engaged control that a person names; none other. Evidence of its streams starts anew."""
        if not self.controls.named(command):
            return []
        for slot, stream in sorted(self.drifts):
            if self.scope_of(self.slots.names[slot]) == command.scope:
                self.detector.restart(np.array([slot]), np.array([stream]))
                self._clear((slot, stream))
                self._shown[slot] = self._shown[slot][0], ()
        return [self.controls.release(command.scope, command.cause)]

    def _free(self, moment: Moment) -> list[dict[str, str]]:
        """Take slots from slices that had no event for a window and have no ticket; return which."""
        freed, held = [], {slot for slot, _ in self.drifts}
        for slot in self.slots.taken():
            last = self.slots.last[slot]
            if slot != POOL and slot not in held and (last is None or moment.judged - last > self.context.window_panes):
                freed.append(self.scope_of(self.slots.names[slot]))
                self.slots.free(slot)
                self.window.forget(slot)
                self.detector.restart(np.full(len(self.streams), slot), np.arange(len(self.streams)))
                self.tallies.drop(slot)
                self._warned[slot] = False
                self._shown.pop(slot, None)
                self.causes.drop(slot)
        return freed

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two panes, as plain values and arrays."""
        return {name: getattr(self, name).snapshot() for name in PARTS} | {
            "drifts": [(pair, astuple(drift)) for pair, drift in sorted(self.drifts.items())],
            "warned": self._warned.copy(),
            "shown": [(slot, state, list(streams)) for slot, (state, streams) in sorted(self._shown.items())],
            "moved": sorted(self._moved),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same context."""
        for name in PARTS:
            getattr(self, name).restore(saved[name])
        self.drifts = {(pair[0], pair[1]): Drift.restored(fields) for pair, fields in saved["drifts"]}
        self._warned = np.array(saved["warned"], np.bool_)
        self._shown = {slot: (state, tuple(streams)) for slot, state, streams in saved["shown"]}
        self._moved = set(saved["moved"])
