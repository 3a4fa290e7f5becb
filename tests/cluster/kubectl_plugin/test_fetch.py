"""`fetch`, and `plot` of what is done: results from a real S3 server, with the caller's own credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubectl_nnunet.results import download, fold_files
from nnunet_trainer.artifacts import ObjectStore, digests
from nnunet_trainer.artifacts import s3 as store
from nnunet_trainer.artifacts.writer import ArtifactWriter
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.work_order import Location
from support.apiclient import Manifest
from support.controlplane import ControlPlane
from support.s3 import ACCESS_KEY, SECRET_KEY

from ..conftest import plans, training_run
from .conftest import Nnunet

pytestmark = [pytest.mark.controlplane, pytest.mark.s3]

MODEL = "Dataset001_Brain/nnUNetTrainer__nnUNetPlans__2d"
LOG = "".join(f"2026-11-01 12:00:0{n}.0: Epoch {n}\n2026-11-01 12:00:0{n}.5: train_loss {-n / 10}\n" for n in range(3))
FILES = {
    "checkpoint_final.pth": b"final weights",
    "checkpoint_best.pth": b"best weights",
    "validation/summary.json": b"{}",
    "validation/case_1.nii.gz": b"a segmentation",
    "predicted_next_stage/3d_cascade_fullres/case_1.npz": b"a segmentation for the next stage",
    "progress.png": b"a picture",
    "training_log_2026_11_1_12_00_00.txt": LOG.encode(),
}


class Results:
    """A run in the cluster with its results in the bucket."""

    def __init__(self, plane: ControlPlane, namespace: str, store: ObjectStore, location: Location) -> None:
        self.api, self.namespace, self.store, self.location = plane.admin, namespace, store, location
        access = {"endpoint": location.endpoint, "region": location.region, "secretName": "s3"}
        made = self.api.apply(plans(namespace))
        status = {"storage": {"uri": location.uri, **access}, "datasetName": "Dataset001_Brain", "plansName": "nnUNetPlans"}
        self.api.patch(made, {"status": status}, sub="status")
        self.run = self.api.apply(training_run(namespace, folds=["0", "1"]))
        self.access, self.folds = access, dict[str, Manifest]()
        self.prefix = f"runs/{namespace}/run/0123456789abcdef"

    def uri(self, key: str) -> str:
        return f"{self.location.uri}/{self.prefix}/{key}"

    def finish(self, fold: str) -> None:
        """As the trainer publishes a fold, and the operator says so."""
        for name in ("plans.json", "dataset.json"):
            self.store.put(f"{self.prefix}/nnUNet_results/{MODEL}/{name}", f"{name} of the model".encode())
        folder = f"nnUNet_results/{MODEL}/fold_{fold}"
        writer = ArtifactWriter(self.store, f"{self.prefix}/{folder}", "run", "0123456789abcdef")
        for name, content in FILES.items():
            writer.put_bytes(name, content)
        writer.finish({})
        artifact = {"uri": self.uri("").rstrip("/"), **self.access}
        self._say(fold, state="Succeeded", folder=self.uri(folder), artifact=artifact)

    def go_on(self, fold: str, epoch: int) -> None:
        """As an attempt keeps a checkpoint and its log."""
        attempt = f"attempts/0-job/fold_{fold}"
        name = f"checkpoint_{epoch:05d}_00001.pth"
        content = f"weights of epoch {epoch}".encode()
        self.store.put(f"{self.prefix}/{attempt}/{name}", content)
        self.store.put(f"{self.prefix}/{attempt}/training_log_2026_11_1_9_00_00.txt", LOG.encode())
        checkpoint = {"uri": self.uri(f"{attempt}/{name}"), "epoch": epoch, "sha256": digests.of_bytes(content)}
        self._say(fold, state="Running", epoch=epoch, epochs=250, checkpoint=checkpoint)

    def _say(self, fold: str, **status: Any) -> None:
        self.folds[fold] = {"name": fold, **status}
        self.api.patch(self.run, {"status": {"folds": [self.folds[name] for name in sorted(self.folds)]}}, sub="status")


@pytest.fixture
def results(
    control_plane: ControlPlane, namespace: str, s3_store: ObjectStore, s3: Location, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Results]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    store._session.cache_clear()  # a session keeps the credentials that it found first
    yield Results(control_plane, namespace, s3_store, s3)
    store._session.cache_clear()


def there(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_of_it_in_nnunets_layout_then_only_what_is_missing(results: Results, nnunet: Nnunet, tmp_path: Path) -> None:
    assert "has nothing in its storage yet" in nnunet("fetch", "run", str(tmp_path), code=64).err
    results.finish("0")
    results.go_on("1", 37)
    folder = tmp_path / "nnUNet_results"
    said = nnunet("fetch", "run", str(folder)).out
    assert "fold 0: 9 files, " in said
    assert "fold 1 (not finished: its checkpoint of epoch 37): 2 files, " in said
    wanted = {
        f"{MODEL}/{name}" if name.startswith("predicted_next_stage/") else f"{MODEL}/fold_0/{name}": content
        for name, content in FILES.items()
    }
    wanted |= {f"{MODEL}/{name}": f"{name} of the model".encode() for name in ("plans.json", "dataset.json")}
    wanted[f"{MODEL}/fold_1/checkpoint_latest.pth"] = b"weights of epoch 37"
    wanted[f"{MODEL}/fold_1/training_log_2026_11_1_9_00_00.txt"] = LOG.encode()
    assert there(folder) == wanted

    (folder / MODEL / "fold_0/checkpoint_best.pth").unlink()
    assert "fold 0: 1 files, 12 B, 8 were there already" in nnunet("fetch", "run", str(folder)).out
    assert there(folder) == wanted

    changed = folder / MODEL / "fold_0/checkpoint_final.pth"
    changed.write_bytes(b"mine, of equal")  # of another content
    (folder / MODEL / "fold_0/progress.png").unlink()
    said = nnunet("fetch", "run", str(folder), "--fold", "0", code=64).err
    assert "FilesDiffer" in said
    assert f"{MODEL}/fold_0/checkpoint_final.pth" in said
    assert "progress.png" not in there(folder), "nothing was fetched"
    assert changed.read_bytes() == b"mine, of equal"
    nnunet("fetch", "run", str(folder), "--overwrite")
    assert there(folder) == wanted


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("checkpoints", {"plans.json", "dataset.json", "checkpoint_final.pth", "checkpoint_best.pth"}),
        ("validation", {"summary.json", "case_1.nii.gz", "case_1.npz"}),
        ("logs", {"progress.png", "training_log_2026_11_1_12_00_00.txt"}),
    ],
)
def test_only_some_of_it(results: Results, nnunet: Nnunet, tmp_path: Path, only: str, names: set[str]) -> None:
    results.finish("0")
    nnunet("fetch", "run", str(tmp_path / "r"), "--only", only)
    assert {path.name for path in (tmp_path / "r").rglob("*") if path.is_file()} == names


def test_curves_of_what_is_done_come_from_the_storage(results: Results, nnunet: Nnunet) -> None:
    results.finish("0")
    results.go_on("1", 37)
    said = nnunet("plot", "run").out
    assert "trainingrun/run, fold 0: 3 epochs" in said
    assert "trainingrun/run, fold 1: 3 of 250 epochs" in said
    assert said.count("train -0.2") == 2


@pytest.mark.parametrize(
    ("environment", "flags", "reason", "hint"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, (), "StorageAccessDenied", "Your own credentials are used"),
        ({}, ("--endpoint-url", "http://127.0.0.1:1"), "StorageUnreachable", "kubectl port-forward"),
    ],
    ids=["wrong keys", "another endpoint"],
)
def test_what_the_storage_refuses_is_told_to_the_caller(
    results: Results, nnunet: Nnunet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str], flags: tuple[str, ...], reason: str, hint: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("nnunet_trainer.artifacts.s3.ATTEMPTS", 1)
    results.finish("0")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = 74 if reason == "StorageUnreachable" else 78
    said = nnunet("fetch", "run", str(tmp_path / "r"), *flags, code=code).err
    assert said.startswith(reason)
    assert hint in said
    assert "pod" not in said.split("\n")[0]


@pytest.mark.parametrize("target", ["", "already there"])
def test_a_damaged_object_is_not_kept(s3_store: ObjectStore, tmp_path: Path, target: str) -> None:
    s3_store.put("a/file", b"x" * 7)
    wanted = fold_files.WantedFile(key="a/file", target="file", size=7, sha256=digests.of_bytes(b"content"))
    folder = tmp_path / "r"
    folder.mkdir()
    if target:
        (folder / "file").write_text(target)
    with pytest.raises(BadData, match="has another content than it should"):
        download.download(download.compare(s3_store, [wanted], folder), folder)
    assert [path.read_text() for path in folder.iterdir()] == ([target] if target else []), "what was there is left"


@pytest.mark.parametrize("path", ["../../outside", "/etc/outside", "a/../../outside", "a//b", ""])
def test_a_manifest_cannot_lead_out_of_the_folder(
    results: Results, nnunet: Nnunet, tmp_path: Path, s3_store: ObjectStore, path: str
) -> None:
    results.finish("0")
    key = f"{results.prefix}/nnUNet_results/{MODEL}/fold_0/manifest.json"
    manifest = json.loads(s3_store.get(key))
    manifest["files"][0]["path"] = path
    s3_store.put(key, json.dumps(manifest).encode())
    assert "which no training writes" in nnunet("fetch", "run", str(tmp_path / "r"), code=65).err
    assert not (tmp_path / "r").exists()


def test_results_that_are_in_no_object_store(results: Results, nnunet: Nnunet, tmp_path: Path) -> None:
    results.location = replace(results.location, uri="pvc://claim/results")
    results._say("0", state="Succeeded", folder=results.uri(f"nnUNet_results/{MODEL}/fold_0"), artifact={"uri": "pvc://claim"})
    assert "kubectl cp" in nnunet("fetch", "run", str(tmp_path), code=78).err
