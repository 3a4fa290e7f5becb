"""docs/plugins.md: its tables say what the registries, the checker and the faults say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from nnunet_trainer.contract.catalogue.shapes import describe
from nnunet_trainer.extensions import Range, load_plugins, schema, signatures
from nnunet_trainer.planning.planner_presets import Planner
from nnunet_trainer.planning.planner_presets.planner import STEPS
from nnunet_trainer.planning.planners.experiment import plan
from support import pages
from support.controlplane import ROOT
from support.plugins import isolated
from trainer.planning.conftest import DATASET_JSON, FINGERPRINT

DEFAULTS = {kind: getattr(Planner(), field).name for field, kind in STEPS.items()}
TEXT = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its own heading."""
    part = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_each_kind_is_given_what_it_is_given() -> None:
    shown = {kind.strip("`"): re.match(r"`\(([^)]*)\)`", takes) for kind, takes, _ in rows("What each kind is given, and answers")}
    assert {kind: tuple(found[1].split(", ") if found[1] else ()) if found else None for kind, found in shown.items()} == (
        signatures.ARGUMENTS
    )


@pytest.mark.parametrize(("annotation", "accepts"), rows("Parameters"))
def test_annotations(annotation: str, accepts: str) -> None:
    hint = eval(annotation.strip("`"), {"Annotated": Annotated, "Literal": Literal, "Range": Range})
    assert describe(schema.shape_of(hint)) == accepts


def test_a_rule_that_builds_on_nnunets(tmp_path: Path) -> None:
    (tmp_path / "coarser").mkdir()
    (tmp_path / "coarser/coarser.py").write_text(pages.blocks("plugins.md", "python")[0])
    with isolated():
        load_plugins(tmp_path / "coarser")
        own, changed = (
            plan(FINGERPRINT, DATASET_JSON, dataset_name="Dataset001_A", reader="SimpleITKIO", parameters=parameters)
            for parameters in ({}, {"targetSpacingRule": {"name": "Coarser"}})
        )
    spacings = [plans["configurations"]["3d_fullres"]["spacing"] for plans in (own, changed)]
    assert spacings[1] == pytest.approx([1.2 * mm for mm in spacings[0]])
    listed = TEXT.partition("nnU-Net's own are")[2].partition("```")[0]
    assert {kind: DEFAULTS[kind] for kind in re.findall(r"\(`(\w+)`\)", listed)} == {
        kind: name for name, kind in re.findall(r"`(\w+)`\s\(`(\w+)`\)", listed)
    }


@pytest.mark.parametrize("field", re.findall(r"`([a-z_]+)=", TEXT))
def test_fields_of_derive(field: str) -> None:
    assert field in {each.name for each in dataclasses.fields(Planner)}


def test_reasons_are_in_the_troubleshooting() -> None:
    known = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    reasons = [reason for cells in rows("What a mistake looks like") for reason in re.findall(r"`(\w+)`", cells[0])]
    assert len(reasons) > 15
    assert [reason for reason in reasons if f"| `{reason}` |" not in known] == []
