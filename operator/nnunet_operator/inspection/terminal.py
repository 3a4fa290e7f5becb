"""Where text goes: how wide it may be, and whether there are colours and characters beyond ASCII."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

COLOURS = {"good": "32", "bad": "31", "busy": "36", "waiting": "33", "dim": "2"}
"""ANSI's SGR parameters by what is meant."""

_BEYOND_ASCII = "█░│├└─•×…→·"


class Cell(NamedTuple):
    """One cell of a table, and what it means, which becomes its colour."""

    text: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What can be shown. `width`: columns; None where lines may be of any length: a file, a pipe."""

    width: int | None = None
    colour: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO) -> Terminal:
        """What a stream can show. NO_COLOR (no-color.org) and TERM=dumb are heeded."""
        tty = stream.isatty()
        try:
            _BEYOND_ASCII.encode(stream.encoding or "utf-8")
            unicode = True
        except (UnicodeError, LookupError):
            unicode = False
        colour = tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(shutil.get_terminal_size((100, 24)).columns if tty else None, colour, unicode)

    def painted(self, cell: Cell) -> str:
        """A cell's text, in its colour."""
        code = COLOURS.get(cell.meaning)
        return f"\033[{code}m{cell.text}\033[0m" if self.colour and code and cell.text else cell.text

    def bar(self, share: float, cells: int = 12) -> str:
        """A bar for a share between 0 and 1; full only when all of it is done."""
        share = min(1.0, max(0.0, share))
        full = cells if share == 1 else min(cells - 1, round(share * cells))
        on, off = ("█", "░") if self.unicode else ("#", "-")
        return on * full + off * (cells - full)

    def branches(self, *, last: bool) -> tuple[str, str]:
        """What stands before a child in a tree, and before all that is below it."""
        if self.unicode:
            return ("└─ ", "   ") if last else ("├─ ", "│  ")
        return ("`- ", "   ") if last else ("|- ", "|  ")

    def cut(self, text: str, room: int | None) -> str:
        """A text in so many columns; what is cut off is marked."""
        if room is None or columns(text) <= room:
            return text
        end = "…" if self.unicode else "..."
        kept = ""
        for character in text:
            if columns(kept + character) > room - len(end):
                break
            kept += character
        return kept.rstrip() + end if room > len(end) else ""

    def table(self, rows: Sequence[Sequence[Cell]]) -> str:
        """Columns side by side, two spaces between; the last one is cut where the line would be too long."""
        widths = [max(columns(row[i].text) for row in rows) for i in range(len(rows[0]) - 1)]
        left = sum(widths) + 2 * len(widths)
        room = None if self.width is None else max(12, self.width - left)
        lines = []
        for row in rows:
            cells = [self.painted(cell) + " " * (width - columns(cell.text)) for cell, width in zip(row, widths, strict=False)]
            last = row[-1]._replace(text=self.cut(row[-1].text, room))
            lines.append("  ".join([*cells, self.painted(last)]).rstrip())
        return "\n".join(lines)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
