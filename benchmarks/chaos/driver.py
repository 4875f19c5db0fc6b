"""The driver: rounds of events, each with a kill and something else, chosen by the seed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.chaos.faults import KILLS, OF_STATE, OTHERS, Fault
from benchmarks.chaos.field import Field
from benchmarks.chaos.members import USUAL
from benchmarks.chaos.stream import Packet, Stream

ROUND = 2.0
"""Seconds over which the events of a round are sent, at the least."""

CALM = 0.3
"""Share of the rounds after which the group may come to rest; in the others it is hit again before."""

REST = 30.0
PATIENCE = 300.0
"""Seconds that the group may take to come to rest between rounds, and to the end."""


@dataclass(frozen=True)
class Schedule:
    """What is asked of a run: so many kills, and only faults that the group's software can know of."""

    kills: int
    knows_state: bool = True

    def others(self) -> Sequence[Fault]:
        """Return what may be done beside the kills."""
        return [fault for fault in OTHERS if self.knows_state or fault.name not in OF_STATE]


def drive(run: Field, stream: Stream, schedule: Schedule, rests: Callable[[Field], bool]) -> None:
    """Send a stream through a group while it is hit; return when there were kills enough and all was sent.

    `rests` says whether the group has read all that there is.
    """
    rounds = _parts(stream.packets, schedule.kills)
    run.group.fill()
    until(lambda: len(run.group.awake()) == USUAL, run, REST)
    run.say(f"{len(run.group.members)} members, {len(rounds)} rounds of {len(stream.packets)} messages")
    while rounds or run.kills < schedule.kills:
        if rounds:
            run.sender.send(rounds.pop(0), ROUND)
        if run.kills < schedule.kills:
            _hit(run, KILLS)
            _hit(run, schedule.others())
        run.sender.until_sent()
        if run.rng.random() < CALM:
            run.say(f"at rest: {until(lambda: rests(run), run, REST)}")


def _parts(packets: Sequence[Packet], count: int) -> list[Sequence[Packet]]:
    edges = np.linspace(0, len(packets), count + 1).astype(int).tolist()
    return [packets[a:b] for a, b in pairwise(edges) if b > a]


def _hit(run: Field, faults: Sequence[Fault]) -> None:
    run.wait(run.uniform(0.1, 1.5))
    weights = np.array([fault.weight for fault in faults])
    fault = faults[int(run.rng.choice(len(faults), p=weights / weights.sum()))]
    run.note(fault.name)
    began = time.monotonic()
    fault.do(run)
    run.say(f"{fault.name}: {time.monotonic() - began:.1f} s")


def finish(run: Field, stream: Stream, is_done: Callable[[Field], bool]) -> None:
    """Mend everything, send what closes all panes, and wait until all is judged.

    Raises:
        RuntimeError: it is not, for five minutes.
    """
    run.group.thaw()
    run.cluster.until_whole()
    run.group.fill(2)
    run.sender.send(stream.flush, 0.1)
    run.sender.until_sent()
    if not until(lambda: is_done(run), run, PATIENCE):
        said = [member.said()[-1500:] for member in run.group.members]
        raise RuntimeError(f"the group has not come to the end in {PATIENCE:.0f} s:\n" + "\n".join(said))


def until(look: Callable[[], bool], run: Field, seconds: float) -> bool:
    """Wait until something is so, and return whether it is; members that end meanwhile are replaced."""
    end = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < end:
        run.wait(0.2)
    return found
