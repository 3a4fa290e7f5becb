"""The tutorial's commands work as they stand, and say what it says they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import pages

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fine-tuning.md"
NEXT = "--- next block ---"


def plain(text: str) -> str:
    """One space between words, N for each number: times, Dice and digests are others every time."""
    return " ".join(re.sub(r"\d+(\.\d+)?(e-\d+)?", "N", text).split())


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What the commands print, by the block's place among all blocks of the page. One shell runs them all, in order."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "examples").symlink_to(ROOT / "examples")
    script = f"\necho '{NEXT}'\n".join(pages.blocks(PAGE.name, "bash"))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    places = [place for place, (kind, _) in enumerate(pages.all_blocks(PAGE.name)) if kind == "bash"]
    printed = done.stdout.split(NEXT)
    assert len(printed) == len(places) >= 5
    return dict(zip(places, printed, strict=True))


def test_the_commands_print_what_the_page_shows(said: dict[int, str]) -> None:
    shown = [(place, body) for place, (kind, body) in enumerate(pages.all_blocks(PAGE.name)) if kind == "text"]
    assert len(shown) >= 4
    for place, body in shown:
        before = plain(said[max(p for p in said if p < place)])
        for line in body.splitlines():
            assert plain(line) in before, line


def test_links_lead_somewhere() -> None:
    for page in PAGE.parent.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_manifest_beside_the_commands_is_one() -> None:
    """The part of a TrainingRun that stands in a yaml block of its own."""
    import yaml
    from nnunet_operator.api.training_run import TrainingRunSpec

    (part,) = (yaml.safe_load(body) for body in pages.blocks(PAGE.name, "yaml"))
    spec = TrainingRunSpec.model_validate({"plansRef": {"name": "target"}, "folds": ["0"], **part})
    assert spec.pretrained is not None
    assert spec.pretrained.heads == "MatchByLabel"
