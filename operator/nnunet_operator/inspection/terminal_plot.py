"""Curves in a terminal: points on a grid of characters, with axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..reconcile.view import Manifest
from .object_names import short
from .parts import Part
from .terminal import Cell, Terminal
from .training_curves import Curves

HEIGHT = 12
LEAST_WIDTH, USUAL_WIDTH = 24, 72


class Series(NamedTuple):
    """One curve: its name, the mark of its points (and one of ASCII), its colour, and its points."""

    name: str
    mark: str
    plain: str
    meaning: str
    points: Sequence[tuple[float, float]]


def heading(manifest: Manifest, part: Part, epochs: int) -> str:
    """What stands above a fold's curves."""
    of_all = f" of {part.total}" if part.total else ""
    return f"{short(manifest)}, {part.title}: {epochs}{of_all} epochs"


def of_training(curves: Curves, terminal: Terminal) -> str:
    """The losses, and below them the pseudo-Dice, over the epochs."""

    def points(name: str) -> list[tuple[float, float]]:
        return [(number, value) for number, epoch in curves.items() if (value := getattr(epoch, name)) is not None]

    losses = [
        Series("train", "•", "*", "busy", points("train_loss")),
        Series("validation", "×", "x", "bad", points("val_loss")),
    ]
    dice = [
        Series("pseudo-Dice", "·", ".", "dim", points("pseudo_dice")),
        Series("its average", "•", "*", "good", points("ema_pseudo_dice")),
    ]
    both = (("loss", losses), ("Dice", dice))
    return "\n\n".join(plot(title, series, terminal) for title, series in both if any(each.points for each in series))


def plot(title: str, series: Sequence[Series], terminal: Terminal, height: int = HEIGHT) -> str:
    """Several curves in one frame; where two meet, the later one is seen."""
    everything = [point for each in series for point in each.points]
    low, high = min(y for _, y in everything), max(y for _, y in everything)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    first, last = min(x for x, _ in everything), max(x for x, _ in everything)
    ticks = {0: high, height // 2: high - (high - low) * (height // 2) / (height - 1), height - 1: low}
    labels = {row: f"{value:.4g}" for row, value in ticks.items()}
    margin = max(len(title), *map(len, labels.values()))
    width = max(LEAST_WIDTH, min(USUAL_WIDTH, (terminal.width or USUAL_WIDTH + 20) - margin - 4))
    grid = [[Cell(" ")] * width for _ in range(height)]
    for each in series:
        for x, y in each.points:
            column = round((x - first) / (last - first) * (width - 1)) if last > first else 0
            row = round((high - y) / (high - low) * (height - 1))
            grid[row][column] = Cell(each.mark if terminal.unicode else each.plain, each.meaning)
    side, corner, floor = ("│", "└", "─") if terminal.unicode else ("|", "+", "-")
    lines = [f"{title:>{margin}}  {_legend(series, terminal)}"]
    for number, cells in enumerate(grid):
        lines.append(f"{labels.get(number, ''):>{margin}} {side}{''.join(map(terminal.painted, cells)).rstrip()}")
    lines.append(f"{'':>{margin}} {corner}{floor * width}")
    begin, end = f"{first:g}", f"epoch {last:g}"
    lines.append(f"{'':>{margin}}  {begin}{end:>{width - len(begin)}}")
    return "\n".join(lines)


def _legend(series: Sequence[Series], terminal: Terminal) -> str:
    """The marks, their names, and the last value of each."""
    parts = []
    for each in series:
        if each.points:
            mark = terminal.painted(Cell(each.mark if terminal.unicode else each.plain, each.meaning))
            parts.append(f"{mark} {each.name} {each.points[-1][1]:.4g}")
    return "  ".join(parts)
