"""docs/tutorials: the commands, manifests and plug-ins of each page work as they stand, and print what the page shows.

All pages work in one checkout and in one store: what one has read and preprocessed the next finds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from nnunet_operator.local.object_store.manifest_files import API_VERSION
from nnunet_operator.local.object_store.store import Store
from support import pages
from support.controlplane import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("tutorials")]

PAGES = sorted(f"tutorials/{page.name}" for page in (ROOT / "docs/tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page(checkout: Path, page: str) -> None:
    printed = pages.carried_out(page, checkout)
    assert pages.check_shown(page, printed) >= 2
    found = [each for text in pages.blocks(page, "yaml") for each in yaml.safe_load_all(text)]
    manifests = [each for each in found if each.get("apiVersion") == API_VERSION]
    assert manifests
    store = Store(checkout / "tutorial/store")
    for each in manifests:
        status = (store.get(each["kind"], "default", each["metadata"]["name"]) or {})["status"]
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "True", ready
    CHECKS.get(page.rpartition("/")[2], lambda folder, store: None)(checkout, store)


def _plans(store: Store, name: str) -> dict:
    status = (store.get("Plans", "default", name) or {})["status"]
    folder = Path(status["artifact"]["uri"].removeprefix("file://"))
    return json.loads((folder / f"{status['plansName']}.json").read_text())


def _edited(folder: Path, store: Store) -> None:
    """The patch makes of the plans what the file was edited to."""
    plans = _plans(store, "hippocampus-edited")
    assert plans["configurations"].pop("3d_smaller_batch") == {"inherits_from": "3d_fullres", "batch_size": 2}
    assert plans == json.loads((folder / "tutorial/edited.json").read_text())


def _spacing(folder: Path, store: Store) -> None:
    for name in ("hippocampus-2mm", "hippocampus-isotropic"):
        assert _plans(store, name)["configurations"]["3d_fullres"]["spacing"] == [2.0] * 3


def _extent(folder: Path, store: Store) -> None:
    """With another margin than by hand."""
    by_hand = json.loads((folder / "tutorial/nnUNetPlans_foregroundPatch.json").read_text())
    patches = [plans["configurations"]["3d_fullres"]["patch_size"] for plans in (by_hand, _plans(store, "hippocampus-extent"))]
    assert patches[0] > patches[1]


def _lion(folder: Path, store: Store) -> None:
    status = (store.get("TrainingRun", "default", "lion") or {})["status"]
    assert status["folds"][0]["epoch"] == 1


def _smooth(folder: Path, store: Store) -> None:
    """Training and prediction smoothed with the width that the manifest says."""
    steps = _plans(store, "hippocampus-smooth")["configurations"]["3d_fullres"]["preprocessing_steps"]
    assert steps[1] == {"name": "Smooth", "sigmaMm": 1.5, "channels": None}
    assert list((folder / "tutorial/predicted").glob("*.nii.gz"))


CHECKS = {
    "edit-plans.md": _edited,
    "target-spacing.md": _spacing,
    "fingerprint-extractor.md": _extent,
    "trainer.md": _lion,
    "preprocessing-step.md": _smooth,
}
"""What is seen beside what is printed."""
