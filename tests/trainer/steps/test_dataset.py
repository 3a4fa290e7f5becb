from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.artifacts import artifact, open_store
from nnunet_trainer.artifacts.artifact import Artifact
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract.faults import BadData, ExitCode
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import DatasetOrder, Location
from nnunet_trainer.steps import dataset

from .conftest import TARGET, Chain

CASE = "hippocampus_001"


def made(chain: Chain, report: Report) -> Artifact:
    found = report.artifact("dataset")
    assert found is not None
    return artifact.require(chain.store, "dataset", found.digest, found.uri.removeprefix(f"{chain.storage.uri}/"))


def check_whole(chain: Chain) -> None:
    report = chain.dataset()
    found = made(chain, report)
    assert set(found.files) == {"dataset.json", "dataset_fingerprint.json", "splits_final.json", "files.json", "report.json"}
    assert report.summary["cases"] == 5
    assert report.summary["channels"] == {"0": "MRI"}
    assert report.summary["labels"] == {"background": 0, "Anterior": 1, "Posterior": 2}
    assert (report.summary["reader"], report.summary["fileEnding"], report.summary["found"]) == ("SimpleITKIO", ".nii.gz", False)
    assert report.summary["medianSpacing"] == [1.0, 1.0, 1.0]
    assert report.detail == f"{found.uri}/report.json"
    assert len(found.read_json("splits_final.json")) == 5
    fingerprint = found.read_json("dataset_fingerprint.json")
    assert len(fingerprint["spacings"]) == 5
    files = found.read_json("files.json")["files"]
    assert len(files) == 11
    assert sum(f["size"] for f in files) == report.summary["sizeBytes"]
    assert {p.phase for p in chain.heard} >= {"listing", "staging", "taking digests", "verifying", "fingerprinting", "uploading"}
    chain.heard.clear()
    again = chain.dataset()
    assert again.summary["found"]
    assert again.artifacts == report.artifacts
    assert {p.phase for p in chain.heard} == {"listing"}  # sizes and tags are enough


def test_a_dataset_in_folders(local: Chain) -> None:
    check_whole(local)


@pytest.mark.s3
def test_a_dataset_in_s3(remote: Chain, local: Chain) -> None:
    check_whole(remote)
    # The same files have the same digest, wherever they lie.
    found, other = remote.dataset().artifact("dataset"), local.dataset().artifact("dataset")
    assert found is not None
    assert other is not None
    assert found.digest == other.digest


def test_an_edited_dataset_is_another_one(local: Chain, raw: Path) -> None:
    first = local.dataset()
    (raw / TARGET / "labelsTr" / f"{CASE}.nii.gz").write_bytes((raw / TARGET / "labelsTr/hippocampus_001.nii.gz").read_bytes())
    touched = local.dataset()
    assert touched.artifacts == first.artifacts
    _change_label(raw, lambda a: np.where(a == 2, 1, a))
    edited = local.dataset()
    assert not edited.summary["found"]
    assert edited.artifacts != first.artifacts
    assert artifact.find(local.store, made(local, first).prefix) is not None


def test_other_splits_are_another_dataset(local: Chain, raw: Path) -> None:
    plain = local.dataset()
    grouped = local.dataset(group_by=r"_(\d+)$")
    assert grouped.artifacts != plain.artifacts
    splits = [{"train": [CASE], "val": ["hippocampus_003"]}]
    (raw / TARGET / "splits_final.json").write_text(json.dumps(splits))
    given = local.dataset()
    assert given.artifacts != plain.artifacts
    assert made(local, given).read_json("splits_final.json") == splits


def test_too_few_groups_for_folds_are_told_before_anything_is_trained(local: Chain, raw: Path) -> None:
    report = local.dataset(group_by="^(hippo)")
    (warning,) = report.summary["warnings"]
    assert warning.startswith("1 group by splits.groupBy is too few for 5 folds: train with fold all")
    assert made(local, report).read_json("report.json")["warnings"] == [f"warning: {warning}"]
    (raw / TARGET / "splits_final.json").write_text(json.dumps([{"train": [CASE], "val": ["hippocampus_003"]}]))
    assert "warnings" not in local.dataset(group_by="^(hippo)").summary


def _change_label(raw: Path, change: Callable[[np.ndarray], np.ndarray], case: str = CASE) -> None:
    path = raw / TARGET / "labelsTr" / f"{case}.nii.gz"
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)).astype(np.uint8))
    changed.SetSpacing(image.GetSpacing())
    changed.SetOrigin(image.GetOrigin())
    changed.SetDirection(image.GetDirection())
    sitk.WriteImage(changed, str(path))


def _cut_image(raw: Path) -> None:
    path = raw / TARGET / "imagesTr" / f"{CASE}_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])


def _describe(raw: Path, **changes: object) -> None:
    path = raw / TARGET / "dataset.json"
    described = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in described.items() if v is not None}))


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a value that is not named": (lambda r: _change_label(r, lambda a: a * 4), "InvalidCases", r"_001.*4, 8.*names 0 to 2"),
    "a label of another shape": (lambda r: _change_label(r, lambda a: a[:-1]), "InvalidCases", "hippocampus_001.*shape"),
    "a label that is missing": (
        lambda r: (r / TARGET / "labelsTr" / f"{CASE}.nii.gz").unlink(), "InvalidCases", "hippocampus_001.*label"
    ),
    "a truncated image": (_cut_image, "InvalidCases", "hippocampus_001"),
    "no dataset.json": (lambda r: (r / TARGET / "dataset.json").unlink(), "InvalidDatasetJson", "no dataset.json"),
    "a dataset.json that is no JSON": (lambda r: (r / TARGET / "dataset.json").write_text("{"), "InvalidDatasetJson", "not JSON"),
    "a field that is missing": (lambda r: _describe(r, file_ending=None), "InvalidDatasetJson", "file_ending"),
    "labels that are not consecutive": (lambda r: _describe(r, labels={"background": 0, "a": 2}), "InvalidDatasetJson", "labels"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(local: Chain, raw: Path, fault: str) -> None:
    make, reason, words = FAULTS[fault]
    make(raw)
    with pytest.raises(BadData, match=f"(?s){words}") as caught:
        local.dataset()
    assert (caught.value.reason, caught.value.exit_code) == (reason, ExitCode.BAD_DATA)
    assert list(local.store.list()) == []


def test_all_faults_are_named_at_once(local: Chain, raw: Path) -> None:
    _change_label(raw, lambda a: a * 4)
    _change_label(raw, lambda a: a[1:], "hippocampus_003")
    with pytest.raises(BadData) as caught:
        local.dataset()
    assert caught.value.message == "2 of 5 cases cannot be trained on"
    assert {f.split(":")[0] for f in caught.value.findings} == {CASE, "hippocampus_003"}
    assert "spec.rerun" in caught.value.hint


@pytest.mark.s3
def test_messages_name_the_uri_not_the_staged_copy(remote: Chain) -> None:
    open_store(child(remote.storage, f"raw/{TARGET}")).put("dataset.json", b"[]")
    with pytest.raises(BadData) as caught:
        remote.dataset()
    assert f"{remote.storage.uri}/raw/{TARGET}/dataset.json" in caught.value.message
    assert "scratch" not in str(caught.value)
    # Known before a single image was fetched.
    assert "staging" not in {p.phase for p in remote.heard if p.total > 1}


def test_an_empty_folder(local: Chain) -> None:
    order = DatasetOrder(name=TARGET, source=child(local.storage, "nothing/here"), storage=local.storage)
    with pytest.raises(BadData, match="nothing/here does not exist") as caught:
        dataset.carry_out(order, local.heard.append)
    assert "spec.source.uri" in caught.value.hint


def test_files_that_dataset_json_names_elsewhere_are_part_of_it(local: Chain, raw: Path) -> None:
    folder = raw / TARGET
    (folder / "imagesTr").rename(folder / "scans")
    cases = {
        p.name[:-12]: {"images": [f"scans/{p.name}"], "label": f"./labelsTr/{p.name[:-12]}.nii.gz"}
        for p in sorted((folder / "scans").iterdir())
    }
    _describe(raw, dataset=cases)
    report = local.dataset()
    paths = {f["path"] for f in made(local, report).read_json("files.json")["files"]}
    assert len(paths) == 11
    assert f"scans/{CASE}_0000.nii.gz" in paths


def _decathlon(folder: Path, raw: Path, channels: int) -> None:
    """The shipped cases in the Decathlon's layout, their image repeated once a channel."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    training = []
    for path in sorted((raw / TARGET / "imagesTr").iterdir()):
        case = path.name.removesuffix("_0000.nii.gz")
        image = sitk.ReadImage(str(path))
        whole = sitk.JoinSeries([image] * channels) if channels > 1 else image
        sitk.WriteImage(whole, str(folder / "imagesTr" / f"{case}.nii.gz"))
        (folder / "labelsTr" / f"{case}.nii.gz").write_bytes((raw / TARGET / "labelsTr" / f"{case}.nii.gz").read_bytes())
        training.append({"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"})
    described = {
        "name": "Hippocampus",
        "modality": {str(i): f"MRI{i}" for i in range(channels)},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": len(training),
        "training": training,
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(described))


@pytest.mark.parametrize("channels", [1, 2])
def test_the_decathlons_layout_is_converted(local: Chain, raw: Path, tmp_path: Path, channels: int) -> None:
    _decathlon(tmp_path / "msd" / TARGET, raw, channels)
    local.raw = tmp_path / "msd"
    report = local.dataset(layout="MSD")
    assert report.summary["cases"] == 5
    assert report.summary["channels"] == {str(i): f"MRI{i}" for i in range(channels)}
    assert report.summary["labels"] == {"background": 0, "Anterior": 1, "Posterior": 2}
    described = made(local, report).read_json("dataset.json")
    assert described["numTraining"] == 5
    assert {f["path"] for f in made(local, report).read_json("files.json")["files"]} >= {f"imagesTr/{CASE}.nii.gz", "dataset.json"}
    data = local.preprocess(report, local.plan(report, layout="MSD"), layout="MSD", shards=1)
    found = data.artifact("preprocessed")
    assert found is not None
    store = open_store(Location(uri=found.uri))
    assert artifact.require(store, "preprocessed").manifest.summary["cases"] == 5
    assert store.get(f"gt_segmentations/{CASE}.nii.gz") == (tmp_path / "msd" / TARGET / "labelsTr" / f"{CASE}.nii.gz").read_bytes()


def test_nnunets_layout_is_not_the_decathlons(local: Chain) -> None:
    with pytest.raises(BadData, match="modality") as caught:
        local.dataset(layout="MSD")
    assert "spec.source.layout: nnUNetV2" in caught.value.hint
