"""Whatever is wrong with what people give: one message that names what was found, where, and what was expected; the right exit
code; no stack trace, no retries. Most rows run a step or a command in this process, some whole manifests through the local shell.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from nnunet_operator.local.object_store.store import Store
from nnunet_trainer import cli
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import ExitCode, Fault
from nnunet_trainer.contract.work_order import DatasetOrder, Location
from nnunet_trainer.dataset import parallel
from nnunet_trainer.fingerprint import extraction
from nnunet_trainer.process_exit import failures
from nnunet_trainer.steps import dataset as dataset_step
from support.damages import halve
from support.datasets import make_dataset, write_nifti
from support.s3 import S3Server, s3_server  # noqa: F401
from support.trainings import small_networks

NAME = "Dataset001_A"
SHAPE, SPACING = (8, 14, 12), (2.0, 1.0, 1.0)
Change = Callable[[Path], object]
SMALL = {"batch_size": 2, "patch_size": [8, 8, 8], "architecture": small_networks.TWO_STAGES}
RECIPE = {"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1}


def image(raw: Path, case: int, channel: int = 0) -> Path:
    return raw / "imagesTr" / f"case_{case:02}_{channel:04}.nii.gz"


def label(raw: Path, case: int) -> Path:
    return raw / "labelsTr" / f"case_{case:02}.nii.gz"


def halve_inside(path: Path) -> None:
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))


def put(path: Path, shape: tuple[int, ...] = SHAPE, spacing: tuple[float, ...] = SPACING, value: float = 1) -> None:
    """An image of ones with one other voxel."""
    array = np.ones(shape, np.float32)
    array[1, 2, 3] = value
    write_nifti(path, array, spacing)


def say(raw: Path, **fields: Any) -> None:
    """Change fields of dataset.json; None takes one away."""
    content = json.loads((raw / "dataset.json").read_text()) | fields
    (raw / "dataset.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def empty(raw: Path) -> None:
    shutil.rmtree(raw)
    raw.mkdir()


CASES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "truncated": (lambda raw: halve(image(raw, 0)), ("case_00: imagesTr/case_00_0000.nii.gz: truncated", "promises 5728")),
    "truncated inside": (lambda raw: halve_inside(image(raw, 0)), ("case_00: imagesTr/case_00_0000.nii.gz", "2864", "5728")),
    "truncated label": (lambda raw: halve(label(raw, 1)), ("case_01: labelsTr/case_01.nii.gz: truncated",)),
    "image without label": (lambda raw: label(raw, 2).unlink(), ("case_02", "without a label; expected labelsTr/case_02.nii.gz")),
    "label without image": (
        lambda raw: [image(raw, 2, c).unlink() for c in (0, 1)],
        ("1 of 3 cases", "labelsTr/case_02.nii.gz: a label without an image; expected imagesTr/case_02_0000.nii.gz"),
    ),
    "channel missing": (lambda raw: image(raw, 1, 1).unlink(), ("case_01", "1 channel in 1 file, dataset.json names 2")),
    "channel shape": (
        lambda raw: put(image(raw, 1, 1), (8, 13, 12)),
        ("imagesTr/case_01_0001.nii.gz: shape 8×13×12, but imagesTr/case_01_0000.nii.gz has 8×14×12",),
    ),
    "channel spacing": (
        lambda raw: put(image(raw, 1, 1), spacing=(2, 1, 1.5)),
        ("imagesTr/case_01_0001.nii.gz: spacing 2×1×1.5, but imagesTr/case_01_0000.nii.gz has 2×1×1",),
    ),
    "label shape": (lambda raw: put(label(raw, 0), (8, 14, 11)), ("labelsTr/case_00.nii.gz: shape 8×14×11", "has 8×14×12")),
    "label spacing": (lambda raw: put(label(raw, 0), spacing=(3, 1, 1)), ("labelsTr/case_00.nii.gz: spacing 3×1×1", "has 2×1×1")),
    "label value": (lambda raw: put(label(raw, 0), value=7), ("case_00", "holds the value 7, dataset.json names 0 to 2")),
    "NaN": (lambda raw: put(image(raw, 1), value=np.nan), ("imagesTr/case_01_0000.nii.gz: 1 voxel is NaN", "1, 2, 3")),
    "NaN in a label": (lambda raw: put(label(raw, 1), value=np.nan), ("labelsTr/case_01.nii.gz: 1 voxel is NaN",)),
    "another ending": (lambda raw: say(raw, file_ending=".nrrd"), ("no image with the ending .nrrd", "files with .nii.gz")),
    "splits of other cases": (
        lambda raw: (raw / "splits_final.json").write_text('[{"train": ["a"], "val": ["case_01"]}]'),
        ("splits_final.json: fold 0 names a, which the dataset does not have",),
    ),
    "splits that are none": (
        lambda raw: (raw / "splits_final.json").write_text("{}"),
        ("splits_final.json: the document is no list",),
    ),
    "splits that are no JSON": (lambda raw: (raw / "splits_final.json").write_text("[{"), ("splits_final.json: not JSON",)),
}
DESCRIPTIONS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "empty folder": (empty, ("dataset.json",)),
    "no folder": (shutil.rmtree, (NAME,)),
    "missing": (lambda raw: (raw / "dataset.json").unlink(), ("dataset.json",)),
    "not JSON": (lambda raw: (raw / "dataset.json").write_text('{"a": 1,'), ("dataset.json", "not JSON", "line 1, column 9")),
    "a list": (lambda raw: (raw / "dataset.json").write_text("[]"), ("dataset.json", "is a list, expected an object")),
    "not text": (lambda raw: (raw / "dataset.json").write_bytes(b"\xff\xfe\x00"), ("dataset.json", "not UTF-8")),
    "no labels": (lambda raw: say(raw, labels=None), ("dataset.json", "field labels is missing; expected")),
    "labels of v1": (
        lambda raw: say(raw, labels={"0": "background"}),
        ("field labels has values that name labels, as in version 1", '{"background": 0}'),
    ),
    "labels with a gap": (lambda raw: say(raw, labels={"background": 0, "a": 2}), ("has the values 0, 2, expected consecutive",)),
    "channels": (lambda raw: say(raw, channel_names=["MRI"]), ("field channel_names is a list, expected", '{"0": "CT"}')),
    "ending": (lambda raw: say(raw, file_ending="nii.gz"), ('field file_ending is "nii.gz", expected', '".nii.gz"')),
    "count": (lambda raw: say(raw, numTraining="3"), ('field numTraining is "3", expected the number',)),
    "reader": (lambda raw: say(raw, overwrite_image_reader_writer="X"), ("overwrite_image_reader_writer", "SimpleITKIO")),
}


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "scratch"))
    monkeypatch.setattr(parallel, "cpu_limit", lambda: 1)
    monkeypatch.setattr(extraction, "TOTAL_SAMPLES", 1e4)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / NAME
    return make_dataset(folder, channels=("MRI", "PET"), shape=SHAPE, spacing=SPACING, jitter=0)


@pytest.fixture
def raw(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "raw" / NAME)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """A command of the CLI: its exit code and all that it says. A stack trace would be an exception here."""
    code = cli.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out + said.err


def read(source: Location | Path, storage: Location | Path) -> Fault:
    """The step `dataset`, which must fail with a fault that people can mend."""
    places = [p if isinstance(p, Location) else Location(uri=f"file://{p}") for p in (source, storage)]
    with pytest.raises(Fault) as caught:
        dataset_step.carry_out(DatasetOrder(name=NAME, source=places[0], storage=places[1]), lambda progress: None)
    return caught.value


@pytest.mark.parametrize("row", CASES)
def test_cases(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str) -> None:
    change, wanted = CASES[row]
    change(raw)
    code, said = call(capsys, "verify", raw, "--workers", 1)
    assert code == ExitCode.BAD_DATA
    fault = read(raw, tmp_path / "store")
    error = failures.as_error(fault)
    assert (error.code, error.reason) == (ExitCode.BAD_DATA, "InvalidCases")
    assert "spec.rerun" in error.hint
    for part in wanted:
        assert part in error.message
        assert part in said or part.endswith("cases")
    assert not (tmp_path / "store" / "datasets").exists()


@pytest.mark.parametrize("row", DESCRIPTIONS)
def test_descriptions(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str) -> None:
    change, wanted = DESCRIPTIONS[row]
    change(raw)
    for command in ("verify", "fingerprint"):
        code, said = call(capsys, command, raw, "--workers", 1)
        assert code == ExitCode.BAD_DATA
        assert not [part for part in wanted if part not in said], said
    error = failures.as_error(read(raw, tmp_path / "store"))
    assert (error.code, error.reason) == (ExitCode.BAD_DATA, "InvalidDatasetJson")
    assert not [part for part in wanted if part not in error.message + error.hint], error


def test_every_fault_is_named_at_once(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halve(image(raw, 0))
    put(label(raw, 1), value=7)
    label(raw, 2).unlink()
    code, said = call(capsys, "verify", raw, "--workers", 1)
    assert code == ExitCode.BAD_DATA
    assert "3 faults in 3 cases." in said
    fault = read(raw, tmp_path / "store")
    assert [line[:7] for line in fault.findings] == ["case_00", "case_01", "case_02"]


STORES: dict[str, tuple[Callable[[S3Server, Path], Location], int, str, str]] = {
    "secret key": (lambda s, f: s.mount(f, AWS_SECRET_ACCESS_KEY="x"), 78, "StorageAccessDenied", "the Secret 's3'"),
    "access key": (lambda s, f: s.mount(f, AWS_ACCESS_KEY_ID="x"), 78, "StorageAccessDenied", "refuses access to s3://nnunet"),
    "no Secret": (lambda s, f: replace(s.mount(f), secret_name="no"), 78, "SecretNotFound", "Secret 'no'"),
    "bucket": (lambda s, f: replace(s.mount(f), uri="s3://no-bucket"), 78, "BucketNotFound", "no bucket 'no-bucket' at http"),
    "unreachable": (
        lambda s, f: replace(s.mount(f), endpoint="http://127.0.0.1:9"),
        74,
        "StorageUnreachable",
        "http://127.0.0.1:9 cannot be reached for s3://nnunet",
    ),
    "no TLS": (
        lambda s, f: replace(s.mount(f), endpoint=s.endpoint.replace("http:", "https:")),
        78,
        "StorageCertificateRejected",
        "does not answer with TLS",
    ),
    "no endpoint": (lambda s, f: replace(s.mount(f), endpoint="127.0.0.1"), 78, "InvalidStorageUri", "at 127.0.0.1"),
    "no URI": (lambda s, f: replace(s.mount(f), uri="gs://nnunet"), 78, "InvalidStorageUri", "'gs://nnunet'"),
}


@pytest.mark.parametrize("row", STORES)
def test_stores(s3_server: S3Server, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str) -> None:  # noqa: F811
    make, code, reason, said = STORES[row]
    monkeypatch.setenv(pod.ENV_SECRETS, str(tmp_path / "secrets"))
    location = make(s3_server, tmp_path / "secrets")
    for fault in (read(location, tmp_path / "store"), read(good, location)):
        error = failures.as_error(fault)
        assert (error.code, error.reason) == (code, reason)
        assert said in error.message
        assert error.hint


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset (raw), its fingerprint, plans and preprocessed data, made by the commands."""
    folder = tmp_path_factory.mktemp("prepared")
    raw = make_dataset(folder / "raw" / NAME, shape=(12, 16, 16), spacing=(1, 1, 1), jitter=0, cases=5)
    patch = json.dumps({"configurations": {"3d_fullres": SMALL}})
    plans, fingerprint = folder / "nnUNetPlans.json", folder / "fingerprint.json"
    for command in (
        ["fingerprint", raw, "-o", fingerprint, "--workers", 1],
        ["plan", raw, "--fingerprint", fingerprint, "--patch", patch, "-o", plans],
        ["preprocess", raw, "--plans", plans, "-c", "3d_fullres", "-o", folder / "preprocessed" / NAME, "--workers", 1],
    ):
        assert cli.main([str(word) for word in command]) == 0
    return folder


PLANS: dict[str, tuple[list[str], int, str, tuple[str, ...]]] = {
    "planner": (["--planner", "ExperimentPlaner"], 78, "UnknownPlanner", ("'ExperimentPlaner'", "Did you mean ExperimentPlanner")),
    "memory": (["--gpu-memory-gb", "-3"], 78, "InvalidGpuMemory", ("-3.0, expected a positive number",)),
    "parameter": (["--parameters", '{"maxPoolin": 4}'], 78, "UnknownParameter", ("'maxPoolin'", "Did you mean maxPooling")),
    "no JSON": (["--patch", "{"], 64, "InvalidArgument", ("--patch is not JSON",)),
    "option": (["--nonsense"], 64, "", ("--nonsense",)),
    **{
        f"patch {patch}": (["--patch", patch], 78, "InvalidP", wanted)
        for patch, wanted in {
            '{"configurations": {"3d_fulres": {"batch_size": 2}}}': ("configurations.3d_fulres", "did you mean 3d_fullres?"),
            '{"configurations": {"3d_fullres": {"batchsize": 2}}}': ("3d_fullres.batchsize", "did you mean batch_size?"),
            '{"configurations": {"3d_fullres": {"batch_size": "two"}}}': ("batch_size is 'two', expected a positive integer",),
            '{"configurations": {"3d_fullres": null}}': ("configurations.3d_fullres is None, expected an object",),
            '{"configurations": {"x": {"inherits_from": 3}}}': ("configurations.x.inherits_from is 3, expected",),
            '{"configurations": {"x": {"inherits_from": "y"}}}': ("configurations.x.inherits_from is 'y'", "Known: 2d, 3d_fullres"),
            '{"transpose_forward": null}': ("transpose_forward", "None"),
            '{"plans_name": "a/b"}': ("plans_name is 'a/b', expected",),
        }.items()
    },
}


@pytest.mark.parametrize("row", PLANS)
def test_plans(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str) -> None:
    options, wanted_code, reason, wanted = PLANS[row]
    plan = ["plan", prepared / "raw" / NAME, "--fingerprint", prepared / "fingerprint.json", "-o", tmp_path / "plans.json"]
    code, said = call(capsys, *plan, *options)
    assert code == wanted_code
    assert said.startswith(reason)
    assert not [part for part in wanted if part not in said], said
    assert not (tmp_path / "plans.json").exists()


class _Runs:
    """What would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("it-ran",)


def checkpoint(path: Path, kind: str) -> Path:
    if kind == "no zip":
        path.write_bytes(b"x" * 100)
    elif kind == "cut":
        torch.save({"network_weights": {"a": torch.zeros(1000)}}, path)
        halve(path)
    elif kind != "missing":
        weights = {
            "code": {"network_weights": _Runs()},
            "no weights": {"a": 1},
            "no tensors": {"network_weights": [1]},
            "misfit": {"network_weights": {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(9, 1, 3, 3, 3)}},
        }
        torch.save(weights[kind], path)
    return path


TRAINING: dict[str, tuple[dict[str, Any], int, str, tuple[str, ...]]] = {
    "configuration": (
        {"--configuration": "3d_fulres"},
        78,
        "UnknownConfiguration",
        ("Did you mean 3d_fullres", "Known: 2d, 3d_full"),
    ),
    "configuration without data": ({"--configuration": "2d"}, 65, "MissingPreprocessedData", ("nnUNetPlans_2d does not exist",)),
    "fold": ({"--fold": "five"}, 78, "UnknownFold", ("'five'", "a fold is a number (0, 1, …) or all")),
    "trainer": (
        {"--trainer": "nnUNetTrainr", "--recipe": None},
        78,
        "UnknownTrainer",
        ("Did you mean nnUNetTrainer", "lists them all"),
    ),
    "plans": ({"--plans-name": "other"}, 78, "InvalidPlans", ("other.json cannot be read: No such file",)),
    "device": ({"--device": "gpu"}, 78, "UnknownDevice", ("'gpu'", "cuda:N was expected")),
    "recipe's field": ({"--recipe": "recipe: {epoch: 1}"}, 78, "InvalidRecipe", ("recipe.epoch", "did you mean epochs?")),
    "recipe's type": ({"--recipe": "recipe: {epochs: one}"}, 78, "InvalidRecipe", ("recipe.epochs: an integer", "found 'one'")),
    "recipe's optimizer": ({"--recipe": "recipe: {optimizer: {name: Adm}}"}, 78, "UnknownOptimizer", ("'Adm'", "Adam")),
    "recipe's text": ({"--recipe": "recipe: {"}, 78, "InvalidYAML", ("recipe.yaml, line 2, column 1: ",)),
    **{
        f"pretrained: {kind}": ({"--pretrained": kind}, code, reason, wanted)
        for kind, code, reason, wanted in (
            ("missing", 65, "MissingCheckpoint", ("missing.pth",)),
            ("no zip", 65, "DamagedCheckpoint", ("no zip.pth is not a whole checkpoint",)),
            ("cut", 65, "DamagedCheckpoint", ("cut.pth is not a whole checkpoint",)),
            ("code", 65, "UnsafeCheckpoint", ("could run code", "mkdir", "--allow-pickle")),
            ("no weights", 65, "NotACheckpoint", ("it has no network_weights",)),
            ("no tensors", 65, "NotACheckpoint", ("network_weights are not tensors",)),
            (
                "misfit",
                78,
                "PretrainedMismatch",
                ("stages.0.0.convs.0.conv.weight: 9×1×3×3×3 in the file, 4×1×3×3×3 in the network", "bias: not in the file"),
            ),
        )
    },
}


@pytest.mark.parametrize("row", TRAINING)
def test_training(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    changes, wanted_code, reason, wanted = TRAINING[row]
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    options: dict[str, Any] = {
        "--preprocessed": prepared / "preprocessed" / NAME,
        "--configuration": "3d_fullres",
        "--fold": "0",
        "--device": "cpu",
        "--trainer": "tiny",
        "--recipe": recipe,
        "-o": tmp_path / "results",
        **changes,
    }
    recipe.write_text(changes.get("--recipe") or yaml.safe_dump({"base": "nnUNetTrainer", "recipe": RECIPE}))
    options["--recipe"] = recipe if "--recipe" not in changes or changes["--recipe"] else None
    if "--pretrained" in changes:
        options["--pretrained"] = checkpoint(tmp_path / f"{changes['--pretrained']}.pth", changes["--pretrained"])
    words = [word for option, value in options.items() if value is not None for word in (option, value)]
    code, said = call(capsys, "train", *words, "--no-validation")
    assert code == wanted_code, said
    said = said.removeprefix("Training on the CPU: --device cpu.\n")  # a training's log begins with its device
    assert said.startswith(reason), said
    assert not [part for part in wanted if part not in said], said
    assert not (tmp_path / "it-ran").exists()
    assert not list((tmp_path / "results").rglob("checkpoint_*.pth"))


def manifest(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def apply(folder: Path, *manifests: dict[str, Any]) -> tuple[int, str, Store]:
    """`nnunet-operator local apply` as a process of its own, with real steps."""
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(yaml.safe_dump_all(manifests))
    command = [sys.executable, "-m", "nnunet_operator.cli", "local", "apply", "--store", str(folder / "store"), "-f", "all.yaml"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop(pod.ENV_SCRATCH, None)
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.returncode, ended.stdout + ended.stderr, Store(folder / "store")


def ready(store: Store, kind: str, name: str) -> tuple[str, str]:
    """Reason and message of a resource that is not Ready, and will not become so by itself."""
    found = store.get(kind, "default", name)
    assert found is not None
    conditions = {c["type"]: c for c in found["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "False"
    return conditions["Ready"]["reason"], conditions["Ready"]["message"]


@pytest.mark.e2e
def test_manifests_about_bad_data(raw: Path, tmp_path: Path) -> None:
    halve(image(raw, 0))
    put(label(raw, 1), value=7)
    (tmp_path / "empty").mkdir()
    code, said, store = apply(
        tmp_path / "local",
        manifest("Dataset", "bad", name=NAME, source={"uri": str(raw)}),
        manifest("Dataset", "empty", name="Dataset002_B", source={"uri": str(tmp_path / "empty")}),
        manifest("Plans", "plans", datasetRef={"name": "bad"}),
    )
    assert code == ExitCode.BAD_DATA
    reason, message = ready(store, "Dataset", "bad")
    assert reason == "InvalidCases"
    assert "case_00: imagesTr/case_00_0000.nii.gz: truncated" in message
    assert "the value 7, dataset.json names 0 to 2" in message
    assert "(attempt 1)" in message
    assert message in said
    assert ready(store, "Dataset", "empty")[0] == "InvalidDatasetJson"
    assert ready(store, "Plans", "plans")[0] == "DependencyFailed"


@pytest.mark.e2e
def test_manifests_with_unknown_names_and_weights(prepared: Path, tmp_path: Path) -> None:
    def run(name: str, **spec: Any) -> dict[str, Any]:
        trainer = {"name": "tiny", "base": "nnUNetTrainer", "recipe": RECIPE}
        fields = {"plansRef": {"name": "plans"}, "folds": ["0"], "workers": {"gpusPerNode": 0}, "trainer": trainer, **spec}
        return manifest("TrainingRun", name, configuration=fields.pop("configuration", "3d_fullres"), **fields)

    misfit = checkpoint(tmp_path / "misfit.pth", "misfit")
    code, _, store = apply(
        tmp_path / "local",
        manifest("Dataset", "data", name=NAME, source={"uri": str(prepared / "raw" / NAME)}),
        manifest("Plans", "plans", datasetRef={"name": "data"}, patch={"configurations": {"3d_fullres": SMALL}}),
        run("configuration", configuration="3d_fulres"),
        run("weights", pretrained={"uri": str(misfit)}),
        run("fold", pretrained={"runRef": {"name": "weights", "fold": "3"}}),
    )
    assert code == ExitCode.BAD_CONFIGURATION
    for kind, name, reason, said in (
        ("TrainingRun", "configuration", "UnknownConfiguration", "Did you mean 3d_fullres"),
        ("TrainingRun", "weights", "PretrainedMismatch", "9×1×3×3×3 in the file, 4×1×3×3×3 in the network"),
        ("TrainingRun", "fold", "UnknownFold", "has no fold 3"),
    ):
        assert (name, ready(store, kind, name)[0]) == (name, reason)
        message = ready(store, kind, name)[1]
        assert said in message
        assert "attempt 2" not in message


@pytest.mark.e2e
def test_manifests_that_are_refused(tmp_path: Path) -> None:
    code, said, store = apply(
        tmp_path / "local",
        manifest("Dataset", "good", name=NAME, source={"uri": str(tmp_path)}),
        manifest("Dataset", "field", name=NAME, sorce={"uri": "s3://x/y"}),
        manifest("TrainingRun", "fold", plansRef={"name": "plans"}, folds=["-1"]),
        manifest("Plans", "planner", datasetRef={"name": "data"}, planner={"name": "ExperimentPlaner"}),
        manifest("TrainingRun", "trainer", plansRef={"name": "plans"}, folds=["0"], trainer={"name": "nnUNetTrainr"}),
    )
    assert code == ExitCode.BAD_CONFIGURATION
    assert "Nothing was applied" in said
    assert 'unknown field "spec.sorce" (did you mean source?)' in said
    assert 'spec.folds[0]: Invalid value: "-1"' in said
    assert "plans.nnunet.dev/planner: There is no planner named 'ExperimentPlaner'. Did you mean ExperimentPlanner" in said
    assert "trainingrun.nnunet.dev/trainer: There is no trainer named 'nnUNetTrainr'. Did you mean nnUNetTrainer" in said
    assert store.get("Dataset", "default", "good") is None
