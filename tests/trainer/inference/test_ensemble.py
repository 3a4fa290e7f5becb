"""nnU-Net's own ensembling takes folders of our predictions, of its own, and of both; and our folds' validations."""

import json
import shutil
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.inference import validate
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.prediction import predict_folder
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import preprocess_image
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from support.third_party.wheel import quiet

from . import models
from .test_warnings import voxels, write

pytestmark = pytest.mark.reference
ENSEMBLE = "nnunetv2.ensembling.ensemble"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, case in enumerate("ab"):
        write(folder / f"{case}_0000.nii.gz", voxels() + number, (1.5, 1.0, 0.8))
    return folder


@pytest.fixture(params=["labels", "regions"])
def dataset(request):
    return models.DATASET if request.param == "labels" else models.REGIONS


def content():
    return models.plans(spacing=(1.3, 0.9, 1.1), patch=(16, 16, 16), transpose=(1, 0, 2))


def in_threads():
    """Its pool spawns processes, each of which would import torch."""
    return mock.patch(f"{ENSEMBLE}.multiprocessing", SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool)))


def merged(folders, out):
    from nnunetv2.ensembling.ensemble import ensemble_folders

    with in_threads(), quiet():
        ensemble_folders([str(folder) for folder in folders], str(out), True, 1)


def expected(folders, case, dataset):
    """The mean of the probabilities; of regions, those above a half are painted in order."""
    mean = np.mean([np.load(folder / f"{case}.npz")["probabilities"].astype(np.float32) for folder in folders], 0)
    if dataset is models.DATASET:
        return mean.argmax(0)
    found = np.zeros(mean.shape[1:], int)
    for label, region in zip(dataset["regions_class_order"], mean, strict=True):
        found[region > 0.5] = label
    return found


def theirs(folder, fold, images, out):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    with quiet():
        predictor.initialize_from_trained_model_folder(str(folder), (fold,))
        predictor.allowed_mirroring_axes = None
        out.mkdir()
        predictor.predict_from_files_sequential(str(images), str(out), save_probabilities=True)
    for name in ("dataset.json", "plans.json"):
        shutil.copy(folder / name, out)


def test_folders_of_predictions_by_us_and_by_nnunet(images, dataset, tmp_path):
    folder = models.write(tmp_path / "model", content(), dataset, folds=("0", "1"), mirror_axes=())
    ours = [tmp_path / f"ours_{fold}" for fold in "01"]
    for fold, out in zip("01", ours, strict=True):
        predict_folder(Model.load(folder, folds=[fold]), images, out, save_probabilities=True)
    theirs(folder, 1, images, tmp_path / "theirs_1")
    found = {}
    for name, folders in (
        ("both ours", ours),
        ("mixed", [ours[0], tmp_path / "theirs_1"]),
        ("mixed, theirs first", [tmp_path / "theirs_1", ours[0]]),
    ):
        merged(folders, tmp_path / name)
        for case in "ab":
            image = by_name("SimpleITKIO").read(images / f"{case}_0000.nii.gz")
            label = by_name("SimpleITKIO").read(tmp_path / name / f"{case}.nii.gz", label=True)
            assert (label.spacing, label.geometry) == (image.spacing, image.geometry)
            np.testing.assert_array_equal(label.data[0], expected(folders, case, dataset))
            found[name, case] = label.data
    assert len(np.unique(found["both ours", "a"])) > 1
    for case in "ab":  # its sums are float16; in nearly flat logits that decides a few voxels
        assert (found["both ours", case] != found["mixed", case]).mean() < 0.02
        np.testing.assert_array_equal(found["mixed", case], found["mixed, theirs first", case])


def test_cross_validations(images, dataset, tmp_path):
    from nnunetv2.ensembling.ensemble import ensemble_crossvalidations
    from nnunetv2.evaluation.accumulate_cv_results import accumulate_cv_results

    plans, preprocessed, truth = Plans(content()), tmp_path / "preprocessed", tmp_path / "raw/Dataset004_Hippocampus/labelsTr"
    preprocessed.mkdir()
    truth.mkdir(parents=True)
    for case in "ab":
        write(truth / f"{case}.nii.gz", (voxels() > 12).astype(np.uint8), (1.5, 1.0, 0.8))
        image, properties = by_name("SimpleITKIO").read_images([images / f"{case}_0000.nii.gz"])
        seg = by_name("SimpleITKIO").read_label(truth / f"{case}.nii.gz")
        write_case(preprocessed, case, *preprocess_image(image, properties, plans, "small", dataset, seg), (16, 16, 16))
    trained = []
    for number, name in enumerate(("one", "two")):
        folder = models.write(tmp_path / name, plans.content, dataset, folds=("0", "1"), mirror_axes=())
        trained.append(folder)
        for fold, case in (("0", "a"), ("1", "b")):
            validate(
                models.network(plans.content, dataset, seed=number),
                plans=plans,
                configuration="small",
                dataset_json=dataset,
                store=PreprocessedFolder(preprocessed),
                cases=[case],
                ground_truth=truth,
                out=folder / f"fold_{fold}/validation",
                save_probabilities=True,
            )
    with in_threads(), quiet(), mock.patch(f"{accumulate_cv_results.__module__}.nnUNet_raw", str(tmp_path / "raw")):
        ensemble_crossvalidations([str(folder) for folder in trained], str(tmp_path / "ensemble"), (0, 1), 1)
        accumulate_cv_results(str(trained[0]), str(tmp_path / "accumulated"), (0, 1), num_processes=1)
    for fold, case in (("0", "a"), ("1", "b")):
        label = by_name("SimpleITKIO").read_label(tmp_path / f"ensemble/{case}.nii.gz")
        folders = [folder / f"fold_{fold}/validation" for folder in trained]
        np.testing.assert_array_equal(label[0], expected(folders, case, dataset))
    summary = json.loads((tmp_path / "accumulated/summary.json").read_text())
    assert len(summary["metric_per_case"]) == 2
