"""What is read beside images goes the whole way: staged from a store, part of the digest, noticed when it changes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer.artifacts import artifact, open_store
from nnunet_trainer.artifacts.artifact import Artifact
from nnunet_trainer.artifacts.directory import DirectoryStore
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.dataset.splits import shortage
from nnunet_trainer.steps.raw import SourceFile, SourceFiles
from support.trainings.companions import KINDS, SPACING, make

from .conftest import SMALL as SMALL_NETWORK
from .conftest import TARGET, Chain

NAME = "Dataset531_Beside"
SMALL = {"configurations": {"3d_fullres": {"batch_size": 2, "patch_size": [8, 16, 16]}}}


@pytest.fixture
def elsewhere(tmp_path: Path, pod_scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    """Raw data in folders that are staged as if they were an object store."""
    monkeypatch.setattr(DirectoryStore, "local_path", lambda self, key: None)
    return Chain(Location(uri=f"file://{tmp_path}/store"), tmp_path / "raw")


def prepare(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> tuple[Report, Artifact]:
    """Read, planned, and preprocessed in two shards."""
    read = chain.dataset(NAME)
    plans = chain.plan(read, NAME, patch=SMALL)
    reports = []
    for shard in ("0", "1"):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", shard)
        reports.append(chain.preprocess(read, plans, NAME, shards=2))
    found = reports[-1].artifact("preprocessed")
    assert found is not None
    return read, artifact.require(chain.store, "preprocessed", found.digest, found.uri.removeprefix(f"{chain.storage.uri}/"))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", ["tiff", "mhd", "mhd, elsewhere", "mhd, numbered", "nhdr", "img"])
def test_it_is_staged_for_every_step(
    kind: str, listed: bool, elsewhere: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make(tmp_path / "raw" / NAME, kind, listed=listed)
    read, data = prepare(elsewhere, monkeypatch)
    assert read.summary["medianSpacing"] == list(SPACING)
    assert read.summary["warnings"] == [shortage(["c0", "c1"])]
    check_whole(data, raw, kind, tmp_path / "fetched")
    assert elsewhere.dataset(NAME).summary["found"]


def check_whole(data: Artifact, raw: Path, kind: str, folder: Path) -> None:
    """The right spacing, and labels that can be read under the cases' names."""
    name, ending, _ = KINDS[kind]
    data.fetch(data.files, folder)
    for case in ("c0", "c1"):
        properties = pickle.loads((folder / f"cases/{case}.pkl").read_bytes())
        np.testing.assert_allclose(properties["spacing"], SPACING)
        label = next(path for path in raw.rglob(f"{case}{ending}"))
        expected, geometry = by_name(name).read_seg(label)
        truth, placed = by_name(name).read_seg(folder / f"gt_segmentations/{case}{ending}")
        assert np.array_equal(truth, expected)
        np.testing.assert_allclose(placed["spacing"], geometry["spacing"])


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["tiff", "mhd, elsewhere"])
def test_in_s3(kind: str, s3: Location, pod_scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make(tmp_path / "raw" / NAME, kind)
    store = open_store(child(s3, f"raw/{NAME}"))
    for path in raw.rglob("*"):
        if path.is_file():
            store.put_file(path, path.relative_to(raw).as_posix())
    _, data = prepare(Chain(s3), monkeypatch)
    check_whole(data, raw, kind, tmp_path / "fetched")


def test_trained_and_validated(elsewhere: Chain, tmp_path: Path) -> None:
    """Four-dimensional images of two files each: what is compared and what is kept has all that belongs to it."""
    make(tmp_path / "raw" / NAME, "mhd", cases=5, channels=2)
    read = elsewhere.dataset(NAME)
    network = SMALL_NETWORK["configurations"]["3d_fullres"]["architecture"]
    plans = elsewhere.plan(
        read, NAME, patch={"configurations": {"3d_fullres": {"patch_size": [8, 16, 16], "architecture": network}}}
    )
    data = elsewhere.preprocess(read, plans, NAME)
    report = elsewhere.train(elsewhere.train_order(data, plans, NAME, validation="Run"))
    assert report.summary["validationDice"] is not None
    run = report.artifact("run")
    assert run is not None
    kept = {info.key.rpartition("/")[2] for info in elsewhere.store.list(run.uri.removeprefix(f"{elsewhere.storage.uri}/"))}
    predicted = {name for name in kept if name.endswith(".mhd")}
    assert predicted
    assert {name.replace(".mhd", ".zraw") for name in predicted} <= kept


def companion(raw: Path, kind: str) -> Path:
    """One of a label, which changes without changing the label."""
    if kind == "tiff":
        return next(raw.rglob("c1.json"))
    return raw / "voxels/labelsTr of c1.raw" if kind == "mhd, elsewhere" else raw / "labelsTr/c1.raw"


@pytest.mark.parametrize("kind", ["tiff", "mhd", "mhd, elsewhere"])
@pytest.mark.parametrize("change", ["content", "gone", "back"])
def test_a_change_of_it_is_noticed(kind: str, change: str, elsewhere: Chain, tmp_path: Path) -> None:
    raw = make(tmp_path / "raw" / NAME, kind)
    read = elsewhere.dataset(NAME)
    path = companion(raw, kind)
    content = path.read_bytes()
    path.unlink()
    if change == "content":
        path.write_bytes(content.replace(b"1.5", b"2.5") if kind == "tiff" else bytes(len(content)))
    if change == "back":
        path.write_bytes(content)
        assert elsewhere.plan(read, NAME, patch=SMALL).summary["found"] is False
        return
    with pytest.raises(BadData) as caught:
        elsewhere.plan(read, NAME, patch=SMALL)
    assert caught.value.reason == "DatasetChanged"
    how = "another content" if change == "content" else "gone"
    assert caught.value.findings == (f"{path.relative_to(raw)}: {how}",)


def test_another_spacing_is_another_dataset(elsewhere: Chain, tmp_path: Path) -> None:
    raw = make(tmp_path / "raw" / NAME, "tiff", listed=True)
    first = elsewhere.dataset(NAME)
    for path in raw.rglob("c*.json"):
        path.write_text(json.dumps({"spacing": [6.0, 1.5, 1.0]}))
    other = elsewhere.dataset(NAME)
    assert not other.summary["found"]
    assert first.artifact("dataset") != other.artifact("dataset")
    assert other.summary["medianSpacing"] == [6.0, 1.5, 1.0]


def test_one_that_appears_later_is_noticed(elsewhere: Chain, tmp_path: Path) -> None:
    raw = make(tmp_path / "raw" / NAME, "tiff", listed=True)
    for path in raw.rglob("c*.json"):
        path.unlink()
    read = elsewhere.dataset(NAME)
    [of_spacing] = [text for text in read.summary["warnings"] if text != shortage(["c0", "c1"])]
    assert "and 1 more case" in of_spacing
    (raw / "scans/c0.json").write_text(json.dumps({"spacing": SPACING}))
    with pytest.raises(BadData, match="changed after the dataset was read") as caught:
        elsewhere.plan(read, NAME, patch=SMALL)
    assert caught.value.findings == ("scans/c0.json: new",)


def test_a_dataset_without_companions_keeps_its_digest(local: Chain) -> None:
    read = local.dataset()
    found, grouped = read.artifact("dataset"), local.dataset(group_by=r"hippocampus_(\d+)").artifact("dataset")
    assert found is not None
    assert grouped is not None
    assert found.digest == "66bed197443b2bc858e1c5d08838d49c379495d3e6ce0d7cc81b9ce9ff58cba8"
    assert grouped.digest == "9d3ca1f6dda7fd4e9748f9b848aae5829af9e045f6c0b2877b2965d1b314f29b"


def test_what_is_read_beside_the_images_is_part_of_the_digest() -> None:
    files = [SourceFile(path=f"imagesTr/{name}", size=1, sha256=name, tag="") for name in ("a_0000.tif", "a.json")]
    plain = SourceFiles(source="s3://x", layout="nnUNetV2", files=files)
    assert plain.digest() == keys.dataset_digest((f.path, f.size, f.sha256) for f in files)
    assert replace(plain, companions={}).digest() == plain.digest()
    absent = replace(plain, companions={"imagesTr/a_0000.tif": ["imagesTr/b.json"]})
    assert absent.digest() == plain.digest()
    there = replace(plain, companions={"imagesTr/a_0000.tif": ["imagesTr/a.json"]})
    assert there.digest() != plain.digest()
    assert there.digest("group") != there.digest()


def forget_companions(chain: Chain, read: Report) -> None:
    """The artifact as it was before companions were written down."""
    made = read.artifact("dataset")
    assert made is not None
    prefix = made.uri.removeprefix(f"{chain.storage.uri}/")
    files = json.loads(chain.store.get(f"{prefix}/files.json"))
    del files["companions"]
    content = json.dumps(files).encode()
    manifest = json.loads(chain.store.get(f"{prefix}/{keys.MANIFEST}"))
    import hashlib

    for entry in manifest["files"]:
        if entry["path"] == "files.json":
            entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    chain.store.put(f"{prefix}/files.json", content)
    chain.store.put(f"{prefix}/{keys.MANIFEST}", json.dumps(manifest).encode())


def test_data_that_was_read_without_its_companions_is_read_again(elsewhere: Chain, tmp_path: Path) -> None:
    make(tmp_path / "raw" / NAME, "tiff")
    read = elsewhere.dataset(NAME)
    plans = elsewhere.plan(read, NAME, patch=SMALL)
    forget_companions(elsewhere, read)
    with pytest.raises(BadData, match="was read when what is read beside the images was no part of a dataset") as caught:
        elsewhere.preprocess(read, plans, NAME)
    assert caught.value.reason == "DatasetChanged"
    assert "spec.rerun" in caught.value.hint


def test_data_without_companions_is_not_read_again(local: Chain) -> None:
    read = local.dataset()
    forget_companions(local, read)
    local.heard.clear()
    assert local.dataset().summary["found"]
    assert {said.phase for said in local.heard} == {"listing"}
    assert local.plan(read, TARGET).summary["found"] is False
