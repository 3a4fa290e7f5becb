"""The two ends of a cascade beside the reference's: what a stage predicts for the next, and prediction by the next."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_trainer.contract.faults import BadConfiguration, BadData, BadUsage
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.inference.cascade import NextStages, for_next_stage, with_previous_stage
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.prediction import predict_case, predict_folder
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case

from . import models

EXAMPLES = Path(__file__).parents[3] / "examples/data/Dataset004_Hippocampus"
NAMES = ("hippocampus_001", "hippocampus_008")


def cascade(own, following, transpose=(0, 1, 2)):
    """Plans whose configuration `small` is followed by `second`."""
    content = models.plans(spacing=own, transpose=transpose)
    content["configurations"]["small"]["next_stage"] = "second"
    content["configurations"]["second"] = {
        "inherits_from": "small",
        "previous_stage": "small",
        "next_stage": None,
        "spacing": list(following),
        "patch_size": [16, 24, 16],
    }
    return content


def properties(shape=(11, 25, 20), spacing=(3.0, 1.0, 1.2)):
    return {"spacing": list(spacing), "shape_after_cropping_and_before_resampling": shape}


def logits(heads, shape, seed=0):
    return torch.randn(heads, *shape, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.reference
@pytest.mark.parametrize("dataset_json", [models.DATASET, models.REGIONS], ids=["labels", "regions"])
@pytest.mark.parametrize(
    ("own", "following", "shape"),
    [
        ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), (16, 12, 12)),
        ((6.5, 2.0, 2.0), (3.0, 1.0, 1.0), (5, 12, 12)),
        ((3.0, 1.0, 1.2), (3.0, 1.0, 1.2), (11, 25, 20)),
    ],
    ids=["isotropic", "slices apart", "same spacing"],
)
def test_the_next_stages_input_is_the_references_and_can_be_exchanged(dataset_json, own, following, shape, tmp_path):
    from nnunetv2.inference.export_prediction import resample_and_save
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    content, about = cascade(own, following), properties()
    plans, labels = Plans(content), LabelManager(dataset_json)
    predicted = logits(labels.num_segmentation_heads, shape)
    stages = NextStages(tmp_path / "predicted_next_stage", plans, plans.configuration("small"))
    assert not stages.done("a")
    stages.write("a", stages.segmentations(predicted, about, labels))
    assert stages.done("a")

    manager = PlansManager(json.loads(json.dumps(content)))
    size = tuple(round(s * n / t) for s, n, t in zip(about["spacing"], (11, 25, 20), following, strict=True))
    (tmp_path / "theirs").mkdir()
    configuration = manager.get_configuration("small")
    resample_and_save(
        predicted.clone(), size, str(tmp_path / "theirs/a"), manager, configuration, about, dataset_json, 1, nnUNetDatasetBlosc2
    )
    data = np.zeros((1, *size), np.float32)
    (tmp_path / "cases").mkdir()
    write_case(tmp_path / "cases", "a", data, data.astype(np.int16), about, (16, 24, 16))
    ours = tmp_path / "predicted_next_stage/second"
    by_us = [PreprocessedFolder(tmp_path / "cases", folder).open("a").previous for folder in (ours, tmp_path / "theirs")]
    by_them = [
        nnUNetDatasetBlosc2(str(tmp_path / "cases"), ["a"], folder_with_segs_from_previous_stage=str(folder)).load_case("a")[2]
        for folder in (ours, tmp_path / "theirs")
    ]
    for found in (*by_us, *by_them):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[:], by_us[0][:])
    assert len(np.unique(by_us[0][:])) > 1


def test_the_shape_is_that_of_the_next_stages_preprocessing():
    plans = Plans(cascade((2.0, 2.0, 2.0), (0.9, 1.1, 1.3)))
    found = for_next_stage(
        logits(3, (16, 12, 12)),
        properties(),
        plans,
        plans.configuration("small"),
        plans.configuration("second"),
        LabelManager(models.DATASET),
    )
    assert found.shape == (37, 23, 18)


def test_a_next_stage_that_the_plans_lack_is_told(tmp_path):
    content = models.plans()
    content["configurations"]["small"]["next_stage"] = "gone"
    plans = Plans(content)
    with pytest.raises(BadConfiguration, match="gone"):
        NextStages(tmp_path, plans, plans.configuration("small"))


@pytest.mark.reference
def test_channels_are_the_references():
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

    image = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    previous = np.random.default_rng(1).integers(0, 3, (3, 4, 5)).astype(np.uint8)
    expected = np.vstack((image, convert_labelmap_to_one_hot(previous, [1, 2], output_dtype=np.float32)))
    np.testing.assert_array_equal(with_previous_stage(image, previous, LabelManager(models.DATASET)), expected)


@pytest.fixture
def images(tmp_path):
    """Two real images, and their labels in place of a first stage's predictions."""
    for part, name in (("imagesTr", "{}_0000.nii.gz"), ("labelsTr", "{}.nii.gz")):
        (tmp_path / part).mkdir()
        for case in NAMES:
            shutil.copy(EXAMPLES / part / name.format(case), tmp_path / part)
    return tmp_path


@pytest.fixture
def model(tmp_path):
    """A second stage, with random weights."""
    content = models.plans(spacing=(1.3, 0.9, 1.1), transpose=(2, 0, 1))
    content["configurations"]["small"]["previous_stage"] = "first"
    content["configurations"]["first"] = {"inherits_from": "small", "previous_stage": None}
    return models.write(tmp_path / "model", content, models.DATASET, mirror_axes=())


def segmentation(file):
    return by_name("SimpleITKIO").read_seg(file)[0].astype(int)


@pytest.mark.reference
def test_predictions_are_those_of_nnunets_predictor(model, images, tmp_path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    (tmp_path / "theirs").mkdir()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    predictor.allowed_mirroring_axes = None
    predictor.predict_from_files_sequential(
        str(images / "imagesTr"), str(tmp_path / "theirs"), folder_with_segs_from_prev_stage=str(images / "labelsTr")
    )
    files = predict_folder(Model.load(model), images / "imagesTr", tmp_path / "ours", previous_stage=images / "labelsTr")
    assert len(files) == 2
    for file in files:
        found = segmentation(file)
        assert (segmentation(tmp_path / "theirs" / file.name) != found).mean() < 2e-3
        assert len(np.unique(found)) > 1


def test_a_previous_stage_is_given_where_it_is_needed(model, images, tmp_path):
    second, first = Model.load(model), Model.load(models.write(tmp_path / "first", models.plans(), models.DATASET))
    with pytest.raises(BadUsage, match="has the segmentations by first as an input"):
        predict_folder(second, images / "imagesTr", tmp_path / "out")
    with pytest.raises(BadUsage, match="no second stage of a cascade"):
        predict_folder(first, images / "imagesTr", tmp_path / "out", previous_stage=images / "labelsTr")
    (images / "labelsTr" / f"{NAMES[1]}.nii.gz").unlink()
    with pytest.raises(BadData, match="1 of 2 images") as caught:
        predict_folder(second, images / "imagesTr", tmp_path / "out", previous_stage=images / "labelsTr")
    assert caught.value.findings == (f"{NAMES[1]}: no {NAMES[1]}.nii.gz",)
    assert not (tmp_path / "out").exists()


def test_an_image_in_memory(model, images, tmp_path):
    reader = by_name("SimpleITKIO")
    data, about = reader.read_images([images / "imagesTr" / f"{NAMES[0]}_0000.nii.gz"])
    previous, _ = reader.read_seg(images / "labelsTr" / f"{NAMES[0]}.nii.gz")
    loaded = Model.load(model)
    found, _, after = predict_case(loaded, data.copy(), about, previous=previous)
    assert "class_locations" not in after
    files = predict_folder(loaded, images / "imagesTr", tmp_path / "out", previous_stage=images / "labelsTr")
    np.testing.assert_array_equal(segmentation(files[0])[0], found)
    without, _, _ = predict_case(loaded, data.copy(), about, previous=np.zeros_like(previous))
    assert (without != found).any(), "the previous stage matters"
    with pytest.raises(BadData, match="shape"):
        predict_case(loaded, data.copy(), about, previous=previous[:, 1:])
