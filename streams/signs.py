"""What a worker says by the wall clock: signs of life, idle sources, ticks when all is silent, leases (STREAM.md §3, §6)."""

from collections.abc import Callable, Iterator

from interlock.protocol import INPUTS
from interlock.streams import wire
from interlock.streams.held import Held, Key, Place, now_ms
from interlock.streams.live import Outgoing, Setup
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard

SOURCES: tuple[wire.Source, ...] = ("predictions", "outcomes")
SOONEST, LATEST = 10_000, 60_000
"""Bounds (ms) of the time between two ticks; in between it is the width of a tally pane."""


class Signs:
    """Watches what is held; `lag` says how many records a place has yet to read, None before anything was fetched."""

    def __init__(self, setup: Setup, idle_after: float, lag: Callable[[Place, Held], int | None]) -> None:
        """Start; `idle_after` is in seconds."""
        self._setup, self._idle_after, self._lag = setup, idle_after, lag
        self._ticked = 0

    def of(self, key: Key, held: Held, generation: int) -> Iterator[Outgoing]:
        """Yield what a shard or judge has to say now."""
        now = now_ms()
        if isinstance(held.it, LiveJudge):
            yield from held.it.lease(now)
            yield from self._tick(held.it, now)
            return
        lags = {topic: self._lag(Place(topic, key.number), held) for topic in INPUTS}
        records = [self._beat(key, held.it, lags, generation), *self._idle(key, held, lags, generation)]
        for judge in range(self._setup.layout.judges):
            for record in records:
                yield Outgoing("tallies", wire.encode(record), str(key.number).encode(), judge)

    def _beat(self, key: Key, shard: LiveShard, lags: dict[str, int | None], generation: int) -> wire.Record:
        """Return a sign of life: it has read all there is, or all up to the append time of the last record it read."""
        behind = [shard.appended[topic] if lag else 0 for topic, lag in lags.items() if lag != 0]
        return wire.Beat(self._setup.run, key.number, generation, min(behind, default=now_ms()))

    def _idle(self, key: Key, held: Held, lags: dict[str, int | None], generation: int) -> Iterator[wire.Record]:
        for topic in (*SOURCES, "abuse") if self._setup.plan.reported else SOURCES:
            if lags[topic] == 0 and topic not in held.idle and held.silence(topic) >= self._idle_after:
                held.idle.add(topic)
                if topic == "outcomes" and isinstance(held.it, LiveShard):
                    held.it.patience(patient=False)
                yield wire.Idle(self._setup.run, key.number, topic, generation)

    def _tick(self, judge: LiveJudge, now: int) -> Iterator[Outgoing]:
        """Let time pass when every source is idle."""
        ts, every = now - self._setup.policy.lateness, max(SOONEST, min(self._setup.plan.tick, LATEST))
        if judge.judge.silent() and ts // every != self._ticked // every:
            self._ticked = ts
            yield Outgoing("tallies", wire.encode(wire.Tick(self._setup.run, ts)), None, judge.number)
