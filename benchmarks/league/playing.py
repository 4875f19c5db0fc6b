"""Everyone on every task: figures, or why there are none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks import oddness
from benchmarks.apart import AbsentError
from benchmarks.league import oddities, ours, rivals, tasks, venvs
from benchmarks.league.tasks import Size, Task

Floats = np.ndarray


@dataclass(frozen=True, slots=True)
class Found:
    """How a detector of change did on one task: false alarms per 100,000 events, and by change the delays float64[S]."""

    false: float
    delays: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Player:
    """A detector with its settings, in words; by task how it did, by set its AUROC; its cost in µs; why it is absent."""

    name: str
    settings: str
    found: Mapping[str, Found] = field(default_factory=dict)
    auroc: Mapping[str, float] = field(default_factory=dict)
    cost: float = np.nan
    absent: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is Interlock's."""
        return self.name.startswith("Interlock")


def change_tasks(size: Size) -> dict[str, Task]:
    """Return the tasks of detectors of change."""
    fewer, fewest = size.smaller(20, 10_000), size.smaller(10, 5_000)
    made = {"normal numbers": tasks.gaussian(size), "SEA, errors of a classifier": tasks.sea(fewer)}
    return made | {"RandomRBF, 10 features": tasks.rbf(fewest), "waveform, 21 features": tasks.waves(fewest)}


def detectors(size: Size, events: int, *, venv: bool) -> Iterator[Player]:
    """Yield the detectors of change; those with a venv of their own only if `venv`. `events` are timed."""
    played = change_tasks(size)
    for name, threshold in ours.THRESHOLDS.items():
        words = f"C = {threshold:g}, panes of {ours.PANE}"
        found = {task: _found(ours.drift(name, data)) for task, data in played.items()}
        yield Player(name, words, found, cost=ours.drift_cost(events))
    for name, (words, _, _) in rivals.DRIFT.items():
        yield _rival(Player(name, words), played, events, venv=venv)


def _rival(player: Player, played: Mapping[str, Task], events: int, *, venv: bool) -> Player:
    try:
        said = {
            task: _said(player.name, data, 0 if place else events, venv=venv)
            for place, (task, data) in enumerate(played.items())
        }
    except AbsentError as error:
        return replace(player, absent=str(error))
    cost = float(next(iter(said.values()))["cost"])
    return replace(player, found={task: _found(one) for task, one in said.items()}, cost=cost)


def _said(name: str, data: Mapping[str, Floats], events: int, *, venv: bool) -> dict[str, Floats]:
    changes = name in rivals.DRIFT
    if not venvs.apart(name):
        return (rivals.run if changes else oddities.run)(name, data, events)
    if not venv:
        raise AbsentError("not asked for")
    return venvs.run("rivals.py" if changes else "oddities.py", name, data, events)


def _found(said: Mapping[str, Floats]) -> Found:
    false, seen = said["false"].tolist()
    delays = {name.removeprefix("after/"): said[name] for name in said if name.startswith("after/")}
    return Found(false / seen * 1e5, delays)


def scorers(splits_of: tuple[int, int], events: int, *, venv: bool) -> Iterator[Player]:
    """Yield the scores of oddness, as `detectors` does; `splits_of` are seeds, and the most splits of a set."""
    sets = tasks.odd_sets(*splits_of)
    splits = {f"{name}/{key}": values for name, parts in sets.items() for key, values in parts.items()}
    yield Player(
        "Interlock OOD score",
        "defaults",
        auroc=oddness.aurocs(oddness.ours(splits), splits),
        cost=ours.odd_cost(events)[0],
    )
    for name, (words, _) in oddities.ODD.items():
        try:
            said = _said(name, splits, events, venv=venv)
        except AbsentError as error:
            yield Player(name, words, absent=str(error))
            continue
        yield Player(name, words, auroc=oddness.aurocs(said, splits), cost=float(said["cost"]))
