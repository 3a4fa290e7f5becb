"""docs/extending.md: its plug-ins load, each kind does what it says, and its manifests go through the local shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from nnunet_operator.local.object_store.store import Store
from nnunet_trainer.contract import pod
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.extensions import KINDS, PLANNER_STEPS, find, load_plugins
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import preprocess_image
from nnunet_trainer.preprocessing.resampling import resampling
from support import pages
from support.controlplane import ROOT
from support.datasets import make_dataset
from support.plugins import isolated
from trainer.planning.conftest import DATASET_JSON, FINGERPRINT

TEXT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The plug-ins of the document: a folder each."""
    for text in pages.blocks("extending.md", "python"):
        name = re.match(r"# (\w+)\.py\n", text)
        assert name, "a plug-in begins with its file's name"
        (tmp_path / "plugins" / name[1]).mkdir(parents=True)
        (tmp_path / "plugins" / name[1] / f"{name[1]}.py").write_text(text)
    return tmp_path / "plugins"


@pytest.fixture
def loaded(folder: Path) -> Iterator[None]:
    with isolated():
        load_plugins(folder)
        yield


def test_every_kind_is_named() -> None:
    table = TEXT.partition("## Without code")[0]
    assert [kind for kind in KINDS if f"`{kind}`" not in table] == []


def test_each_step_is_shown(loaded: None) -> None:
    """All that are shown work together."""
    names = dict(re.findall(r'@register\("(\w+)", "(\w+)"\)', TEXT))
    assert {kind for kind in PLANNER_STEPS if kind != "architecture"} <= set(names)  # shown in docs/architectures.md
    parameters: dict[str, Any] = {kind: names[kind] for kind in PLANNER_STEPS if kind not in ("targetSpacingRule", "architecture")}
    plans = plan(FINGERPRINT, DATASET_JSON, dataset_name="Dataset001_A", reader="SimpleITKIO", parameters=parameters)
    full = plans["configurations"]["3d_fullres"]
    assert full["normalization_schemes"] == ["NoNormalization"]
    assert (full["batch_size"], full["architecture"]["arch_kwargs"]["n_conv_per_stage"]) == (1, [1, 2, 3, 4])
    assert np.prod(full["patch_size"]) * 1000 <= 560_000_000
    assert plans["configurations"]["3d_lowres"]["spacing"] == [2 * s for s in full["spacing"]]


def test_what_is_said_without_code() -> None:
    chosen = yaml.safe_load(pages.blocks("extending.md", "yaml")[0])["planner"]
    notes: list[str] = []
    plans = plan(
        FINGERPRINT,
        DATASET_JSON,
        dataset_name="Dataset001_A",
        reader="SimpleITKIO",
        planner=chosen["name"],
        gpu_memory_gb=chosen["gpuMemoryGB"],
        parameters=chosen["parameters"],
        per_configuration=chosen["perConfiguration"],
        notes=notes,
    )
    assert plans["configurations"]["3d_fullres"]["batch_size"] == 6
    assert plans["configurations"]["2d"]["data_identifier"] == "nnUNetPlansv2.1_2D_2d"  # it is normalized otherwise
    assert "planner ExperimentPlanner3D_v21, plans nnUNetPlansv2.1, for 11 GB of GPU memory" in notes


def test_preprocessing(loaded: None) -> None:
    """The steps that are shown, and the plug-in's, one after the other."""
    shown = yaml.safe_load(pages.blocks("extending.md", "yaml")[2])["planner"]["parameters"]
    shown["preprocessingSteps"] += ["FadeBorder", "LikeMedianCase"]
    plans = plan(FINGERPRINT, DATASET_JSON, dataset_name="Dataset001_A", reader="SimpleITKIO", parameters=shown)
    full = plans["configurations"]["3d_fullres"]
    assert [step["name"] for step in full["preprocessing_steps"]][-2:] == ["FadeBorder", "LikeMedianCase"]
    assert full["preprocessing_steps"][-1]["spacings"] == FINGERPRINT["spacings"]
    assert full["resampling_fn_data_kwargs"] == {"is_seg": False, "order": 3, "order_z": 1, "force_separate_z": None}
    full["preprocessing_steps"][1] |= {"iterations": [2]}
    images = np.random.default_rng(0).normal(100, 10, (1, 6, 24, 24)).astype(np.float32)
    data = preprocess_image(images, {"spacing": [5.0, 2.0, 2.0]}, Plans(plans), "3d_fullres", DATASET_JSON)[0]
    assert (data.shape[1], np.isfinite(data).all()) == (6, True)
    assert abs(data[0, 0]).mean() < abs(data[0, 3]).mean()


def test_data_is_read_and_resampled(loaded: None, tmp_path: Path) -> None:
    function = resampling.by_name("Nearest", {"is_seg": False})
    data = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert function(data, (4, 3, 2), (1, 1, 1), (0.5, 1, 2)).shape == (1, 4, 3, 2)
    reader = by_name("NumpyIO")
    reader.write(np.ones((2, 3, 4), np.uint8), tmp_path / "a.npy", {})
    assert reader.read_label(tmp_path / "a.npy").shape == (1, 2, 3, 4)


def test_trainings_components(loaded: None) -> None:
    import torch
    from nnunet_trainer.training.components.losses.context import LossContext

    logits, labels = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (2, 1, 4, 4))
    whole, half = (find("loss", "MeanSquare").make(LossContext(share=share), weight=2.0)(logits, labels) for share in (1, 0.5))
    whole.backward()
    assert whole == 2 * half > 0
    assert find("optimizer", "PlainSGD").make([logits], learning_rate=0.1).defaults["lr"] == 0.1
    assert find("schedule", "halves").make(10)(1, {}) == 0.5


@pytest.mark.e2e
def test_the_manifests(folder: Path, tmp_path: Path) -> None:
    """A Dataset and Plans with the plug-in's extractor, planner and normalization, preprocessed; then by hand."""
    raw = make_dataset(tmp_path / "Dataset001_A", cases=5)
    code = {path.name: path.read_text() for path in (folder / "foreground").iterdir()}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreground"}, "data": code}
    objects = list(yaml.safe_load_all(pages.blocks("extending.md", "yaml")[1]))
    objects[0]["spec"]["source"]["uri"] = str(raw)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([config_map, *objects]))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop(pod.ENV_SCRATCH, None)

    def run(*command: str) -> tuple[int, str]:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
        return done.returncode, done.stdout + done.stderr

    code_, said = run("nnunet-operator", "local", "apply", "--store", "store", "-f", "all.yaml")
    assert code_ == 0, said
    store = Store(tmp_path / "store")
    status = (store.get("Plans", "default", "plans") or {})["status"]
    assert status["plansName"] == "nnUNetPlans_foreground"
    assert [(p["name"], p["version"], p["needed"]) for p in status["plugins"]] == [("foreground", "1.0", True)]
    made = next(tmp_path.rglob("nnUNetPlans_foreground.json"))
    plans = json.loads(made.read_text())
    assert plans["plugins"][0]["components"] == [
        "normalization Robust",
        "planner ForegroundPlanner",
        "targetSpacingRule ByForeground",
    ]
    full = plans["configurations"]["3d_fullres"]
    assert len(set(full["spacing"])) == 1
    assert full["normalization_schemes"] == [{"name": "Robust", "percentile": 10.0}]
    notes = json.loads((made.parent / "report.json").read_text())["notes"]
    assert any("200 voxels are foreground" in line for line in notes)
    assert any(line.startswith("the fingerprint also has foreground_ml: ") for line in notes)
    # By hand: without the plug-in the plans are refused, with it they are not.
    preprocess = ("nnunet-trainer", "preprocess", str(raw), "--plans", str(made), "-c", "3d_fullres", "-o", "out", "--workers", "2")
    code_, said = run(*preprocess)
    assert code_ == 78
    assert "MissingPlugin: Plans nnUNetPlans_foreground was made with the plug-in foreground (version 1.0" in said
    code_, said = run(*preprocess, "--plugins", str(folder / "foreground"))
    assert code_ == 0, said
    (folder / "foreground" / "foreground.py").write_text(code["foreground.py"] + "\n# another\n")
    code_, said = run(*preprocess, "--plugins", str(folder / "foreground"))
    assert code_ == 78
    assert "PluginChanged" in said
