"""Preprocessed data comes from the dataset cache where that holds the store's own, and from the store elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.artifact import Artifact, require
from nnunet_trainer.artifacts.directory import DirectoryStore
from nnunet_trainer.artifacts.location import parse
from nnunet_trainer.artifacts.writer import ArtifactWriter
from nnunet_trainer.contract.work_order import Location

PREFIX = "preprocessed/D/1"
FILES = {"cases/one.b2nd": b"12345", "cases/two.b2nd": b"67"}


class RemoteStore(DirectoryStore):
    """A store of S3 as far as its readers see; what is fetched from it is written down."""

    def __init__(self, folder: Path) -> None:
        uri = f"file://{folder}"
        super().__init__(uri, parse(uri))
        self.root = "s3://bucket/team a"
        self.fetched: list[str] = []

    def local_path(self, key: str) -> Path | None:
        return None

    def get_file(self, key: str, path: Path) -> None:
        self.fetched.append(key.removeprefix(f"{PREFIX}/"))
        super().get_file(key, path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mounted cache, empty."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("NNUNET_DATASET_CACHE", str(folder))
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    store = RemoteStore(tmp_path / "bucket")
    writer = ArtifactWriter(store, PREFIX, "preprocessed", "d" * 64)
    for path, data in FILES.items():
        writer.put_bytes(path, data)
    writer.finish({})
    return require(store, "preprocessed", prefix=PREFIX)


def copied(tmp_path: Path, cache: Path) -> Path:
    """A synchronized copy of the whole artifact."""
    return Path(shutil.copytree(tmp_path / "bucket" / PREFIX, cache / "bucket" / "team a" / PREFIX))


def fetch(artifact: Artifact, tmp_path: Path) -> list[str]:
    """Bring all files; those that came from the store. All are what they must be."""
    assert isinstance(artifact.store, RemoteStore)
    artifact.fetch(FILES, tmp_path / "scratch")
    assert {path: (tmp_path / "scratch" / path).read_bytes() for path in FILES} == FILES
    return sorted(artifact.store.fetched)


def test_a_copy_is_linked_and_nothing_is_fetched(artifact: Artifact, tmp_path: Path, cache: Path) -> None:
    copy = copied(tmp_path, cache)
    assert fetch(artifact, tmp_path) == []
    assert Path(os.readlink(tmp_path / "scratch/cases/one.b2nd")) == (copy / "cases/one.b2nd").resolve()
    assert fetch(artifact, tmp_path) == [], "the next attempt in this pod finds it there"


def test_without_a_cache_all_is_fetched(artifact: Artifact, tmp_path: Path) -> None:
    assert fetch(artifact, tmp_path) == sorted(FILES)


def test_an_empty_cache_is_none(artifact: Artifact, tmp_path: Path, cache: Path) -> None:
    assert fetch(artifact, tmp_path) == sorted(FILES)


@pytest.mark.parametrize("content", [None, b"1234", b"123456", b""], ids=["missing", "torn", "longer", "empty"])
def test_a_file_that_is_not_whole_is_fetched(artifact: Artifact, tmp_path: Path, cache: Path, content: bytes | None) -> None:
    file = copied(tmp_path, cache) / "cases/one.b2nd"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert fetch(artifact, tmp_path) == ["cases/one.b2nd"]


@pytest.mark.parametrize("damage", ["another", "torn", "missing", "a folder"])
def test_a_copy_of_another_artifact_is_not_used(artifact: Artifact, tmp_path: Path, cache: Path, damage: str) -> None:
    manifest = copied(tmp_path, cache) / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    if damage == "another":
        manifest.write_text(text.replace(artifact.files["cases/one.b2nd"].sha256, "0" * 64))
    elif damage == "torn":
        manifest.write_text(text[:40])
    elif damage == "a folder":
        manifest.mkdir()
    assert fetch(artifact, tmp_path) == sorted(FILES)


def test_a_mounted_store_needs_no_cache(tmp_path: Path, cache: Path) -> None:
    store = open_store(Location(uri=f"file://{tmp_path}/store"))
    writer = ArtifactWriter(store, PREFIX, "preprocessed", "d" * 64)
    writer.put_bytes("cases/one.b2nd", b"12345")
    writer.finish({})
    require(store, "preprocessed", prefix=PREFIX).fetch(["cases/one.b2nd"], tmp_path / "scratch")
    assert "store" in os.readlink(tmp_path / "scratch/cases/one.b2nd")
