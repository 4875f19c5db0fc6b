"""How the live demo looks: on a terminal a picture that changes, elsewhere a line every few seconds; incidents stay."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from interlock.demo.rig import Health
from interlock.demo.watch import Watch
from interlock.protocol import MODES
from interlock.sinks.console import table, verdict_table, when

EVERY = 5.0
"""Seconds between lines where there is no terminal."""

PER_SECOND = 4
"""Pictures per second on a terminal."""

TALL = 32
"""Rows of a terminal on which every slice has its place; below, the serving process gets one line."""

STYLES = dict(zip(MODES, ("green", "yellow", "bold yellow", "bold magenta", "bold red"), strict=True))


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see, of `total` events."""

    watch: Watch
    health: Health
    total: int
    counting: "Counting"


class Counting:
    """Events per second that the shards have counted."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._at, self._events, self.rate = time.monotonic(), 0, 0.0

    def look(self, events: int) -> None:
        """Take in how many are counted by now."""
        now = time.monotonic()
        if events != self._events:
            self.rate = (events - self._events) / (now - self._at)
            self._at, self._events = now, events


class Screen:
    """Shows scenes; what is said stays on it. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        """Take a console."""
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: RenderableType) -> None:
        """Print something that stays."""
        self.console.print(text)

    def show(self, scene: Scene) -> None:
        """Show a scene, if it is time to."""
        scene.counting.look(scene.health.counted)
        if time.monotonic() < self._next:
            return
        if self._live is None:
            self._next = time.monotonic() + EVERY
            self.console.print(Text(line(scene)), soft_wrap=True)
        else:
            self._next = time.monotonic() + 1 / PER_SECOND
            self._live.update(picture(scene, self.console.height), refresh=True)


def clock_text(at: float | None = None) -> str:
    """Return the wall clock as people here read it; a moment (ms) to the millisecond, by default now to the second."""
    if at is not None:
        return datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    return datetime.fromtimestamp(time.time_ns() / 1e9, UTC).astimezone().strftime("%H:%M:%S")


def line(scene: Scene) -> str:
    """Return a scene in one line."""
    states = [verdict.state for verdict in scene.watch.summary.latest.values()]
    told = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "none yet"
    return f"{clock_text()}  {_flow(scene)} | SLOs: {told} | serving: {serving_words(scene.watch)}"


def picture(scene: Scene, rows: int) -> RenderableType:
    """Return a scene as it is drawn on a terminal of so many rows."""
    watch = scene.watch
    latest = [(verdict, watch.summary.since[key]) for key, verdict in watch.summary.latest.items()]
    sent = watch.sending.steps[-1].events if watch.sending.steps else 0
    parts: list[RenderableType] = [
        Text(_flow(scene), style="bold"),
        _row(ProgressBar(total=scene.total, completed=sent, width=100)),
        verdict_table(latest, f"SLOs, judged to {when(max(v.ts for v, _ in latest))} UTC") if latest else "",
    ]
    shown = served(watch) if rows >= TALL else Text(f"serving process: {serving_words(watch)}")
    return Group(*parts, shown)


def _row(shown: RenderableType) -> Table:
    """Return something on a line of its own."""
    grid = Table.grid()
    grid.add_row(shown)
    return grid


def _flow(scene: Scene) -> str:
    """Return how fast events flow and how far they are."""
    sending, mark = scene.watch.sending, scene.health.watermark
    sent = sending.steps[-1].events if sending.steps else 0
    reached = f"watermark {when(mark)}" if mark else "no watermark yet"
    rates = f"{sending.rate():,.0f}/s sent, {scene.counting.rate:,.0f}/s counted"
    return f"{reached} | {sent:,} of {scene.total:,} events, {rates}"


def served(watch: Watch) -> Table:
    """Return the mode of every slice: a row per value of the first field (office), a column per value of the others."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one, mode in zip(watch.slices, watch.modes, strict=True):
        row, *rest = one.segment.values()
        cells.setdefault((row, " ".join(rest)), {})[one.version] = mode
    columns = sorted({column for _, column in cells})
    shown = table("Mode of the serving process, by its Guard", [next(iter(watch.slices[0].segment)), *columns])
    for row in sorted({row for row, _ in cells}):
        shown.add_row(row, *(_cell(cells.get((row, column), {})) for column in columns))
    return shown


def _cell(modes: Mapping[str, str]) -> Text:
    """Return the mode of each version, once if they agree."""
    if len(set(modes.values())) == 1:
        mode = next(iter(modes.values()))
        return Text(mode, style=STYLES.get(mode, ""))
    parts = [Text(f"{version} {mode}", style=STYLES.get(mode, "")) for version, mode in sorted(modes.items())]
    return Text(", ").join(parts)


def serving_words(watch: Watch) -> str:
    """Return the modes of all slices in words: what is not normal, by the widest names that say it."""
    found = [(mode, _where(watch, mode)) for mode in reversed(MODES[1:]) if mode in watch.modes]
    if not found:
        return "normal everywhere" if "normal" in watch.modes else "not ready"
    told = [
        f"{mode} {'everywhere' + ' else' * (i > 0) if where is None else f'for {where}'}"
        for i, (mode, where) in enumerate(found)
    ]
    return ", ".join(told) + (", else normal" if "normal" in watch.modes else "")


def _where(watch: Watch, mode: str) -> str | None:
    """Return where a mode holds, or a stronger one; None if that is everywhere."""
    least = MODES.index(mode)
    strong = [MODES.index(one) >= least for one in watch.modes if one]
    if all(strong) and mode == min(watch.modes, key=MODES.index):
        return None
    names: dict[str, list[int]] = {}
    for number, one in enumerate(watch.slices):
        for name in (f"version {one.version}", *(f"{key} {value}" for key, value in one.segment.items())):
            names.setdefault(name, []).append(number)
    whole = {name: own for name, own in names.items() if all(strong[i] for i in own)}
    having = {number for number, one in enumerate(watch.modes) if one == mode}
    telling = {name: own for name, own in whole.items() if having & set(own)}
    rest = len(having - {number for own in telling.values() for number in own})
    return ", ".join([*telling, *([f"{rest} more slices"] if rest else [])])
