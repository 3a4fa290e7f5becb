"""Tables, bars and curves as text."""

from __future__ import annotations

import io
import math

import pytest
from nnunet_operator.inspection import terminal_plot, training_curves
from nnunet_operator.inspection.terminal import Cell, Terminal, columns
from nnunet_operator.inspection.training_curves import Epoch


class Screen(io.StringIO):
    def __init__(self, *, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._tty, self._encoding = tty, encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._tty


@pytest.mark.parametrize(
    ("screen", "environment", "wanted"),
    [
        (Screen(tty=True), {}, Terminal(77, True, True)),
        (Screen(tty=True), {"NO_COLOR": "1"}, Terminal(77, False, True)),
        (Screen(tty=True), {"TERM": "dumb"}, Terminal(77, False, True)),
        (Screen(tty=True, encoding="ascii"), {}, Terminal(77, True, False)),
        (Screen(tty=True, encoding="latin-1"), {}, Terminal(77, True, False)),
        (Screen(tty=False), {}, Terminal(None, False, True)),
    ],
    ids=["terminal", "no colour", "dumb", "ascii", "latin-1", "pipe"],
)
def test_what_a_stream_can_show(
    screen: Screen, environment: dict[str, str], wanted: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NO_COLOR": "", "TERM": "xterm", "COLUMNS": "77", **environment}.items():
        monkeypatch.setenv(name, value)
    assert Terminal.of(screen) == wanted


@pytest.mark.parametrize(
    ("share", "bar"), [(0, "----"), (0.01, "----"), (0.5, "##--"), (0.999, "###-"), (1, "####"), (7, "####"), (-1, "----")]
)
def test_a_bar_is_full_only_at_the_end(share: float, bar: str) -> None:
    assert Terminal(unicode=False).bar(share, 4) == bar


def test_columns_are_aligned_whatever_their_letters() -> None:
    rows = [[Cell("NAME"), Cell("STATE")], [Cell("日本"), Cell("a")], [Cell("e\u0301te\u0301"), Cell("b", "good")]]
    text = Terminal(colour=True).table(rows)
    plain = text.replace("\033[32m", "").replace("\033[0m", "").splitlines()
    assert [columns(line) for line in plain] == [11, 7, 7]


@pytest.mark.parametrize("room", [1, 3, 5, 10])
def test_what_is_cut_fits(room: int) -> None:
    for terminal in (Terminal(), Terminal(unicode=False)):
        assert columns(terminal.cut("日本語 is long enough", room)) <= room


CURVES = training_curves.joined(
    {
        n: Epoch(train_loss=math.exp(-n / 30), val_loss=0.1 + math.exp(-n / 25), pseudo_dice=1 - math.exp(-n / 20))
        for n in range(100)
    }
)


@pytest.mark.parametrize("width", [None, 50, 80, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_curves(width: int | None, unicode: bool) -> None:
    text = terminal_plot.of_training(CURVES, Terminal(width, unicode=unicode))
    lines = text.splitlines()
    assert max(map(columns, lines)) <= (width or 100)
    assert "train 0.03688  " in text
    assert "epoch 99" in text
    assert text.isascii() == (not unicode)
    mark = "•" if unicode else "*"
    heights = [number for number, line in enumerate(lines[1:13]) if mark in line]
    first = lines[1:13][heights[0]].index(mark)
    last = lines[1:13][heights[-1]].rindex(mark)
    assert first < last, "a loss that falls goes from top left to bottom right"


@pytest.mark.parametrize(
    "curves", [{0: Epoch(train_loss=0.5)}, {0: Epoch(train_loss=0.0), 7: Epoch(train_loss=0.0)}, {3: Epoch(pseudo_dice=1)}]
)
def test_few_epochs_and_flat_curves(curves: dict[int, Epoch]) -> None:
    text = terminal_plot.of_training(curves, Terminal(80))
    assert f"epoch {max(curves)}" in text
