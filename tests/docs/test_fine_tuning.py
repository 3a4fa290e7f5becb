"""The tutorial's commands work as they stand, and say what it says they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import pages
from support.controlplane import ROOT

pytestmark = pytest.mark.e2e

PAGE = "fine-tuning.md"


def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    printed = pages.carried_out(PAGE, pages.checkout(tmp_path))
    assert len(printed) >= 5
    assert pages.check_shown(PAGE, printed) >= 4


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_manifest_beside_the_commands_is_one() -> None:
    """The part of a TrainingRun that stands in a yaml block of its own."""
    import yaml
    from nnunet_operator.api.training_run import TrainingRunSpec

    (part,) = (yaml.safe_load(body) for body in pages.blocks(PAGE, "yaml"))
    spec = TrainingRunSpec.model_validate({"plansRef": {"name": "target"}, "folds": ["0"], **part})
    assert spec.pretrained is not None
    assert spec.pretrained.heads == "MatchByLabel"
