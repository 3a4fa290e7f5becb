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
import SimpleITK as sitk
import yaml
from nnunet_operator.local.object_store.store import Store
from nnunet_trainer.cli import main
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


def numpy_dataset(folder: Path) -> Path:
    """A dataset that only the document's reader can read."""
    raw = make_dataset(folder, cases=5)
    for path in sorted(raw.glob("*Tr/*.nii.gz")):
        np.save(path.with_name(path.name.replace(".nii.gz", ".npy")), sitk.GetArrayFromImage(sitk.ReadImage(path)))
        path.unlink()
    content = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps(content | {"file_ending": ".npy", "overwrite_image_reader_writer": "NumpyIO"}))
    return raw


def by_hand(*words: str | Path) -> int:
    """A command in this process, with no more plug-ins than it names."""
    with isolated():
        return main([str(word) for word in words])


@pytest.mark.e2e
def test_the_manifests(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The plug-in's extractor, planner and normalization, and the reader, through manifests; then by hand to predictions."""
    raw = numpy_dataset(tmp_path / "Dataset001_A")
    code = {name: {path.name: path.read_text() for path in (folder / name).iterdir()} for name in ("foreground", "data")}
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files} for name, files in code.items()]
    objects = list(yaml.safe_load_all(pages.blocks("extending.md", "yaml")[1]))
    objects[0]["spec"]["source"]["uri"] = str(raw)
    for each in objects:
        each["spec"]["plugins"].append({"configMapName": "data"})
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([*maps, *objects]))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop(pod.ENV_SCRATCH, None)
    apply = ("nnunet-operator", "local", "apply", "--store", "store", "-f", "all.yaml")
    done = subprocess.run(apply, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(tmp_path / "store")
    status = (store.get("Plans", "default", "plans") or {})["status"]
    assert status["plansName"] == "nnUNetPlans_foreground"
    assert [(p["name"], p.get("version"), p["needed"]) for p in status["plugins"]] == [
        ("data", None, True),
        ("foreground", "1.0", True),
    ]
    made = next(tmp_path.rglob("nnUNetPlans_foreground.json"))
    plans = json.loads(made.read_text())
    assert [each["components"] for each in plans["plugins"]] == [
        ["reader NumpyIO"],
        ["normalization Robust", "planner ForegroundPlanner", "targetSpacingRule ByForeground"],
    ]
    full = plans["configurations"]["3d_fullres"]
    assert len(set(full["spacing"])) == 1
    assert full["normalization_schemes"] == [{"name": "Robust", "percentile": 10.0}]
    notes = json.loads((made.parent / "report.json").read_text())["notes"]
    assert any("200 voxels are foreground" in line for line in notes)
    assert any(line.startswith("the fingerprint also has foreground_ml: ") for line in notes)
    # By hand: what needs a plug-in is refused without it, and with another one of its name.
    monkeypatch.chdir(tmp_path)
    reader, own = ("--plugins", folder / "data"), ("--plugins", folder / "foreground")
    preprocess = ("preprocess", raw, "--plans", made, "-c", "3d_fullres", "-o", "out", "--workers", "1", *reader)
    assert by_hand(*preprocess) == 78
    needed = "MissingPlugin: Plans nnUNetPlans_foreground was made with the plug-in"
    assert f"{needed} foreground (version 1.0" in capsys.readouterr().err
    assert by_hand(*preprocess, *own) == 0
    recipe = "base: nnUNetTrainer\nrecipe: {epochs: 1, iterationsPerEpoch: 1, validationIterations: 1, augmentation: none}\n"
    (tmp_path / "short.yaml").write_text(recipe)
    train = ("train", "--preprocessed", "out", "-p", "nnUNetPlans_foreground", "-c", "3d_fullres", "-f", "0", "-o", "results")
    short = ("-tr", "short", "--recipe", "short.yaml", "--workers", "0", "--device", "cpu")
    assert by_hand(*train, *short, *reader, *own) == 0
    model = next((tmp_path / "results").glob("Dataset001_A/*"))
    (case,) = (path for path in (model / "fold_0/validation").glob("*.npy"))
    (tmp_path / "images").mkdir()
    image = np.load(raw / "imagesTr" / f"{case.stem}_0000.npy")
    np.save(tmp_path / "images" / f"{case.stem}_0000.npy", image)
    predict = ("predict", "--model", model, "-i", "images", "-o", "predicted", "--device", "cpu")
    assert by_hand(*predict, *reader, *own) == 0
    predicted = np.load(tmp_path / "predicted" / case.name)
    assert (predicted.shape, np.array_equal(predicted, np.load(case))) == (image.shape, True)
    capsys.readouterr()
    assert by_hand(*predict, *own) == 78
    assert f"{needed} data" in capsys.readouterr().err
    (folder / "foreground" / "foreground.py").write_text(code["foreground"]["foreground.py"] + "\n# another\n")
    for command in (preprocess, (*predict, *reader)):
        assert by_hand(*command, *own) == 78
        assert "PluginChanged" in capsys.readouterr().err
