"""docs/troubleshooting.md has a line for every reason that a condition can have, and for none that there is not."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache

from nnunet_operator.api import reasons
from nnunet_operator.inspection import remedies
from nnunet_trainer.contract import catalogue, faults
from support.controlplane import ROOT

DOCUMENT = ROOT / "docs" / "troubleshooting.md"
TRAINER = ROOT / "trainer_image" / "nnunet_trainer"
OF_COMMANDS_ALONE = ("inference", "evaluation", "nnunet_folders", "report")
"""Rooms of the trainer that no step of a TrainingRun and no preparation raises from; nor do files named …command.py."""


def told() -> list[str]:
    """The reasons of the tables' first column."""
    return re.findall(r"^\| `([A-Za-z]+)` \|", DOCUMENT.read_text(), re.MULTILINE)


def _fault_classes() -> set[str]:
    kinds, found = [faults.Fault], set()
    while kinds:
        kind = kinds.pop()
        found.add(kind.__name__)
        kinds += kind.__subclasses__()
    return found


@cache
def of_the_trainer(*, commands: bool) -> set[str]:
    """Reasons that the trainer's code gives to its faults.

    Args:
        commands: those too that only a command by hand can end with.
    """
    classes, found = _fault_classes(), set()
    for file in TRAINER.rglob("*.py"):
        room = file.relative_to(TRAINER).parts[0]
        if not commands and (room in OF_COMMANDS_ALONE or file.name.endswith("command.py")):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes and node.args:
                match node.args[0]:
                    case ast.Constant(value=str(reason)):
                        found.add(reason)
    return found


def of_the_operator() -> set[str]:
    return {value for name, value in vars(reasons).items() if name.isupper()} | catalogue.packaged().reasons


def test_every_reason_has_one_line() -> None:
    wanted = of_the_operator() | of_the_trainer(commands=False)
    assert len(wanted) > 130, "reasons were found"
    assert sorted(wanted - set(told())) == [], "docs/troubleshooting.md has no line for these"
    assert [reason for reason, count in Counter(told()).items() if count > 1] == []


def test_every_line_is_of_a_reason_that_there_is() -> None:
    assert sorted(set(told()) - of_the_operator() - of_the_trainer(commands=True)) == []


def test_programs_have_the_same_tables() -> None:
    assert remedies.all_of_them() == remedies.from_document(DOCUMENT.read_text()), "make remedies writes them anew"
    assert set(remedies.all_of_them()) == set(told())


def test_every_line_says_what_it_means_and_what_to_do() -> None:
    rows = [line.strip("|").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)
