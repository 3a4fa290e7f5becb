"""`fetch` of several folds: all of it is compared before anything is fetched."""

from __future__ import annotations

import errno
import fcntl
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from kubectl_nnunet import cli, connection
from kubectl_nnunet.results import download, storage
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.writer import ArtifactWriter
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


def test_another_fetch_into_the_same_folder_is_waited_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs may have files of the same names: which of them are there is looked at when the other call has ended."""
    codes, said = list[int](), ""
    with download.alone_in(folder):
        other = threading.Thread(target=lambda: codes.append(fetch(folder)))
        other.start()
        deadline = time.monotonic() + 60
        while "Another fetch into" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
            said += capsys.readouterr().err
        assert "Another fetch into" in said
        target = folder / MODEL / "fold_0" / "checkpoint_final.pth"
        target.parent.mkdir(parents=True)
        target.write_bytes(b"of the other run")
    other.join(60)
    assert codes == [64]
    assert target.read_bytes() == b"of the other run"
    assert "FilesDiffer" in capsys.readouterr().err


def test_a_file_system_without_locks_is_fetched_into_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert fetch(folder) == 0


def test_where_nothing_is_fetched_no_folder_is_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder.parent / "bucket" / "nnUNet_results" / MODEL / "fold_1")
    assert fetch(folder) != 0
    assert not folder.exists()
    folder.write_text("a file")
    assert fetch(folder) == 64
    assert "is a file; a folder to fetch into was expected" in capsys.readouterr().err
