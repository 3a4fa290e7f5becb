"""docs/coming-from-v2.md: its commands run in nnU-Net's folders, and nnU-Net and we take turns there."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from string import Template

import pytest
import yaml
from nnunet_operator.api.resources import parse
from nnunet_operator.local.object_store.store import Store
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.cli import COMMANDS, main
from nnunet_trainer.nnunet_folders import PREPROCESSED, RAW, RESULTS
from support import pages
from support.controlplane import ROOT
from support.datasets import make_dataset
from support.third_party import wheel
from support.trainings import small_networks

pytestmark = [pytest.mark.reference, pytest.mark.e2e]

TEXT = (ROOT / "docs/coming-from-v2.md").read_text(encoding="utf-8")
TRAINER = "nnUNetTrainer_short"
RECIPE = "base: nnUNetTrainer\nrecipe: {epochs: 1, iterationsPerEpoch: 2, validationIterations: 1, augmentation: none}\n"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nnU-Net's three folders and its variables, a raw dataset, a tiny network and a short training."""
    raw = make_dataset(tmp_path / RAW / "Dataset004_Tiny", cases=5, shape=(10, 18, 20), jitter=0.05)
    (raw / "imagesTs").mkdir()
    shutil.copy(raw / "imagesTr" / "case_00_0000.nii.gz", raw / "imagesTs")
    for variable in (RAW, PREPROCESSED, RESULTS):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.json").write_text(json.dumps({"configurations": {"3d_fullres": small_networks.CONFIGURATION}}))
    (tmp_path / "short.yaml").write_text(RECIPE)
    return tmp_path


def say(line: str) -> None:
    """One `nnunet-trainer` command, in this process."""
    command, *words = shlex.split(Template(line).substitute(nnUNet_raw=Path.cwd() / RAW), comments=True)
    assert command == "nnunet-trainer"
    more = {
        "fingerprint": "--workers 1",
        "preprocess": "--workers 1",
        "train": "--workers 0 --device cpu",
        "predict": "--device cpu",
    }
    assert main([*words, *more.get(words[0], "").split()]) == 0, line


def test_every_command_of_nnunet_is_named() -> None:
    names = {entry.name for entry in metadata.distribution("nnunetv2").entry_points}
    assert sorted(name for name in names if f"`{name}" not in TEXT) == []


def test_every_option_and_field_of_the_table_is_there() -> None:
    table = [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", TEXT.partition("## Commands and manifests")[2], re.MULTILINE)]
    known: set[str] = set()
    for module, _ in COMMANDS.values():
        parser = argparse.ArgumentParser()
        importlib.import_module(f"nnunet_trainer.{module}").add_arguments(parser)
        known |= set(parser._option_string_actions)
    own = {word for row in table[2:] for code in re.findall(r"`([^`]+)`", row[1]) for word in code.split() if word.startswith("-")}
    assert len(own) > 15
    assert sorted(own - known) == ["--nproc-per-node", "-m"]  # torchrun's
    schemas = "".join(path.read_text() for path in (ROOT / "crds").glob("*.yaml"))
    fields = {name for row in table[2:] for code in re.findall(r"`([^`]+)`", row[2]) for name in re.findall(r"[a-z]\w{4,}", code)}
    assert len(fields) > 12
    assert [name for name in sorted(fields) if f" {name}:" not in schemas] == []


def test_the_commands(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    (block,) = pages.blocks("coming-from-v2.md", "sh")
    export, *lines = block.splitlines()
    assert set(re.findall(r"(nnUNet_\w+)=", export)) == {RAW, PREPROCESSED, RESULTS}
    for line in lines:
        say(line)
    assert [path.name for path in (folders / "predictions").glob("*.nii.gz")] == ["case_00.nii.gz"]
    found = get_output_folder("4", TRAINER, "nnUNetPlans", "3d_fullres")
    nnUNetPredictor().initialize_from_trained_model_folder(found, (0,), "checkpoint_final.pth")
    compared = folders / "compared" / "Dataset004_Tiny"  # no more than the page says
    shutil.copytree(folders / RAW / "Dataset004_Tiny" / "labelsTr", compared / "gt_segmentations")
    shutil.copy(Path(found) / "plans.json", compared / "nnUNetPlans.json")
    monkeypatch.setenv(PREPROCESSED, str(compared.parent))
    best = wheel.find_best_configuration(4, TRAINER, ["3d_fullres"], folds=(0,))
    assert list(best["all_results"]) == [f"{TRAINER}__nnUNetPlans__3d_fullres"]
    assert Path(best["best_model_or_ensemble"]["postprocessing_file"]).is_file()


def short(continued: bool) -> None:
    Path("short.yaml").write_text(RECIPE.replace("epochs: 1", "epochs: 2") if continued else RECIPE)
    say(f"nnunet-trainer train -d 4 -c 3d_fullres -f 0 -tr {TRAINER} --recipe short.yaml {'--continue' if continued else ''}")


def test_nnunet_goes_on_from_ours_and_we_from_its(folders: Path) -> None:
    """Fingerprint nnU-Net's, plans ours, preprocessed by nnU-Net, one epoch ours, one nnU-Net's, predictions ours."""
    raw, preprocessed = folders / RAW / "Dataset004_Tiny", folders / PREPROCESSED / "Dataset004_Tiny"
    wheel.fingerprint(raw, folders / PREPROCESSED, 1e4)
    say("nnunet-trainer plan -d 4 --patch tiny.json")
    wheel.preprocess(4, "nnUNetPlans", "3d_fullres")
    assert len(list((preprocessed / "nnUNetPlans_3d_fullres").glob("*.pkl"))) == 5
    short(continued=False)
    fold = wheel.train("Dataset004_Tiny", "3d_fullres", TRAINER, epochs=2, iterations=2)
    assert fold == folders / RESULTS / "Dataset004_Tiny" / f"{TRAINER}__nnUNetPlans__3d_fullres" / "fold_0"
    log = checkpoint.load(fold / "checkpoint_final.pth")["logging"]
    assert len(log["train_losses"]) == 2
    say(f"nnunet-trainer predict -d 4 -c 3d_fullres -f 0 -tr {TRAINER} -i $nnUNet_raw/Dataset004_Tiny/imagesTs -o out")
    assert list((folders / "out").glob("*.nii.gz"))


def test_we_go_on_from_nnunets_and_it_from_ours(folders: Path) -> None:
    """Fingerprint ours, plans nnU-Net's, preprocessed by us, one epoch nnU-Net's, one ours, which nnU-Net finds finished."""
    raw, preprocessed = folders / RAW / "Dataset004_Tiny", folders / PREPROCESSED / "Dataset004_Tiny"
    say("nnunet-trainer fingerprint -d 4")
    plans = wheel.plan(raw, folders / PREPROCESSED)
    tiny = {**small_networks.ARCHITECTURE["arch_kwargs"]}
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= tiny
    plans["configurations"]["3d_fullres"]["patch_size"] = small_networks.CONFIGURATION["patch_size"]
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    say("nnunet-trainer preprocess -d 4")  # as nnU-Net: all that the plans have
    assert (preprocessed / "nnUNetPlans_2d").is_dir()
    fold = wheel.train("Dataset004_Tiny", "3d_fullres", TRAINER, epochs=2, iterations=2, stop_after=1)
    assert (fold / "checkpoint_latest.pth").exists()
    short(continued=True)
    log = checkpoint.load(fold / "checkpoint_final.pth")["logging"]
    assert len(log["train_losses"]) == 2
    before = (fold / "checkpoint_final.pth").stat().st_mtime_ns
    assert wheel.train("Dataset004_Tiny", "3d_fullres", TRAINER, epochs=2, iterations=2) == fold
    assert len(checkpoint.load(fold / "checkpoint_final.pth")["logging"]["train_losses"]) == 2
    assert (fold / "checkpoint_final.pth").stat().st_mtime_ns >= before
    begin_with(fold / "checkpoint_final.pth", raw)


def begin_with(weights: Path, raw: Path) -> None:
    """The page's manifests in the local shell: a training that begins with nnU-Net's weights."""
    dataset, plans, run = objects = list(yaml.safe_load_all(pages.blocks("coming-from-v2.md", "yaml")[0]))
    for each in objects:
        assert parse(each)
    dataset["spec"]["source"]["uri"] = str(raw)
    plans["spec"]["patch"] = {"configurations": {"3d_fullres": small_networks.CONFIGURATION}}
    run["spec"] |= {"trainer": {"name": TRAINER, **yaml.safe_load(RECIPE)}, "workers": {"gpusPerNode": 0}}
    run["spec"]["pretrained"]["uri"] = str(weights)
    Path("all.yaml").write_text(yaml.safe_dump_all(objects))
    command = [sys.executable, "-m", "nnunet_operator.cli", "local", "apply", "--store", "store", "-f", "all.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    trained = (Store(Path("store")).get("TrainingRun", "default", "tiny") or {})["status"]["folds"][0]["pretrained"]
    assert trained["loaded"] > 0
    assert (trained["missing"], trained["mismatched"]) == (0, 0)
