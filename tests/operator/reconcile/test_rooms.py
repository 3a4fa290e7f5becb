"""The rooms of `reconcile/` import in one direction, as its docstring says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nnunet_operator.reconcile
import pytest

ROOT = Path(nnunet_operator.reconcile.__file__).parent
FLOORS = [
    {"__init__", "view_builder"},
    {"kinds"},
    {"lifecycle", "orders"},
    {"policies"},
    {"observed", "references"},
    {"status"},
    {"scope"},
    {"work", "locations", "outcome"},
    {"blocker", "spec_to_order", "times", "view"},
]
"""Each floor imports from those below it."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imported(path: Path) -> Iterator[str]:
    """The rooms of this package that a file imports from."""
    above = len(path.relative_to(ROOT).parts)  # so many dots lead to this package
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == above:
            yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]


def test_each_room_stands_on_a_floor() -> None:
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == FLOOR.keys()


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_imports_go_down(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]
    for path in files:
        up = {other for other in imported(path) if other != room and FLOOR[other] <= FLOOR[room]}
        assert not up, f"{path.name} imports from {', '.join(sorted(up))}"
