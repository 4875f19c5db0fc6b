"""What a guard knows: records of the control topic in, modes out. No threads, no broker; the clock is given."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import NamedTuple

from msgspec import DecodeError
from msgspec import json as msgspec_json

from interlock.protocol import MODES, ControlRecord, Lease, in_force, read_control, read_lease
from interlock.scopes import Index, Request, rank

Place = tuple[str, str, str, str]
"""What has one state: model, slo, scope (as canonical JSON), action."""


class ControlState:
    """The controls and leases of all models, as the records read so far say.

    `counts` has what was read: `control`, `lease`, and what changed nothing: `tombstone`, `junk` (cannot be decoded, or
    stands under another's key), `unknown` (another kind of record), `old` (superseded), `weaker` (within an epoch),
    `expired` (a lease), `foreign` (another model); and `mismatch`, a lease over other controls than ours.

    One thread reads; any thread may ask at the same time, and never waits.
    """

    def __init__(
        self, clock: Callable[[], float], *, on_lost: str = "human_review", models: Collection[str] | None = None
    ) -> None:
        """Know nothing: every model is in `on_lost`. `clock` gives ms since 1970 UTC; `models` are those that count.

        Raises:
            ValueError: `on_lost` is no mode.
        """
        if on_lost not in MODES:
            raise ValueError(f"on_lost: {on_lost!r} is no mode; expected one of {', '.join(MODES)}")
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._lost = rank(on_lost)
        self._only = None if models is None else frozenset(models)
        self._models: dict[str, _Model] = {}
        self._views: dict[str, View] = {}

    def read(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[ControlRecord]:
        """Take in records of the topic, as (key, value) in their order; return the controls that changed."""
        changed = []
        touched = set()
        for key, value in records:
            found = self._decode(key, value)
            if found is None:
                continue
            model = self._models.setdefault(found.model, _Model(self._lost))
            said = model.hear(found, self._clock()) if isinstance(found, Lease) else model.obey(found)
            self.counts[said] += 1
            touched.add(found.model)
            if said == "control" and isinstance(found, ControlRecord):
                changed.append(found)
        self._views.update({name: self._models[name].view() for name in touched})
        return changed

    def rank(self, model: str, request: Request) -> int:
        """Return the place among MODES of the mode that a request must be served in."""
        view = self._views.get(model)
        if view is None:
            return self._lost
        engaged = view.engaged.strongest(request)
        return engaged if self._clock() < view.trusted_until else max(engaged, view.lost)

    def controls(self, model: str, request: Request) -> tuple[ControlRecord, ...]:
        """Return the engaged controls that are about a request, the strongest first, equals in the order of their ids."""
        view = self._views.get(model)
        found = () if view is None else view.engaged.matching(request)
        return tuple(entry.control for entry in sorted(found, key=lambda one: (-one.rank, one.control.control_id)))

    def engaged(self) -> list[ControlRecord]:
        """Return all engaged controls."""
        return [control for model in self._models.values() for control in model.engaged()]

    def lost(self) -> frozenset[str]:
        """Return the models that no lease vouches for at this moment."""
        now = self._clock()
        return frozenset(model for model, view in self._views.items() if now >= view.trusted_until)

    def _decode(self, key: bytes | None, value: bytes | None) -> ControlRecord | Lease | None:
        """Return what a record says of a model that counts; None, and count why, if it says nothing."""
        found = "tombstone" if value is None else _read(key or b"", value)
        if not isinstance(found, str) and self._only is not None and found.model not in self._only:
            found = "foreign"
        if isinstance(found, str):
            self.counts[found] += 1
            return None
        return found


def _read(key: bytes, value: bytes) -> ControlRecord | Lease | str:
    """Return a record, or what it is counted as if it is none of ours: `unknown` or `junk`."""
    try:
        kind, *place = msgspec_json.decode(key, type=list)
        if kind not in {"control", "lease"}:
            return "unknown"
        found: ControlRecord | Lease = read_control(value) if kind == "control" else read_lease(value)
        expected = found.key if isinstance(found, ControlRecord) else (found.model,)
    except (DecodeError, ValueError, TypeError, RecursionError):  # a key that is no list of text, JSON of endless depth
        return "junk"
    return found if tuple(place) == expected else "junk"


class View(NamedTuple):
    """What answers questions about a model; replaced as a whole, so that readers need no lock.

    From `trusted_until` (ms) on, requests are served in at least the mode of rank `lost`.
    """

    engaged: Index
    trusted_until: float
    lost: int


class _Model:
    """State of one model: the record of the highest epoch in every place, and the last lease."""

    def __init__(self, lost: int) -> None:
        self._kept: dict[Place, ControlRecord] = {}
        self._index: Index | None = None
        self._seq = -inf
        self._trusted_until = -inf
        self._lost = lost
        self._missing = False

    def obey(self, control: ControlRecord) -> str:
        """Take in a control; return what it is to be counted as."""
        place, epoch = control.key[:4], control.epoch
        kept = self._kept.get(place)
        if kept is not None and (epoch < kept.epoch or (epoch == kept.epoch and not _is_engaged(kept))):
            return "old"
        if kept is not None and epoch == kept.epoch and _is_engaged(control) and rank(control.mode) < rank(kept.mode):
            return "weaker"
        if kept is not None and epoch == kept.epoch and _is_engaged(control) and control.ts < kept.ts:
            return "old"  # within an epoch its parameters may have become stricter since
        if control == kept:
            return "old"
        self._kept[place] = control
        self._index = None
        return "control"

    def hear(self, lease: Lease, now: float) -> str:
        """Take in a lease; return what it is to be counted as."""
        if lease.seq < self._seq:
            return "old"
        is_repeat = lease.seq == self._seq
        self._seq = lease.seq
        if lease.in_force != in_force((one.control_id, one.epoch) for one in self.engaged()):
            if is_repeat:
                return "old"
            self._missing = True
            return "mismatch"
        if lease.lease_until <= now:
            return "expired"
        until = lease.lease_until + max(lease.grace, 0)
        self._trusted_until = max(self._trusted_until, until) if is_repeat else until
        self._lost = rank(lease.on_lost)
        self._missing = False
        return "lease"

    def engaged(self) -> list[ControlRecord]:
        """Return the engaged controls."""
        return [control for control in self._kept.values() if _is_engaged(control)]

    def view(self) -> View:
        """Return what answers questions."""
        if self._index is None:
            self._index = Index(self.engaged())
        return View(self._index, -inf if self._missing else self._trusted_until, self._lost)


def _is_engaged(control: ControlRecord) -> bool:
    """Whether it is in force: only the word `released` ends a control."""
    return control.state != "released"
