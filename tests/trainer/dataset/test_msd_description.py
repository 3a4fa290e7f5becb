"""The Decathlon's dataset.json: every odd one is named with its field, good odd ones are read."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import pytest
from nnunet_trainer.contract.faults import BadData, ExitCode
from nnunet_trainer.dataset import msd_description
from nnunet_trainer.dataset.msd_description import Entry

WHERE = "s3://b/Task01_X/dataset.json"
GONE = object()


def entry(case: str = "a") -> dict[str, Any]:
    return {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}


GOOD: dict[str, Any] = {
    "name": "X",
    "description": "d",
    "tensorImageSize": "4D",
    "modality": {"0": "T2", "1": "ADC"},
    "labels": {"0": "background", "1": "PZ", "2": "TZ"},
    "numTraining": 2,
    "numTest": 1,
    "training": [entry("a"), entry("b")],
    "test": ["./imagesTs/c.nii.gz"],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not GONE}


def training(*second: Any) -> dict[str, Any]:
    return changed(training=[entry("a"), *second])


def image(path: Any) -> dict[str, Any]:
    return training({**entry("b"), "image": path})


BAD: dict[str, tuple[Any, str]] = {
    "a list": ([GOOD], "the document is a list"),
    "a text": ("x", "the document is a text"),
    "null": (None, "the document is null"),
    "no modality": (changed(modality=GONE), "field modality is missing"),
    "modality null": (changed(modality=None), "field modality is null"),
    "modality a list": (changed(modality=["T2", "ADC"]), "field modality is a list"),
    "modality a text": (changed(modality="MR"), "field modality is a text"),
    "modality a number": (changed(modality=2), "field modality is a number"),
    "modality false": (changed(modality=False), "field modality is true or false"),
    "modality empty": (changed(modality={}), "field modality is empty"),
    "modality from 1": (changed(modality={"1": "T2", "2": "ADC"}), "field modality has the keys 1, 2, expected 0, 1"),
    "modality by name": (changed(modality={"T2": 0, "ADC": 1}), "field modality has the keys T2, ADC"),
    "modality with a gap": (changed(modality={"0": "T2", "2": "ADC"}), "field modality has the keys 0, 2"),
    "modality of lists": (changed(modality={"0": ["T2"], "1": "ADC"}), "field modality.0 is a list, expected a name"),
    "modality of numbers": (changed(modality={"0": "T2", "1": 7}), "field modality.1 is a number, expected a name"),
    "no labels": (changed(labels=GONE), "field labels is missing"),
    "labels null": (changed(labels=None), "field labels is null"),
    "labels a list": (changed(labels=["background", "PZ"]), "field labels is a list"),
    "labels a text": (changed(labels="PZ"), "field labels is a text"),
    "labels a number": (changed(labels=2), "field labels is a number"),
    "labels zero": (changed(labels=0), "field labels is a number"),
    "labels empty": (changed(labels={}), "field labels is empty"),
    "labels as in v2": (changed(labels={"background": 0, "PZ": 1}), "field labels has the key 'background'"),
    "labels of fractions": (changed(labels={"0": "background", "1.0": "PZ"}), "field labels has the key '1.0'"),
    "labels of powers": (changed(labels={"0": "background", "1²": "PZ", "²": "TZ"}), "field labels has the key '²'"),
    "labels without a value": (changed(labels={"0": "background", "": "PZ"}), "field labels has the key ''"),
    "labels with a null": (changed(labels={"0": "background", "1": None}), "field labels.1 is null, expected a name"),
    "labels with a number": (changed(labels={"0": "background", "1": 1}), "field labels.1 is a number, expected a name"),
    "labels with a list": (changed(labels={"0": "background", "1": ["PZ"]}), "field labels.1 is a list, expected a name"),
    "a value twice": (changed(labels={"0": "background", "1": "PZ", "01": "TZ"}), "the value 1 twice, as '1' and '01'"),
    "a name twice": (changed(labels={"0": "background", "1": "PZ", "2": "PZ"}), "gives '1' and '2' the same name, 'PZ'"),
    "a gap in the values": (changed(labels={"0": "background", "2": "PZ"}), "field labels has the values 0, 2"),
    "no background": (changed(labels={"1": "PZ", "2": "TZ"}), "field labels.0 is missing, expected 'background'"),
    "another background": (changed(labels={"0": "Background", "1": "PZ"}), "field labels.0 is 'Background', expected 'background'"),
    "background elsewhere": (changed(labels={"0": "PZ", "1": "background"}), "field labels.background is 1, expected 0"),
    "ignore in the middle": (changed(labels={"0": "background", "1": "ignore", "2": "PZ"}), "field labels.ignore is 1"),
    "no training": (changed(training=GONE), "field training is missing"),
    "training null": (changed(training=None), "field training is null"),
    "training an object": (changed(training={"a": entry()}), "field training is an object"),
    "training a text": (changed(training="imagesTr"), "field training is a text"),
    "training a number": (changed(training=2), "field training is a number"),
    "training empty": (changed(training=[]), "field training is empty"),
    "training of texts": (training("./imagesTr/b.nii.gz"), "field training[1] is a text"),
    "training of lists": (training(["./imagesTr/b.nii.gz", "./labelsTr/b.nii.gz"]), "field training[1] is a list"),
    "training with a null": (training(None), "field training[1] is null"),
    "an entry without image": (training({"label": "x.nii.gz"}), "field training[1].image is missing"),
    "an entry without label": (training({"image": "x.nii.gz"}), "field training[1].label is missing"),
    "an entry with other keys": (training({"images": "x.nii.gz", "labels": "x.nii.gz"}), "field training[1].label is missing"),
    "an empty entry": (training({}), "field training[1].image is missing"),
    "an image null": (image(None), "field training[1].image is null"),
    "an image a list": (image(["./imagesTr/b.nii.gz"]), "field training[1].image is a list"),
    "an image a number": (image(1), "field training[1].image is a number"),
    "an image empty": (image(""), "field training[1].image is empty"),
    "a folder": (image("./imagesTr/"), "field training[1].image is './imagesTr/', expected a file that ends in .nii.gz"),
    "an ending alone": (image("./imagesTr/x/.nii.gz"), "field training[1].image is './imagesTr/x/.nii.gz', a hidden file"),
    "an absolute image": (image("/data/b.nii.gz"), "field training[1].image is '/data/b.nii.gz', which is not below"),
    "an image elsewhere": (image("../b.nii.gz"), "field training[1].image is '../b.nii.gz', which is not below"),
    "an image round about": (image("imagesTr/../../b.nii.gz"), "which is not below the dataset's folder"),
    "an image of macOS": (image("./imagesTr/._b.nii.gz"), "field training[1].image is './imagesTr/._b.nii.gz', a hidden file"),
    "an image of another format": (image("./imagesTr/b.mha"), "expected a file that ends in .nii.gz or .nii"),
    "an ending in both cases": (image("./imagesTr/b.Nii.gz"), "expected a file that ends in .nii.gz or .nii"),
    "an image without ending": (image("./imagesTr/b"), "expected a file that ends in .nii.gz or .nii"),
    "an image with a zero byte": (image("./imagesTr/b\0.nii.gz"), "is no name of a file"),
    "an image with half a character": (image("./imagesTr/b\ud800.nii.gz"), "is no name of a file"),
    "an image twice": (training(entry("a")), "field training[1].image is './imagesTr/a.nii.gz', which training[0] names already"),
    "an image twice, otherwise": (image("imagesTr/./a.nii.gz"), "which training[0] names already"),
    "a case twice": (image("./imagesTr/more/a.nii"), "field training[1].image is './imagesTr/more/a.nii', which training[0] names"),
    "a label of two": (training({**entry("b"), "label": "labelsTr/a.nii.gz"}), "training[1].label is 'labelsTr/a.nii.gz', which"),
    "a label null": (training({**entry("b"), "label": None}), "field training[1].label is null"),
    "a label elsewhere": (training({**entry("b"), "label": "/b.nii.gz"}), "field training[1].label is '/b.nii.gz', which is not"),
    "another count": (changed(numTraining=3), "field numTraining is 3, training lists 2 cases"),
    "a count null": (changed(numTraining=None), "field numTraining is null, training lists 2 cases"),
    "a count as text": (changed(numTraining="2"), 'field numTraining is "2", training lists 2 cases'),
    "a count of one, true": (changed(numTraining=True, training=[entry()]), "field numTraining is true, training lists 1 cases"),
    "nnU-Net's cases": (changed(dataset={}), "field dataset is of nnU-Net's layout"),
    "another reader": (changed(overwrite_image_reader_writer="X"), "field overwrite_image_reader_writer"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_named_with_its_field(name: str) -> None:
    content, words = BAD[name]
    with pytest.raises(BadData, match=re.escape(words)) as caught:
        msd_description.parse(json.dumps(content).encode(), WHERE)
    assert (caught.value.reason, caught.value.exit_code) == ("InvalidDatasetJson", ExitCode.BAD_DATA)
    assert caught.value.message.startswith(f"{WHERE}: ")
    str(caught.value).encode()


@pytest.mark.parametrize("missing", ["name", "description", "numTraining", "numTest", "test", "tensorImageSize"])
def test_fields_that_nothing_is_read_from_may_be_missing(missing: str) -> None:
    described = msd_description.parse(json.dumps(changed(**{missing: GONE})).encode(), WHERE)
    assert msd_description.converted(described)["numTraining"] == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"name: X", "not JSON"),
        (b'{"labels": {"0": "b\xe4ckground"}}', "not UTF-8"),
        (json.dumps(GOOD).encode("utf-16"), "not UTF-8"),
        (json.dumps(GOOD).encode("utf-16-le"), "not UTF-8"),
        (json.dumps(GOOD).encode("utf-32"), "not UTF-8"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b'{"numTraining": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
        (b'{"labels": {"0": "background", "1": "a", "1": "b"}}', "the field 1 stands twice"),
    ],
)
def test_a_file_that_cannot_be_read(data: bytes, words: str) -> None:
    with pytest.raises(BadData, match=words) as caught:
        msd_description.parse(data, WHERE)
    assert caught.value.reason == "InvalidDatasetJson"
    assert caught.value.message.startswith(WHERE)


@pytest.mark.parametrize("data", [json.dumps(GOOD).encode(), codecs.BOM_UTF8 + json.dumps(GOOD).encode()])
def test_the_cases_are_those_of_training(data: bytes) -> None:
    described = msd_description.parse(data, WHERE)
    found = msd_description.entries(described)
    assert found == [Entry(case, f"imagesTr/{case}.nii.gz", f"labelsTr/{case}.nii.gz") for case in "ab"]


def test_all_faults_are_named_at_once_and_many_entries_are_counted() -> None:
    with pytest.raises(BadData) as caught:
        msd_description.parse(json.dumps(changed(labels=[], modality=None, training=["x"] * 100)).encode(), WHERE)
    message = caught.value.message
    assert "field labels" in message
    assert "field modality" in message
    assert "training[9]" in message
    assert "training[10]" not in message
    assert "and 90 more in training" in message
    assert message.count('expected {"image"') == 1


def test_nnunets_own_layout_is_recognized() -> None:
    ours = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "numTraining": 1, "file_ending": ".nii.gz"}
    with pytest.raises(BadData) as caught:
        msd_description.parse(json.dumps(ours).encode(), WHERE)
    assert "spec.source.layout: nnUNetV2" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("./imagesTr/a.nii.gz", "a"),
        ("a.nii", "a"),
        ("imagesTr/a.b.nii.gz", "a.b"),
        ("A.NII.GZ", "A"),
        ("imagesTr/a#1 %20.nii.gz", "a#1 %20"),
        ("a\\b.nii.gz", "a\\b"),
    ],
)
def test_the_case_of_an_image(name: str, case: str) -> None:
    assert msd_description.case_name(name) == case


def test_files_that_are_missing_or_would_be_others() -> None:
    found = [Entry("a", "imagesTr/a.nii.gz", "labelsTr/a.nii.gz"), Entry("b", "imagesTr/b.nii.gz", "labelsTr/x.nii.gz")]
    whole = {path for entry in found for path in (entry.image, entry.label)}
    assert msd_description.missing(found, whole) == []
    ((case, line),) = msd_description.missing(found, whole - {"imagesTr/a.nii.gz"} | {"imagesTr/a_0000.nii.gz"})
    assert case == "a"
    assert "imagesTr/a.nii.gz" in line
    assert "imagesTr/a_0000.nii.gz: is this nnU-Net's old format" in line
    ((case, line),) = msd_description.missing(found, whole | {"labelsTr/b.nii.gz"})
    assert case == "b"
    assert "labelsTr/x.nii.gz, nnU-Net would take labelsTr/b.nii.gz" in line
    assert msd_description.unlisted(found, whole | {"imagesTr/c.nii.gz", "imagesTr/notes.txt"}) == ["imagesTr/c.nii.gz"]
