"""dataset.json: each fault by its field, all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset import description, msd_description
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.steps.raw import case_files

GOOD: dict[str, Any] = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "a": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def test_a_good_one() -> None:
    assert description.faults(GOOD) == []
    assert description.faults({**GOOD, "modality": {"0": "MRI"}}) == []


def test_one_of_version_1_is_told_what_converts_it() -> None:
    cases = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    old = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"}, "numTraining": 1, "training": cases, "test": []}
    assert "nnUNetv2_convert_old_nnUNet_dataset" in description.faults(old)[-1]
    assert "spec.source.layout: MSD" in description.faults(old)[-1]
    converted = {**old, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    assert description.faults(converted) == []  # nnU-Net reads it, whatever is left in it


@pytest.mark.parametrize("field", ["channel_names", "labels", "numTraining", "file_ending"])
def test_a_missing_field(field: str) -> None:
    faults = description.faults({k: v for k, v in GOOD.items() if k != field})
    assert len(faults) == 1
    assert f"field {field} is missing" in faults[0]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("channel_names", ["MRI"], "field channel_names is a list"),
        ("channel_names", {}, "field channel_names is empty"),
        ("channel_names", {"1": "MRI"}, "keys 1, expected 0"),
        ("channel_names", {"0": 5}, "channel_names.0 is a number"),
        ("numTraining", "3", "field numTraining"),
        ("numTraining", 0, "field numTraining is 0"),
        ("numTraining", True, "field numTraining is true"),
        ("file_ending", "nii.gz", "with its dot"),
        ("file_ending", ".dcm", "no reader reads"),
        ("overwrite_image_reader_writer", "DicomIO", "overwrite_image_reader_writer"),
        ("overwrite_image_reader_writer", ["SimpleITKIO"], "overwrite_image_reader_writer"),
        ("regions_class_order", "x", "regions_class_order"),
        ("labels", {"background": 0, "a": -1}, "field labels has the value -1"),
        ("dataset", [], "field dataset is a list"),
        ("dataset", {"c": {"images": "x", "label": "y"}}, "dataset.c.images"),
        ("dataset", {"c": {"images": ["x"]}}, "dataset.c.label"),
        *(("dataset", {n: {"images": ["x"], "label": "y"}}, "a case's name becomes the name of files") for n in ("a/b", ".a", "")),
    ],
)
def test_a_wrong_field(field: str, value: Any, said: str) -> None:
    assert any(said in fault for fault in description.faults({**GOOD, field: value}))


SCALAR = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=4)
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("012ab"), inner, max_size=3)
)
FIELDS = [
    "channel_names",
    "modality",
    "labels",
    "numTraining",
    "file_ending",
    "overwrite_image_reader_writer",
    "regions_class_order",
]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "dataset", "training", "test"]), JSON, max_size=4))
def test_any_value_of_any_field_is_a_fault_or_can_be_used(fields: dict[str, Any]) -> None:
    msd_good = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "a"},
        "training": [{"image": "a.nii", "label": "b.nii"}],
    }
    for described in ({**GOOD, **fields}, fields):
        if not description.faults(described):
            assert LabelManager(described).num_segmentation_heads > 0
            assert description.channel_names(described)
            assert RawDataset(Path("x"), described).cases is not None
            case_files(described, "nnUNetV2", [])
    for described in ({**msd_good, **fields}, fields):
        if not msd_description.faults(described):
            assert description.faults(msd_description.converted(described)) == []
            assert case_files(described, "MSD", [])


def test_all_faults_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"a": 1}, "file_ending": 5}))
    with pytest.raises(BadData) as caught:
        RawDataset.open(tmp_path)
    assert caught.value.reason == "InvalidDatasetJson"
    for field in ("channel_names", "labels.background", "numTraining", "file_ending"):
        assert field in caught.value.message


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "not JSON"), (b"\xff\xfe\x00", "UTF-8"), (b"[]", "is a list"), (None, "not exist")]
)
def test_no_json_at_all(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(BadData, match=said):
        RawDataset.open(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is no folder"):
        RawDataset.open(tmp_path / "nowhere")
