"""Preprocessing steps: planned, written into plans, and carried out alike for training and for prediction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration, BadData, Fault
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.inference import prediction
from nnunet_trainer.inference.model import Model
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans, preprocessing_steps
from nnunet_trainer.planning.plans.patch import merge
from nnunet_trainer.planning.plans.validate import validate
from nnunet_trainer.planning.transfer import transfer
from nnunet_trainer.preprocessing.case import preprocess_image, read_and_preprocess, segmentation_from_logits
from nnunet_trainer.preprocessing.dataset import preprocess_dataset
from nnunet_trainer.preprocessing.storage import PreprocessedFolder
from support.datasets import make_dataset, write_nifti
from support.plugins import isolated, write
from support.trainings.predictions import preprocessed_for_prediction

from trainer.inference import models

C = "3d_fullres"
N4 = {"name": "N4BiasFieldCorrection", "shrinkFactor": 2, "iterations": [3, 3]}
PLUGIN = """
    from typing import Annotated

    import numpy as np
    from nnunet_trainer.extensions import Range, register

    @register("preprocessingStep", "Mine")
    def mine(images, case, *, add: Annotated[float, Range(0, 10)] = 1.0):
        "Mine."
        {body}
"""


@pytest.fixture
def raw(tmp_path: Path) -> RawDataset:
    folder = make_dataset(tmp_path / "Dataset001_A", cases=2, channels=("MRI", "T2"), shape=(10, 20, 18), border=3)
    label = np.zeros((12, 24, 22), np.uint8)
    label[0:3] = 1  # outside the nonzero region too: no step may see that
    image = np.zeros(label.shape, np.float32)
    image[2:-2, 3:-3, 3:-3] = np.random.default_rng(5).normal(100, 20, (8, 18, 16))
    for channel in range(2):
        write_nifti(folder / "imagesTr" / f"case_00_{channel:04}.nii.gz", image * (channel + 1), (2, 1, 1))
    write_nifti(folder / "labelsTr" / "case_00.nii.gz", label, (2, 1, 1))
    return RawDataset.open(folder)


@pytest.fixture
def fingerprint(raw: RawDataset, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e4)
    return extract(raw, extractor="HistogramLandmarks", parameters={"percentiles": [5, 50, 95]})


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


def plug(root: Path, body: str) -> None:
    write(root, "mine", mine=PLUGIN.replace("{body}", body))
    load_plugins(root, ["mine"])


def planned(raw: RawDataset, fingerprint: dict[str, Any], *steps: Any, **options: Any) -> dict[str, Any]:
    parameters = {"preprocessingSteps": list(steps)} if steps else None
    about = {"dataset_name": raw.name, "reader": raw.reader, "target_spacing": [1.6, 1.1, 0.9]}
    return plan(fingerprint, raw.dataset_json, parameters=parameters, **about, **options)


def made(raw: RawDataset, plans: dict[str, Any], case: str = "case_01") -> np.ndarray:
    return read_and_preprocess(raw.case(case), Plans(plans), C, raw.dataset_json)[0]


def test_nnunets_own_steps_are_written_as_nnunet_writes_them(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    usual = planned(raw, fingerprint)
    assert planned(raw, fingerprint, "Crop", "Normalize", {"name": "Resample", "keepFirstAxis": False}) == usual
    assert "preprocessing_steps" not in usual["configurations"][C]


PIPELINES: dict[str, list[Any]] = {
    "default": [],
    "v1's order": ["Crop", "Resample", "Normalize"],
    "bias field": ["Crop", N4, "Normalize", "Resample"],
    "clipped": ["Crop", {"name": "ClipPercentiles", "low": 2, "channels": [1]}, "Normalize", "Resample"],
    "matched": ["Crop", "MatchHistogram", "Normalize", "Resample", {"name": "ClipPercentiles", "of": "Image"}],
    "first axis kept": ["Crop", {"name": "Resample", "keepFirstAxis": True}, "MatchHistogram", "Normalize"],
    "plug-in": ["Crop", "Normalize", "Resample", {"name": "Mine", "add": 2}],
}


@pytest.mark.parametrize("name", list(PIPELINES)[1:])
def test_training_and_prediction_see_the_same_voxels(
    raw: RawDataset, fingerprint: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A folder of the training images, predicted with a model of these plans: bit by bit what training reads."""
    plug(tmp_path, "images *= case.inside\n        return images + add")
    plans = planned(raw, fingerprint, *PIPELINES[name])
    full = plans["configurations"][C]
    small = {**full, "architecture": models.architecture(3), "patch_size": [8, 16, 16], "data_identifier": "small"}
    plans["configurations"] = {"small": small}
    preprocess_dataset(raw, plans, "small", tmp_path / "data")
    model = Model.load(models.write(tmp_path / "model", plans, raw.dataset_json))
    seen = preprocessed_for_prediction(monkeypatch)
    prediction.predict_folder(model, raw.folder / "imagesTr", tmp_path / "predicted")
    assert len(seen) == len(raw.cases)
    data = PreprocessedFolder(tmp_path / "data")
    for case in raw.cases:
        stored = data.open(case)
        assert np.array_equal(stored.data[:], seen[str(stored.properties["spacing"])])


def test_v1s_order(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    """What is normalized last has mean 0 and deviation 1; what is resampled last has not."""
    steps = "Crop", "Resample", "Normalize"
    image = made(raw, planned(raw, fingerprint, *steps))[0]
    assert (abs(image.mean()) < 1e-5, abs(image.std() - 1) < 1e-5) == (True, True)
    assert abs(made(raw, planned(raw, fingerprint))[0].std() - 1) > 0.01


def test_clipped(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    none = {"normalizationRule": {"name": "SameForAll"}, "resampling": "no_resampling_hack"}
    about = {"dataset_name": raw.name, "reader": raw.reader}

    def images(*steps: Any) -> np.ndarray:
        return made(raw, plan(fingerprint, raw.dataset_json, parameters={**none, "preprocessingSteps": steps}, **about))

    usual, clip = images("Crop", "Normalize", "Resample"), {"name": "ClipPercentiles", "low": 10, "high": 80}
    both, second = images("Crop", clip, "Normalize", "Resample"), {**clip, "channels": [1]}
    only = images("Crop", "Normalize", "Resample", second)
    for channel in range(2):
        low, high = np.percentile(usual[channel], (10, 80))
        assert (both[channel].min(), both[channel].max()) == (np.float32(low), np.float32(high))
    assert np.array_equal(only[0], usual[0])
    assert np.array_equal(only[1], both[1])


def test_histograms_are_matched_whatever_the_scanners_scale(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    plans = planned(raw, fingerprint, "Crop", "MatchHistogram", "Normalize", "Resample")
    step = plans["configurations"][C]["preprocessing_steps"][1]
    assert step["landmarks"] == fingerprint["histogram_landmarks"]
    assert (step["landmarks"]["0"][0], step["landmarks"]["0"][-1]) == (0, 100)
    rng, about = np.random.default_rng(0), {"spacing": [2.0, 1.0, 1.0]}
    images = rng.normal(200, 30, (2, 10, 20, 20)).astype(np.float32)
    plans["configurations"][C] |= {"normalization_schemes": ["NoNormalization"] * 2}
    first, second = (
        preprocess_image(each, about, Plans(plans), C, raw.dataset_json)[0] for each in (images.copy(), 3 * images + 50)
    )
    assert np.abs(first - second).max() < 1e-2
    assert abs(np.median(first) - step["landmarks"]["0"][1]) < 5


def test_planning_needs_the_fingerprint_that_a_step_takes_from(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    del fingerprint["histogram_landmarks"]
    with pytest.raises(BadData, match="MatchHistogram needs the field histogram_landmarks") as fault:
        planned(raw, fingerprint, "Crop", "MatchHistogram", "Normalize", "Resample")
    assert "spec.fingerprint.extractor" in fault.value.hint


LANDMARKS = {"percentiles": [1, 99], "0": [0, 50], "1": [0, 70]}


@pytest.mark.parametrize("policy", ["Transfer", "Recompute"])
@pytest.mark.parametrize(
    ("step", "written", "recomputed"),
    [
        ("MatchHistogram", None, True),
        ({"name": "MatchHistogram", "channels": [1]}, None, True),
        ({"name": "MatchHistogram", "landmarks": LANDMARKS}, LANDMARKS, False),
    ],
)
def test_a_transfer_recomputes_what_planning_took_from_the_fingerprint_and_nothing_that_somebody_wrote(
    raw: RawDataset, fingerprint: dict[str, Any], policy: str, step: Any, written: Any, recomputed: bool
) -> None:
    plans = planned(raw, fingerprint, "Crop", step, "Normalize", "Resample")
    before = plans["configurations"][C]["preprocessing_steps"][1]["landmarks"]
    assert before == (written or fingerprint["histogram_landmarks"])
    other = {**fingerprint, "histogram_landmarks": {"percentiles": [5, 50, 95], "0": [0, 10, 100], "1": [0, 90, 100]}}
    about = {"dataset_name": "Dataset002_B", "dataset_json": raw.dataset_json, "reader": raw.reader, "fingerprint": other}
    moved, _ = transfer(plans, **about, intensity_properties=policy)
    again, _ = transfer(moved, **{**about, "fingerprint": fingerprint}, intensity_properties=policy)
    found = [each["configurations"][C]["preprocessing_steps"][1]["landmarks"] for each in (moved, again)]
    assert found == ([other["histogram_landmarks"], before] if recomputed and policy == "Recompute" else [before, before])


@pytest.mark.parametrize("policy", ["Transfer", "Recompute"])
@pytest.mark.parametrize("plans_are", ["of today", "of before", "written by hand", "the same landmarks"])
def test_what_a_transfer_keeps_although_the_target_has_other_landmarks_is_said(
    raw: RawDataset, fingerprint: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str, plans_are: str
) -> None:
    """Plans made before they said what planning took from the fingerprint cannot be told from landmarks that somebody wrote."""
    step = {"name": "MatchHistogram", "landmarks": LANDMARKS} if plans_are == "written by hand" else "MatchHistogram"
    plans = planned(raw, fingerprint, "Crop", step, "Normalize", "Resample")
    if plans_are != "of today":
        for configuration in plans["configurations"].values():
            configuration["preprocessing_steps"][1].pop("fromFingerprint", None)
    other = {**fingerprint, "histogram_landmarks": {"percentiles": [5, 50, 95], "0": [0, 10, 100], "1": [0, 90, 100]}}
    target = fingerprint if plans_are == "the same landmarks" else other
    for name, content in (("plans", plans), ("fingerprint", target)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = {"--plans": "plans.json", "--to-fingerprint": "fingerprint.json", "-o": "moved.json"}
    arguments = [word for option, file in files.items() for word in (option, str(tmp_path / file))]
    assert cli.main(["transfer", "--to", str(raw.folder), *arguments, "--intensity-properties", policy]) == 0
    said = capsys.readouterr().err
    kept = policy == "Recompute" and plans_are in ("of before", "written by hand")
    line = "landmarks of MatchHistogram: as in the plans → others in its fingerprint: transferred"
    assert (line in said) == kept
    note = "Note: 2d, 3d_fullres: landmarks of MatchHistogram: the plans do not say that planning took them from a fingerprint"
    assert (note in said) == kept


@pytest.mark.parametrize("scheme", ["CTNormalization", "CT2Normalization", "RGBTo01Normalization", "ZScoreNormalization"])
@pytest.mark.parametrize(
    ("steps", "channels"),
    [
        (["Crop", "MatchHistogram", "Normalize", "Resample"], [0, 1]),
        (["Crop", {"name": "MatchHistogram", "channels": [1]}, "Normalize", "Resample"], [1]),
        (["Crop", "Resample", "MatchHistogram", "Normalize"], [0, 1]),
        (["Crop", "Normalize", "MatchHistogram", "Resample"], []),
        (["Crop", {"name": "ClipPercentiles"}, "Normalize", "Resample"], []),
        ([], []),
    ],
)
def test_a_normalization_on_another_scale_than_its_own_is_warned_of(
    raw: RawDataset, fingerprint: dict[str, Any], scheme: str, steps: list[Any], channels: list[int]
) -> None:
    notes: list[str] = []
    own = {"normalizationRule": {"name": "SameForAll", "scheme": scheme}, **({"preprocessingSteps": steps} if steps else {})}
    plans = plan(fingerprint, raw.dataset_json, parameters=own, dataset_name=raw.name, reader=raw.reader, notes=notes)
    found = preprocessing_steps.warnings(plans)
    assert [line for line in notes if "MatchHistogram comes before Normalize" in line] == found
    if scheme == "ZScoreNormalization" or not channels:
        assert not found
    else:
        [line] = found
        assert line.startswith(f"{', '.join(plans['configurations'])}: MatchHistogram comes before Normalize")
        assert f"scale of its own, and {', '.join(f'channel {c} by {scheme}' for c in channels)} is normalized" in line
        assert "put MatchHistogram after Normalize" in line


@pytest.mark.parametrize("shape", [(8, 40, 36), (1, 40, 36)], ids=["volume", "slice"])
def test_a_bias_field_is_taken_out(raw: RawDataset, fingerprint: dict[str, Any], shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    tissue = np.kron(rng.random((1, 5, 4)) > 0.5, np.ones((shape[0], 8, 9)))
    truth = np.where(tissue, 200, 100) + rng.normal(0, 2, shape)
    images = np.repeat((truth * np.exp(np.linspace(-0.2, 0.2, shape[2])))[None], 2, 0).astype(np.float32)
    correct = {"name": "N4BiasFieldCorrection", "shrinkFactor": 4, "channels": [0], "iterations": [20]}
    plans = planned(raw, fingerprint, "Crop", correct, "Normalize", "Resample")
    plans["configurations"][C] |= {"spacing": [2, 1, 1], "normalization_schemes": ["NoNormalization"] * 2}
    data = preprocess_image(images.copy(), {"spacing": [2, 1, 1]}, Plans(plans), C, raw.dataset_json)[0]
    left, before = (np.log(each) - np.log(truth) for each in (data[0], images[0]))
    assert left.std() < 0.2 * before.std()
    assert np.array_equal(data[1], images[1])


def test_the_first_axis_is_kept_and_found_again(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    plans = Plans(planned(raw, fingerprint, "Crop", "Normalize", {"name": "Resample", "keepFirstAxis": True}))
    configuration, images = plans.configuration(C), np.ones((2, 9, 20, 18), np.float32)
    data, _, properties = preprocess_image(images, {"spacing": [2.0, 1.0, 1.0]}, plans, configuration, raw.dataset_json)
    first = plans.transpose_forward[0]
    assert data.shape[1] == images.shape[1 + first]
    assert data.shape[2] != images.shape[1 + plans.transpose_forward[1]]
    labels = LabelManager(raw.dataset_json)
    logits = np.zeros((3, *data.shape[1:]), np.float32)
    assert segmentation_from_logits(logits, properties, plans, configuration, labels).shape == images.shape[1:]


WRONG: dict[str, tuple[list[Any], str]] = {
    "no crop": (["Normalize", "Resample"], "Crop was expected first"),
    "crop is not first": (["Normalize", "Crop", "Resample"], "Crop was expected first"),
    "twice": (["Crop", "Normalize", "Resample", "Resample"], "Normalize and Resample once each"),
    "nothing": ([], "found nothing"),
    "misspelt": (["Crop", "N4BiasField", "Normalize", "Resample"], "Did you mean N4BiasFieldCorrection?"),
    "parameter": (["Crop", {"name": "Normalize", "mode": 1}, "Resample"], "Normalize has no such parameter"),
    "percentiles": (
        ["Crop", "Normalize", "Resample", {"name": "ClipPercentiles", "low": 90, "high": 10}],
        "low is 90 and high 10; low < high was expected",
    ),
    "percentiles by default": (
        ["Crop", "Normalize", "Resample", {"name": "ClipPercentiles", "low": 99.9}],
        "low is 99.9 and high 99.5",
    ),
    "range": (["Crop", "Normalize", "Resample", {"name": "ClipPercentiles", "high": 101}], "101 is out of range"),
    "kind": (["Crop", "Normalize", {"name": "Resample", "keepFirstAxis": 1}], "true or false was expected"),
    "channel": (["Crop", "Normalize", "Resample", {"name": "ClipPercentiles", "channels": [2]}], "the dataset has 2"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_is_said_before_anything_runs(raw: RawDataset, fingerprint: dict[str, Any], name: str) -> None:
    steps, said = WRONG[name]
    with pytest.raises(BadConfiguration, match=re.escape(said)):
        plan(fingerprint, raw.dataset_json, dataset_name="D", reader=raw.reader, parameters={"preprocessingSteps": steps})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preprocessing_steps": [{"name": "Crop"}]}, "expected with them: preprocessor_name StepwisePreprocessor"),
        ({"preprocessor_name": "StepwisePreprocessor"}, "preprocessing_steps is None, expected a list"),
        ({"preprocessor_name": "StepwisePreprocessor", "preprocessing_steps": ["Crop"]}, "each with a name"),
        ({"preprocessor_name": "StepwisePreprocessor", "preprocessing_steps": [{"name": "Crop"}]}, "found Crop"),
        ({"preprocesing_steps": []}, "did you mean preprocessing_steps?"),
    ],
    ids=["not stepwise", "none", "names", "incomplete", "misspelt"],
)
def test_plans_that_were_edited(raw: RawDataset, fingerprint: dict[str, Any], change: dict[str, Any], said: str) -> None:
    plans = merge(planned(raw, fingerprint), {"configurations": {C: change}})
    with pytest.raises(BadConfiguration, match=said.replace("?", r"\?")):
        validate(plans, raw.dataset_json)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return images[:, 1:]", "made (2, "),
        ("images[1, 0, 0, 0] = np.nan", "NaN or infinity in channel 1"),
        ("images.fill(np.inf)", "NaN or infinity in channel 0"),
        ("return 'images'", "made () of images"),
        ("return images / int('0' * add)", "fails: TypeError"),
    ],
    ids=["shape", "nan", "infinity", "text", "error"],
)
def test_what_a_plugins_step_does_wrong(raw: RawDataset, fingerprint: dict[str, Any], tmp_path: Path, body: str, said: str) -> None:
    plug(tmp_path, body)
    plans = planned(raw, fingerprint, "Crop", "Mine", "Normalize", "Resample")
    with pytest.raises(BadConfiguration) as fault:
        made(raw, plans)
    assert said in fault.value.message
    assert "mine.py" in fault.value.message


def test_the_plans_say_which_plugin_and_are_refused_without(raw: RawDataset, fingerprint: dict[str, Any], tmp_path: Path) -> None:
    with isolated():
        plug(tmp_path, "return None")
        plans = planned(raw, fingerprint, "Crop", "Mine", "Normalize", "Resample")
        fields = Plans(plans).configuration(C).preprocessing_fields()
    assert plans["plugins"][0]["components"] == ["preprocessingStep Mine"]
    assert plans["configurations"][C]["preprocessing_steps"][1] == {"name": "Mine", "add": 1.0}
    assert fields["plugins"] == {"mine": plans["plugins"][0]["digest"]}
    with pytest.raises(Fault, match="preprocessingStep Mine; it is not here"):
        preprocess_dataset(raw, plans, C, tmp_path / "out")


def test_each_step_and_parameter_makes_other_data(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    """Configurations share their preprocessed data only where all that decides them is the same."""
    clip = {"name": "ClipPercentiles", "low": 2}
    pipelines = [[], ["Crop", "Resample", "Normalize"], ["Crop", clip, "Normalize", "Resample"]]
    pipelines += [["Crop", {**clip, "low": 3}, "Normalize", "Resample"], ["Crop", "Normalize", "Resample", clip]]
    fields = [json.dumps(Plans(planned(raw, fingerprint, *p)).configuration(C).preprocessing_fields()) for p in pipelines]
    assert len(set(fields)) == len(pipelines)


def test_explained_and_marked_as_ours(
    raw: RawDataset, fingerprint: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.json").write_text(json.dumps(fingerprint))
    given = json.dumps({"preprocessingSteps": ["Crop", {**N4, "iterations": [50] * 4}, "Normalize", "Resample"]})
    call = ["plan", str(raw.folder), "--fingerprint", str(tmp_path / "f.json"), "-o", str(tmp_path / "p.json")]
    assert cli.main([*call, "--parameters", given, "--explain"]) == 0
    said = capsys.readouterr().out
    assert "preprocessing Crop, then N4BiasFieldCorrection (shrinkFactor 2), then Normalize, then Resample" in said
    assert "nnU-Net v2 cannot use 2d, 3d_fullres of these plans: it has no StepwisePreprocessor (Crop, N4Bias" in said
    assert cli.main([*call, "--parameters", given]) == 0
    assert "nnU-Net v2 cannot use" in capsys.readouterr().err
    assert cli.main(call) == 0
    assert "nnU-Net v2" not in capsys.readouterr().err


@pytest.mark.reference
def test_nnunet_refuses_what_it_would_do_otherwise(raw: RawDataset, fingerprint: dict[str, Any]) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    def preprocessor(plans: dict[str, Any]) -> Any:
        return PlansManager(plans).get_configuration(C).preprocessor_class

    assert preprocessor(planned(raw, fingerprint)).__name__ == "DefaultPreprocessor"
    assert preprocessor(planned(raw, fingerprint, "Crop", "Resample", "Normalize")) is None  # which it then calls, and fails
