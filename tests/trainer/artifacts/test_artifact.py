"""An artifact is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore
from nnunet_trainer.artifacts.artifact import Artifact, Manifest, find, require
from nnunet_trainer.artifacts.writer import ArtifactWriter
from nnunet_trainer.contract.faults import BadData


def write(store: ObjectStore, digest: str = "d" * 64) -> ArtifactWriter:
    writer = ArtifactWriter(store, "plans/D/1", "plans", digest)
    writer.put_json("nnUNetPlans.json", {"b": 1, "a": [1, 2]})
    writer.put_bytes("cases/one.b2nd", b"12345")
    return writer


def test_without_a_manifest_there_is_no_artifact(store: ObjectStore) -> None:
    writer = write(store)
    assert find(store, "plans/D/1") is None
    with pytest.raises(BadData) as caught:
        require(store, "plans", prefix="plans/D/1")
    assert caught.value.reason == "ArtifactIncomplete"
    assert writer.finish({"x": 1})
    assert require(store, "plans", "d" * 64, "plans/D/1").manifest.summary == {"x": 1}


def test_the_first_manifest_stays(store: ObjectStore) -> None:
    assert write(store).finish({"by": "first"})
    assert not write(store).finish({"by": "second"})
    found = find(store, "plans/D/1")
    assert found is not None
    assert found.manifest.summary == {"by": "first"}


@pytest.fixture
def artifact(store: ObjectStore) -> Artifact:
    write(store).finish({})
    return require(store, "plans", prefix="plans/D/1")


def test_files_come_back_in_the_order_of_their_keys(artifact: Artifact, tmp_path: Path) -> None:
    assert list(artifact.read_json("nnUNetPlans.json")) == ["b", "a"]
    fetched: list[str] = []
    artifact.fetch(artifact.files, tmp_path / "to", name=lambda p: p.replace("cases/", "data/"), fetched=fetched.append)
    assert (tmp_path / "to/data/one.b2nd").read_bytes() == b"12345"
    assert sorted(fetched) == ["cases/one.b2nd", "nnUNetPlans.json"]
    artifact.fetch(artifact.files, tmp_path / "to")  # again: nothing to do, no error


@pytest.mark.parametrize("content", [b"123", b"123456"])
def test_a_file_of_another_size_is_refused(artifact: Artifact, tmp_path: Path, content: bytes) -> None:
    artifact.store.put(artifact.key("cases/one.b2nd"), content)
    with pytest.raises(BadData, match=rf"cases/one\.b2nd has {len(content)} bytes; its manifest says 5") as caught:
        artifact.fetch(["cases/one.b2nd"], tmp_path)
    assert caught.value.reason == "ArtifactDamaged"
    assert not (tmp_path / "cases/one.b2nd").exists()


def test_a_file_of_another_content_is_refused(artifact: Artifact) -> None:
    artifact.store.put(artifact.key("cases/one.b2nd"), b"54321")
    with pytest.raises(BadData, match="another content"):
        artifact.read("cases/one.b2nd")


def test_a_file_that_is_gone_is_named(artifact: Artifact, tmp_path: Path) -> None:
    artifact.store.delete(artifact.key("cases/one.b2nd"))
    with pytest.raises(BadData, match=r"cases/one\.b2nd"):
        artifact.fetch(["cases/one.b2nd"], tmp_path)


def test_a_torn_copy_in_scratch_is_fetched_again(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/one.b2nd").write_bytes(b"54321")
    artifact.fetch(["cases/one.b2nd"], tmp_path)
    assert (tmp_path / "cases/one.b2nd").read_bytes() == b"12345"


def test_another_kind_or_digest_is_refused(artifact: Artifact) -> None:
    for kind, digest in (("dataset", None), ("plans", "e" * 64)):
        with pytest.raises(BadData) as caught:
            require(artifact.store, kind, digest, "plans/D/1")
        assert caught.value.reason == "ArtifactMismatch"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"kind": "plans"}', b'{"kind":"plans","digest":"d","format":1,"files":[{"path":1}]}']
)
def test_a_manifest_that_is_none_is_refused(store: ObjectStore, text: bytes) -> None:
    store.put("p/manifest.json", text)
    with pytest.raises(BadData, match=r"p/manifest\.json") as caught:
        find(store, "p")
    assert caught.value.reason == "ArtifactDamaged"


def test_a_manifest_of_a_later_format_is_refused(store: ObjectStore) -> None:
    store.put("p/manifest.json", b'{"kind": "plans", "digest": "d", "format": 99}')
    with pytest.raises(BadData, match="format 99"):
        find(store, "p")


def test_a_manifest_needs_no_more_than_its_kind_and_digest() -> None:
    assert Manifest(kind="run", digest="d").files == []
