"""The driver: rounds of events, each with a kill and something else, chosen by the seed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

QUICK = 0.2
"""Seconds of a round when there were kills enough."""

REST = 30.0
PATIENCE = 300.0
"""Seconds that the group may take to come to rest between rounds, and to the end."""


@dataclass(frozen=True)
class Schedule:
    """What is asked of a run: so many kills, what is done in certain rounds, and only faults that the group's software can know of."""

    kills: int
    seed: int
    at: Mapping[int, Fault] = field(default_factory=dict)
    knows_state: bool = True

    def killing(self) -> Iterator[Fault]:
        """Yield what is killed, for ever."""
        return _dealt(KILLS, np.random.default_rng([self.seed, 2]))

    def others(self) -> Iterator[Fault]:
        """Yield what is done beside the kills, for ever."""
        some = [fault for fault in OTHERS if self.knows_state or fault.name not in OF_STATE]
        return _dealt(some, np.random.default_rng([self.seed, 3]))


def _dealt(faults: Sequence[Fault], rng: np.random.Generator) -> Iterator[Fault]:
    """Yield faults as a shuffled pack of cards has them, again and again: none is left out for long."""
    pack = [fault for fault in faults for _ in range(fault.weight)]
    while True:
        yield from (pack[at] for at in rng.permutation(len(pack)))


def drive(run: Field, stream: Stream, schedule: Schedule, rests: Callable[[Field], bool]) -> None:
    """Send a stream through a group while it is hit; return when there were kills enough and all was sent.

    `rests` says whether the group has read all that there is.
    """
    rounds = parts(stream, schedule.kills)
    killing, others = schedule.killing(), schedule.others()
    run.group.fill()
    until(lambda: len(run.group.awake()) == USUAL, run, REST)
    run.say(f"{len(run.group.members)} members, {len(rounds)} rounds of {len(stream.packets)} messages")
    for number in range(max(len(rounds), schedule.kills)):
        is_hit = run.kills < schedule.kills
        if number < len(rounds):
            run.sender.send(rounds[number], ROUND if is_hit else QUICK)
        if number in schedule.at:
            _do(run, schedule.at[number])
        if is_hit:
            _hit(run, next(killing))
            _hit(run, next(others))
        run.sender.until_sent()
        _await(run)
        if is_hit and run.rng.random() < CALM:
            run.say(f"at rest: {until(lambda: rests(run), run, REST)}")


def parts(stream: Stream, count: int) -> list[Sequence[Packet]]:
    """Return the messages of a stream by the rounds in which they are sent."""
    edges = np.linspace(0, len(stream.packets), count + 1).astype(int).tolist()
    return [stream.packets[a:b] for a, b in pairwise(edges) if b > a]


def _await(run: Field) -> None:
    if run.awaited is not None and not until(run.awaited, run, PATIENCE):
        raise RuntimeError(f"not all have heard of a policy in {PATIENCE:.0f} s")
    run.awaited = None


def _hit(run: Field, fault: Fault) -> None:
    run.wait(run.uniform(0.1, 1.5))
    _do(run, fault)


def _do(run: Field, fault: Fault) -> None:
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
    run.make_room()
    run.until_whole()
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
