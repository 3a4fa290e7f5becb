"""The quickstart on this machine, as `make quickstart` runs it but with fewer iterations and cases: real images and trainer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support.quickstart
from nnunet_operator.local.object_store.store import Store
from support.apiclient import wait_until
from support.controlplane import ROOT
from support.datasets import copy_examples

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("local-quickstart")]

KINDS = ("Dataset", "Plans", "PlanTransfer", "TrainingRun")


class Quickstart:
    """A folder with the quickstart's manifests, changed in nothing but the recipe's numbers and without seeds, and a store."""

    def __init__(self, folder: Path) -> None:
        self.manifests, self.root = folder / "manifests", folder / "store"
        self.data = copy_examples(folder / "data")
        self.manifests.mkdir()
        for name, text in support.quickstart.manifests(epochs=2, iterations=2).items():
            (self.manifests / name).write_text(re.sub(r"(?m)^ *seed: .*\n", "", text))
        self.process: subprocess.Popen[str] | None = None

    def begin(self) -> subprocess.Popen[str]:
        recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "local apply" in line)
        words = recipe.split("nnunet-operator ", 1)[1].replace("examples/quickstart", str(self.manifests))
        words = words.replace("$(STORE)", str(self.root)).replace("examples/data", str(self.data))
        command = [sys.executable, "-m", "nnunet_operator.cli", *words.split()]
        environment = {**os.environ, "COLUMNS": "200"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return self.process

    def finish(self) -> str:
        said, _ = self.begin().communicate(timeout=900)
        assert self.process is not None
        assert self.process.returncode == 0, said
        assert "Traceback" not in said
        return said

    def objects(self) -> dict[str, Any]:
        store = Store(self.root)
        return {f"{kind}/{item['metadata']['name']}": item for kind in KINDS for item in store.all(kind)}

    def folds(self, name: str) -> list[dict[str, Any]]:
        found = Store(self.root).get("TrainingRun", "default", name)
        return (found or {}).get("status", {}).get("folds") or []


@pytest.fixture
def quickstart(tmp_path: Path) -> Iterator[Quickstart]:
    quickstart = Quickstart(tmp_path)
    yield quickstart
    if quickstart.process is not None and quickstart.process.poll() is None:
        quickstart.process.terminate()
        quickstart.process.wait(60)


def test_killed_in_the_middle_it_goes_on_and_the_next_call_finds_all_done(quickstart: Quickstart) -> None:
    process = quickstart.begin()
    wait_until(
        lambda: process.poll() is not None or any(fold.get("epoch") is not None for fold in quickstart.folds("pretrain")),
        timeout=600,
        what=lambda: f"pretraining to begin: {json.dumps(quickstart.folds('pretrain'))}",
    )
    assert process.poll() is None, process.communicate()[0]
    process.kill()
    process.communicate()

    said = quickstart.finish()
    objects = quickstart.objects()
    assert len(objects) == 8, "seven that people wrote, and the Plans that the transfer made"
    for name, item in objects.items():
        ready = next(c for c in item["status"]["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "True", (name, ready)
    assert "VALIDATION DICE" in said
    for run, dice in (("finetune", True), ("scratch", True), ("pretrain", False)):
        (fold,) = quickstart.folds(run)
        assert (fold["attempt"], fold["restarts"]) == (0, 0), "the training went on while its shell was away"
        assert (fold.get("validationDice") is not None) is dice
        folder = Path(fold["folder"].removeprefix("file://"))
        assert folder.parent.name.startswith("nnUNetTrainer_quickstart__nnUNetPlans")
        names = ["checkpoint_final.pth", "progress.png", *(["validation/summary.json"] if dice else [])]
        assert [name for name in names if not (folder / name).is_file()] == []
        assert folder.as_posix() in said, "people are told where the results are"

    versions = {name: item["metadata"]["resourceVersion"] for name, item in objects.items()}
    again = quickstart.finish()
    assert "done already" in again
    assert {name: item["metadata"]["resourceVersion"] for name, item in quickstart.objects().items()} == versions

    made_anew_they_find_their_results(quickstart, "pretrain", "finetune")

    nnunets_predictor_reads(Path(quickstart.folds("finetune")[0]["folder"].removeprefix("file://")))


def made_anew_they_find_their_results(quickstart: Quickstart, *names: str) -> None:
    """Runs that are deleted and applied again have other uids, and are not trained again."""
    before = {name: quickstart.objects()[f"TrainingRun/{name}"] for name in names}
    command = [sys.executable, "-m", "nnunet_operator.cli", "local", "delete", "--store", str(quickstart.root)]
    for name in names:
        subprocess.run([*command, "trainingrun", name], cwd=ROOT, check=True, capture_output=True)
    assert "found in the storage" in quickstart.finish()
    for name, old in before.items():
        new = quickstart.objects()[f"TrainingRun/{name}"]
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        assert new["status"]["seed"] == old["status"]["seed"]
        (was,), (fold,) = old["status"]["folds"], new["status"]["folds"]
        assert (was["found"], fold["found"]) == (False, True)
        for key in (
            "digest",
            "folder",
            "artifact",
            "checkpoint",
            "best",
            "epochs",
            "trainLoss",
            "valLoss",
            "pseudoDice",
            "seconds",
        ):
            assert fold.get(key) == was.get(key), (name, key)


def nnunets_predictor_reads(folder: Path) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder.parent), use_folds=(0,), checkpoint_name="checkpoint_final.pth")
    assert predictor.trainer_name == "nnUNetTrainer"
    assert list(predictor.configuration_manager.patch_size) == [32, 40, 32]
