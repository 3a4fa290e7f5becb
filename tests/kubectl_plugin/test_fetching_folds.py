"""`fetch` of several folds: all of it is compared before anything is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from kubectl_nnunet import cli, connection
from kubectl_nnunet.results import storage
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.artifact import ArtifactWriter
from nnunet_trainer.contract.work_order import Location
from support.apiclient import Manifest

MODEL = "Dataset001_Brain/nnUNetTrainer__nnUNetPlans__2d"
LARGE = b"a fingerprint of many cases" * 100_000


class Cluster:
    """A cluster with one run of two trained folds."""

    def get(self, kind: str, *_: str) -> Manifest | None:
        folds = [{"name": fold, "state": "Succeeded", "folder": f"s3://b/run/nnUNet_results/{MODEL}/fold_{fold}"} for fold in "01"]
        run = {"kind": kind, "metadata": {"name": "run", "namespace": "ns"}, "spec": {"plansRef": {"name": "p"}, "folds": [0, 1]}}
        return {**run, "status": {"folds": folds}} if kind == "TrainingRun" else None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to fetch into, of a run whose results are there."""
    store = open_store(Location(uri=(tmp_path / "bucket").as_uri()))
    store.put(f"nnUNet_results/{MODEL}/dataset_fingerprint.json", LARGE)
    for fold in "01":
        writer = ArtifactWriter(store, f"nnUNet_results/{MODEL}/fold_{fold}", "run", "0123456789abcdef")
        writer.put_bytes("checkpoint_final.pth", f"weights of fold {fold}".encode())
        writer.finish({})

    @contextmanager
    def opened(arguments: object) -> Iterator[Cluster]:
        yield Cluster()

    monkeypatch.setattr(connection, "opened", opened)
    monkeypatch.setattr(storage, "opened", lambda _: nullcontext(store))
    return tmp_path / "nnUNet_results"


def fetch(folder: Path, *more: str) -> int:
    return cli.main(["fetch", "run", str(folder), "-n", "ns", *more])


def test_what_all_folds_share_is_fetched_once_and_is_the_same_afterwards(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(folder) == 0
    assert (folder / MODEL / "dataset_fingerprint.json").read_bytes() == LARGE
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "fold 0: 2 files",
        "fold 1: 1 files",
        "3 files",
    ]
    assert fetch(folder) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "fold 0: 0 files",
        "fold 1: 0 files",
        "0 files",
    ]


def test_of_no_fold_anything_is_fetched_where_a_file_of_one_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = folder / MODEL / "fold_1/checkpoint_final.pth"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert fetch(folder) == 64
    assert "nothing was fetched" in capsys.readouterr().err
    assert [path for path in folder.rglob("*") if path.is_file()] == [mine]
    assert mine.read_bytes() == b"mine"
    assert fetch(folder, "--overwrite") == 0
    assert mine.read_bytes() == b"weights of fold 1"


def test_a_case_that_two_folds_have_predicted_differently_is_not_taken_from_the_last_one_in_silence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "bucket")
    store = open_store(Location(uri=(tmp_path / "bucket").as_uri()))
    for fold in "01":
        writer = ArtifactWriter(store, f"nnUNet_results/{MODEL}/fold_{fold}", "run", "0123456789abcdef")
        writer.put_bytes("predicted_next_stage/3d_cascade_fullres/case.npz", f"by fold {fold}".encode())
        writer.finish({})
    assert fetch(folder) == 64
    assert f"{MODEL}/predicted_next_stage/3d_cascade_fullres/case.npz" in capsys.readouterr().err
    assert not folder.exists()
    assert fetch(folder, "--fold", "0") == 0
