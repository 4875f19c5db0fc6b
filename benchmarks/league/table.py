"""The league as Markdown: a table of each kind, and in words where Interlock loses."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.league.playing import Found, Player

Line = Sequence[str]

SAME = 1.02
"""Figures within 2 % of each other are called equal."""


def markdown(head: Line, lines: Sequence[Line]) -> str:
    """Return a table; columns after the second are right-aligned."""
    ruler = ["---", "---", *["--:"] * (len(head) - 2)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ruler, *lines))


def changes(players: Sequence[Player], task: str) -> str:
    """Return the table of one task: false alarms, delays of each change, cost."""
    named = next(player.found[task] for player in players if player.found).delays
    head = ["detector", "settings", "false alarms per 100,000 events", *named, "µs an event of 20 features"]
    lines = []
    for player in players:
        if player.absent:
            lines.append([player.name, player.settings, player.absent, *[""] * (len(named) + 1)])
            continue
        found = player.found[task]
        lines.append(
            [player.name, player.settings, _rate(found.false), *map(delay, found.delays.values()), _micro(player.cost)]
        )
    return markdown(head, lines)


def oddness(players: Sequence[Player]) -> str:
    """Return the table of AUROCs."""
    sets = next(player.auroc for player in players if player.auroc)
    head = ["score", "settings", *sets, "mean", "µs an event of 20 features"]
    lines = []
    for player in players:
        if player.absent:
            lines.append([player.name, player.settings, player.absent, *[""] * (len(sets) + 1)])
            continue
        figures = [*player.auroc.values(), float(np.mean(list(player.auroc.values())))]
        lines.append([player.name, player.settings, *(f"{one:.3f}" for one in figures), _micro(player.cost)])
    return markdown(head, lines)


def delay(delays: np.ndarray) -> str:
    """Return median and 95th percentile of delays, and the share that was missed."""
    missed = float(np.mean(np.isinf(delays)))
    shown = " / ".join(_events(float(np.quantile(delays, q, method="higher"))) for q in (0.5, 0.95))
    return shown + (f" ({missed:.0%} missed)" if missed else "")


def _events(value: float) -> str:
    return "–" if np.isinf(value) else f"{value:,.0f}"


def _rate(value: float) -> str:
    return "0" if not value else f"{value:.3g}"


def _micro(value: float) -> str:
    return f"{value:.3g}"


def losses(detectors: Sequence[Player], scorers: Sequence[Player]) -> list[str]:
    """Return in words where a rival does better than the Interlock that does best."""
    found = [*_slower(detectors), *_blunter(scorers), *_dearer([*detectors]), *_dearer([*scorers])]
    return found or ["Nowhere in this run."]


def _median(found: Found, change: str) -> float:
    return float(np.quantile(found.delays[change], 0.5, method="higher"))


def _slower(players: Sequence[Player]) -> Iterator[str]:
    """Yield changes that rivals find sooner than our fastest, with the false alarms of all of them."""
    here = [player for player in players if player.found]
    for task in here[0].found:
        for change in here[0].found[task].delays:
            best = min((p for p in here if p.ours), key=lambda p: _median(p.found[task], change))
            sooner = [p for p in here if _median(p.found[task], change) * SAME < _median(best.found[task], change)]
            if sooner:
                told = "; ".join(_told(one, task, change) for one in (best, *sooner))
                yield f"{task}, {change}, median events (false alarms per 100,000): {told}."


def _told(player: Player, task: str, change: str) -> str:
    found = player.found[task]
    return f"{player.name} {_events(_median(found, change))} ({_rate(found.false)})"


def _blunter(players: Sequence[Player]) -> Iterator[str]:
    here = [player for player in players if player.auroc]
    own = next(player for player in here if player.ours)
    for name, value in own.auroc.items():
        better = [p for p in here if p.auroc[name] > value]
        if better:
            told = ", ".join(f"{p.name} {p.auroc[name]:.3f}" for p in better)
            yield f"{name}: AUROC {value:.3f} of Interlock, {told}."


def _dearer(players: Sequence[Player]) -> Iterator[str]:
    own = min((p.cost for p in players if p.ours and not p.absent), default=np.inf)
    cheaper = [f"{p.name} {_micro(p.cost)}" for p in players if not p.ours and p.cost * SAME < own]
    if cheaper:
        yield f"Cost, µs an event of 20 features: Interlock {_micro(own)}, {', '.join(cheaper)}."
