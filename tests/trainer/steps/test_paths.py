"""Names with odd characters, in every kind of store: the data that is named is read, never another."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer import cli
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration, BadData, Fault
from nnunet_trainer.contract.pod import ENV_CLAIMS
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import DatasetOrder, Location
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.steps import dataset
from nnunet_trainer.steps.common import named
from nnunet_trainer.steps.raw import Source, case_files

NAMES = [
    "a#b",
    "a?b=c",
    "a%20b",
    "100%",
    "a b ",
    "dätä",
    "da\u0308ta\u0308",
    "a+b&c",
    "a:b",
    "~a",
    "'a\"b",
    "a\\b",
    "$HOME",
    "[a]*",
]
DECOYS = ["a", "a b", "100", "a+b", "dätä", "b", "ab", ""]
"""What other readings of those names would find."""


def _write(folder: Path, value: int, case: str = "c", cases: int = 2) -> None:
    """A dataset whose images hold `value`, so that it is known again."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    label = np.zeros((4, 5, 6), "uint8")
    label[1:3, 1:3, 1:3] = 1
    for i in range(cases):
        image = np.full((4, 5, 6), value + i, "int16")
        image[0, 0, 0] = 0
        sitk.WriteImage(sitk.GetImageFromArray(image), str(folder / f"imagesTr/{case}{i}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / f"labelsTr/{case}{i}.nii.gz"))
    _describe(folder, numTraining=cases)


def _describe(folder: Path, **fields: Any) -> None:
    path = folder / "dataset.json"
    described = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "a": 1}, "numTraining": 2, "file_ending": ".nii.gz"}
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else described) | fields))


def _read(source: Location, storage: Location) -> tuple[Report, float]:
    """The step's report, and the largest intensity of the data that was read."""
    report = dataset.carry_out(DatasetOrder(name="Dataset001_X", source=source, storage=storage), lambda _: None)
    made = report.artifact("dataset")
    assert made is not None
    fingerprint = json.loads(open_store(replace(storage, uri=made.uri)).get("dataset_fingerprint.json"))
    return report, fingerprint["foreground_intensity_properties_per_channel"]["0"]["max"]


def _decoys(root: Path, name: str) -> None:
    for number, other in enumerate(DECOYS):
        if other != name:
            _write(root / other, 100 + number) if other else _write(root / "x", 99)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_this_machine(tmp_path: Path, pod_scratch: Path, name: str) -> None:
    _decoys(tmp_path / "raw", name)
    _write(tmp_path / "raw" / name, 1000, case=name.replace("/", "_"))
    storage = Location(uri=f"file://{tmp_path}/{name}/store")
    report, found = _read(Location(uri=f"file://{tmp_path}/raw/{name}"), storage)
    assert found == 1001
    made = report.artifact("dataset")
    assert made is not None
    assert made.uri.startswith(f"file://{tmp_path}/{name}/store/")
    assert (tmp_path / name / "store" / "datasets").is_dir()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_a_claim(tmp_path: Path, pod_scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(ENV_CLAIMS, str(tmp_path))
    _decoys(tmp_path / "claim", name)
    _write(tmp_path / "claim" / name, 1000)
    _, found = _read(Location(uri=f"pvc://claim/{name}"), Location(uri=f"pvc://claim/store/{name}"))
    assert found == 1001
    assert (tmp_path / "claim/store" / name / "datasets").is_dir()


@pytest.mark.s3
def test_prefixes_of_a_bucket(tmp_path: Path, pod_scratch: Path, s3: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3)
    names = [name for name in NAMES if "\\" not in name]  # the test's server lists nothing below a backslash
    for number, name in enumerate([*names, *(other for other in DECOYS if other and other not in names)]):
        _write(tmp_path / f"{number}", 10 * number + 100, case=f"c{name}")
        for path in (p for p in (tmp_path / f"{number}").rglob("*") if p.is_file()):
            store.put_file(path, f"raw/{name}/{path.relative_to(tmp_path / f'{number}')}")
    for number, name in enumerate(names):
        place = child(s3, f"raw/{name}")
        assert set(Source(place, "nnUNetV2", "x").listing()) == {
            "dataset.json",
            *(f"imagesTr/c{name}{i}_0000.nii.gz" for i in range(2)),
            *(f"labelsTr/c{name}{i}.nii.gz" for i in range(2)),
        }
        if number < 6:
            monkeypatch.setenv(pod.ENV_SCRATCH, str(pod_scratch / str(number)))
            assert _read(place, child(s3, f"store/{name}"))[1] == 10 * number + 101


def test_a_name_that_was_written_for_a_browser_is_explained(tmp_path: Path) -> None:
    _write(tmp_path / "a b", 1)
    with pytest.raises(BadData, match="does not exist") as caught:
        Source(Location(uri=f"file://{tmp_path}/a%20b"), "nnUNetV2", "x").listing()
    assert "%20 is no space" in caught.value.hint


@pytest.mark.parametrize("field", ["source", "storage"])
@pytest.mark.parametrize("uri", ["s3://b//raw", "s3://b#x/raw", "pvc://../raw", "file:///a/../b", "file://host/a"])
def test_what_could_mean_another_place_is_refused(tmp_path: Path, pod_scratch: Path, field: str, uri: str) -> None:
    places = {"source": Location(uri=f"file://{tmp_path}"), "storage": Location(uri=f"file://{tmp_path}"), field: Location(uri=uri)}
    with pytest.raises(BadConfiguration) as caught:
        dataset.carry_out(DatasetOrder(name="Dataset001_X", **places), lambda _: None)
    assert caught.value.reason == "InvalidStorageUri"


def test_a_path_that_is_too_long_is_refused(tmp_path: Path, pod_scratch: Path) -> None:
    with pytest.raises(BadConfiguration, match="too long"):
        Source(Location(uri=f"file://{tmp_path}/{'a' * 300}"), "nnUNetV2", "x").listing()


BAD_NAME = os.fsdecode(b"c\xff")


def test_files_whose_names_are_no_utf8_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "raw", 1)
    (tmp_path / "raw/imagesTr/c1_0000.nii.gz").rename(tmp_path / f"raw/imagesTr/{BAD_NAME}_0000.nii.gz")
    with pytest.raises(BadData) as caught:
        Source(Location(uri=f"file://{tmp_path}/raw"), "nnUNetV2", "x").listing()
    assert caught.value.findings == ("imagesTr/c\\xff_0000.nii.gz",)
    assert cli.main(["verify", str(tmp_path / "raw")]) == 65
    assert "c\\xff_0000.nii.gz" in "".join(capsys.readouterr())


def test_arguments_that_are_no_utf8_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(tmp_path / BAD_NAME)]) == 64
    assert "c\\xff is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("length", [300, 5000])
def test_arguments_that_are_too_long_are_named(capsys: pytest.CaptureFixture[str], length: int) -> None:
    assert cli.main(["verify", "a" * length]) in (64, 65, 74)
    assert "too long" in capsys.readouterr().err


def test_folders_within_imagestr_hold_no_cases(tmp_path: Path) -> None:
    _write(tmp_path / "raw", 1)
    for part in ("imagesTr", "labelsTr"):
        for name in (".ipynb_checkpoints", "old"):
            (tmp_path / "raw" / part / name).mkdir()
            for path in [p for p in (tmp_path / "raw" / part).iterdir() if p.is_file()]:
                (path.parent / name / path.name).write_bytes(path.read_bytes())
    source = Source(Location(uri=f"file://{tmp_path}/raw"), "nnUNetV2", "x")
    assert (
        set(case_files(source.described, "nnUNetV2", source.listing()))
        == set(RawDataset.open(tmp_path / "raw").cases)
        == {"c0", "c1"}
    )


# Paths in dataset.json's field `dataset`


def _listed(folder: Path, name: str, **fields: Any) -> None:
    """A dataset whose second case lies in `scans`, under another name."""
    _write(folder, 1)
    (folder / "scans").mkdir(exist_ok=True)
    (folder / "imagesTr/c1_0000.nii.gz").rename(folder / "scans" / name)
    cases = {
        "c0": {"images": ["imagesTr/c0_0000.nii.gz"], "label": "labelsTr/c0.nii.gz"},
        "c1": {"images": [f"./scans//{name}"], "label": "labelsTr/c1.nii.gz"},
    }
    _describe(folder, dataset=cases, **fields)


@pytest.mark.parametrize("name", [f"{name}.nii.gz" for name in NAMES] + ["$PART.nii.gz", "a${PART}.nii.gz", "$.nii.gz", "~.nii.gz"])
def test_listed_files_are_those_that_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PART", "other")
    _listed(tmp_path / "raw", name)
    for other in ("other.nii.gz", "aother.nii.gz"):
        (tmp_path / "raw/scans" / other).write_bytes(b"")
    source = Source(Location(uri=f"file://{tmp_path}/raw"), "nnUNetV2", "x")
    listing = source.listing()
    assert f"scans/{name}" in listing
    assert case_files(source.described, "nnUNetV2", listing)["c1"] == [f"scans/{name}", "labelsTr/c1.nii.gz"]
    assert RawDataset.open(tmp_path / "raw").cases["c1"].images == [tmp_path / "raw/scans" / name]


def test_variables_are_replaced_as_nnunet_does_where_no_file_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PART", "other")
    _listed(tmp_path / "raw", "$PART.nii.gz")
    (tmp_path / "raw/scans/$PART.nii.gz").rename(tmp_path / "raw/scans/other.nii.gz")
    source = Source(Location(uri=f"file://{tmp_path}/raw"), "nnUNetV2", "x")
    listing = source.listing()
    assert case_files(source.described, "nnUNetV2", listing)["c1"][0] == "scans/other.nii.gz"
    assert "scans/other.nii.gz" in listing
    assert RawDataset.open(tmp_path / "raw").cases["c1"].images == [tmp_path / "raw/scans/other.nii.gz"]


@pytest.mark.parametrize(
    "cases",
    [
        {"c": None},
        {"c": {"images": None, "label": "a"}},
        {"c": {"images": "a", "label": "a"}},
        {"c": {"images": [1], "label": "a"}},
        {"c": {"images": ["a"]}},
        {"c": {"images": ["a\0"], "label": "a"}},
        {"c": {"images": ["a\ud800"], "label": "a"}},
        {"c": {"images": [""], "label": "a"}},
        {"c": {"images": ["a"], "label": ""}},
        ["c"],
    ],
)
def test_listed_files_that_are_no_paths_are_named(tmp_path: Path, pod_scratch: Path, cases: Any) -> None:
    _write(tmp_path / "raw", 1)
    _describe(tmp_path / "raw", dataset=cases)
    source, storage = Location(uri=f"file://{tmp_path}/raw"), Location(uri=f"file://{tmp_path}/store")
    with pytest.raises(BadData, match="field dataset") as caught:
        dataset.carry_out(DatasetOrder(name="Dataset001_X", source=source, storage=storage), lambda _: None)
    assert caught.value.message.startswith(f"file://{tmp_path}/raw/dataset.json: ")
    str(caught.value).encode()


@pytest.mark.s3
@pytest.mark.parametrize("outside", ["../other/c1.nii.gz", "/data/c1.nii.gz", "scans/../../c1.nii.gz"])
def test_an_object_store_holds_nothing_above_the_dataset(tmp_path: Path, pod_scratch: Path, s3: Location, outside: str) -> None:
    _listed(tmp_path / "raw", "c1.nii.gz")
    described = json.loads((tmp_path / "raw/dataset.json").read_text())
    described["dataset"]["c1"]["images"] = [outside]
    (tmp_path / "raw/dataset.json").write_text(json.dumps(described))
    for path in (p for p in (tmp_path / "raw").rglob("*") if p.is_file()):
        open_store(child(s3, "raw")).put_file(path, path.relative_to(tmp_path / "raw").as_posix())
    with pytest.raises(BadData, match="outside of") as caught:
        _read(child(s3, "raw"), child(s3, "store"))
    assert caught.value.reason == "InvalidDatasetJson"
    assert len(caught.value.findings) == 1


# Messages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/m/raw/dataset.json is none", "s3://b/raw/dataset.json is none"),
        ("case c: /m/raw cannot be read", "case c: s3://b/raw cannot be read"),
        ("'/m/raw', (/m/raw) and /m/raw.", "'s3://b/raw', (s3://b/raw) and s3://b/raw."),
        ("file:///m/raw/dataset.json", "file:///m/raw/dataset.json"),
        ("/m/raw2/x and /n/m/raw/x", "/m/raw2/x and /n/m/raw/x"),
        ("/m/raw.old/x", "/m/raw.old/x"),
    ],
)
def test_only_the_staged_copy_is_named_anew(text: str, shown: str) -> None:
    with pytest.raises(Fault) as caught, named(Path("/m/raw"), "s3://b/raw"):
        raise BadData("X", text, findings=[text])
    assert (caught.value.message, caught.value.findings) == (shown, (shown,))
