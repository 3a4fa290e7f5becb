"""docs/architectures.md: its plug-in is calibrated, planned for, trained, validated, predicted with and fine-tuned."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from nnunet_operator.local.object_store.store import Store
from nnunet_trainer.cli import main
from nnunet_trainer.contract import pod
from nnunet_trainer.extensions import find, kinds, load_plugins
from nnunet_trainer.planning.architectures import Architecture
from support.controlplane import ROOT
from support.datasets import make_dataset
from support.plugins import isolated

TEXT = (ROOT / "docs/architectures.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The document's plug-in."""
    (tmp_path / "atrous").mkdir()
    (tmp_path / "atrous" / "atrous.py").write_text(block("python"))
    return tmp_path / "atrous"


@pytest.mark.parametrize("axes", [2, 3])
def test_the_network_with_deep_supervision(tmp_path: Path, axes: int) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/deep.py").write_text(re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1])
    strides = [[1] * axes, [2] * axes, [2] * axes]
    with isolated():
        load_plugins(tmp_path / "deep")
        make = find("network", "Deep").make
        supervised, single = (make({"features": [4, 6, 8], "strides": strides}, 1, 3, each) for each in (True, False))
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (supervised, single)]
    assert shapes[0] == shapes[1]
    image = torch.zeros(2, 1, *[16] * axes)
    assert [tuple(output.shape) for output in supervised(image)] == [(2, 3, *[16] * axes), (2, 3, *[8] * axes)]
    assert len(supervised(image)) == len(Architecture().output_strides({"strides": strides}) or ())
    assert supervised.heads[0].in_channels == 6, "the coarsest output's is the first"
    assert single(image).shape == (2, 3, *[16] * axes)


def test_every_architecture_is_named(folder: Path) -> None:
    with isolated():
        assert [name for name in kinds.registry("architecture") if f"`{name}`" not in TEXT.partition("## The plug-in")[0]] == []
        load_plugins(folder)
        estimate = find("architecture", "Atrous").make().estimate([8, 8, 8], {"width": 4, "dilations": [1, 2]}, 1, 2)
    assert estimate == 512 * (4 * 2 + 2)


def by_hand(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says, in this process."""
    with isolated():
        assert main([*words]) == 0
    printed = capsys.readouterr()
    return printed.out + printed.err


@pytest.mark.e2e
def test_the_commands_and_the_manifests(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / "Dataset001_A", cases=5, shape=(16, 20, 20))
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "atrous"},
        "data": {"atrous.py": (folder / "atrous.py").read_text()},
    }
    objects = list(yaml.safe_load_all(block("yaml")))
    objects[0]["spec"]["source"]["uri"] = str(raw)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([config_map, *objects]))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop(pod.ENV_SCRATCH, None)

    apply = ("nnunet-operator", "local", "apply", "--store", "store", "-f", "all.yaml")
    done = subprocess.run(apply, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(tmp_path / "store")
    status = (store.get("Plans", "default", "atrous") or {})["status"]
    assert status["calibration"].startswith(
        "calibrated without a GPU, by counting the tensors of small patches: CPU, bf16, for 0.02 GB"
    )
    planned = next(c["message"] for c in status["conditions"] if c["type"] == "Planned")
    assert status["calibration"] in planned
    made = next(tmp_path.rglob("nnUNetPlans_atrous.json"))
    report = json.loads((made.parent / "report.json").read_text())
    calibration = report["calibration"]
    rows = calibration["series"]["3d"]
    assert [row["patch"] for row in rows] == [[16] * 3, [24] * 3, [32] * 3]
    assert any(line.startswith("calibrated without a GPU") for line in report["notes"])
    plans = json.loads(made.read_text())
    three, two = (plans["configurations"][name] for name in ("3d_fullres", "2d"))
    assert three["architecture"] == {"network_class_name": "Atrous", "arch_kwargs": {"width": 4, "dilations": [1, 2, 4]}}
    assert two["architecture"]["network_class_name"].endswith("PlainConvUNet")
    for name in ("first", "finetuned"):
        trained = (store.get("TrainingRun", "default", name) or {})["status"]
        assert trained["folds"][0]["validationDice"] is not None
    assert "segmentation layers begin anew" in str(trained)
    # By hand: what is measured there is the same, and the model predicts.
    monkeypatch.chdir(tmp_path)
    said = by_hand(capsys, *block("sh").splitlines()[0].split()[1:])
    assert "3d: patch 16×16×16, batch 2: takes " in said
    measured = json.loads((tmp_path / "calibration.json").read_text())
    assert measured["parameters"]["reference3d"] == pytest.approx(calibration["parameters"]["reference3d"], rel=0.05)
    model = next(path.parent.parent for path in tmp_path.rglob("fold_0/checkpoint_final.pth"))
    out = tmp_path / "out"
    (tmp_path / "images").mkdir()
    shutil.copy(next((raw / "imagesTr").iterdir()), tmp_path / "images")
    by_hand(capsys, "predict", "--model", str(model), "--plugins", "atrous", "-i", "images", "-o", str(out), "--no-mirroring")
    assert list(out.glob("*.nii.gz"))
