"""docs/coming-from-v1.md: it names every class of v1, and what it says each is here is there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from nnunet_trainer.planning.planner_presets import PLANNERS, planner
from nnunet_trainer.preprocessing.normalization import NORMALIZATIONS
from nnunet_trainer.training.recipes.presets import PRESETS
from support.controlplane import ROOT

TEXT = (ROOT / "docs/coming-from-v1.md").read_text(encoding="utf-8")
TRAINERS, OTHERS = (part.split("\n", 1)[1].split() for part in (ROOT / "tests/docs/v1_class_names.txt").read_text().split("# ")[1:])
"""All names that v1 found classes by: trainers that keep theirs, and the rest."""


def rows(heading: str) -> dict[str, str]:
    """The tables of a chapter: the first cell and the second."""
    chapter = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (`.+?) \| (.+) \|$", chapter, re.MULTILINE))


@pytest.mark.parametrize("name", TRAINERS)
def test_trainers_keep_their_names(name: str) -> None:
    assert name in PRESETS


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_class_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_planners_that_keep_their_names() -> None:
    listed = re.findall(r"`(\w+)`", TEXT.partition("Of the same name are\n")[2].partition("; the others:")[0])
    assert len(listed) == 23
    assert [name for name in listed if name not in PLANNERS] == []


def test_what_trainers_planners_and_schemes_are_here() -> None:
    known = {**PRESETS, **dict.fromkeys(PLANNERS), **dict.fromkeys(NORMALIZATIONS)}
    named = re.findall(r"`((?:nnUNetTrainer|ExperimentPlanner)\w+|\w+Normalization)`", "".join(rows("Trainers").values()))
    named += re.findall(
        r"`(ExperimentPlanner\w+|\w+Normalization)`", "".join([*rows("Planners").values(), *rows("Preprocessors").values()])
    )
    assert [name for name in named if name not in known] == []


def test_what_preprocessors_are_here_can_be_planned() -> None:
    values = re.findall(r"`(\w+: [^`]+)`", "\n".join(rows("Preprocessors").values()))
    parameters: list[Any] = [yaml.safe_load(f"{{{value}}}") for value in values]
    assert len(parameters) == 7
    for each in parameters:
        assert planner("ExperimentPlanner3D_v21", each)
