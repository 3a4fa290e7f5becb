"""docs/plugins.md: its tables say what the registries, the checker and the faults say."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from nnunet_trainer.contract.catalogue.shapes import describe
from nnunet_trainer.extensions import Range, schema, signatures
from support.controlplane import ROOT

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


def test_reasons_are_in_the_troubleshooting() -> None:
    known = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    reasons = [reason for cells in rows("What a mistake looks like") for reason in re.findall(r"`(\w+)`", cells[0])]
    assert len(reasons) > 15
    assert [reason for reason in reasons if f"| `{reason}` |" not in known] == []
