"""A small preprocessed dataset that a network can learn in seconds, made once."""

import json
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer.preprocessing.storage import write_case
from nnunet_trainer.training.recipes.recipe import read
from nnunet_trainer.training.session.setup import TrainingSetup

from trainer.architecture.plans import plain

DATASET = "Dataset901_Balls"
SHAPE = (14, 18, 20)
LABELS = {"background": 0, "shell": 1, "core": 2}


def plans(**configuration):
    """Plans with one small 3D and one small 2D configuration."""
    shared = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": list(SHAPE),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "3d_fullres": {
                **shared,
                "batch_size": 2,
                "patch_size": [8, 16, 16],
                "spacing": [1.0, 1.0, 1.0],
                "architecture": plain(3),
                **configuration,
            },
            "2d": {**shared, "batch_size": 3, "patch_size": [16, 16], "spacing": [1.0, 1.0], "architecture": plain(2)},
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
    }


def dataset_json(labels=None, **more):
    """dataset.json of the balls."""
    return {"channel_names": {"0": "MRI"}, "labels": labels or LABELS, "numTraining": 6, "file_ending": ".nii.gz", **more}


def write_balls(folder: Path, cases: int = 6) -> None:
    """Noisy images of a ball (label 1) with a core (label 2)."""
    identifier = folder / "nnUNetPlans_3d_fullres"
    identifier.mkdir(parents=True)
    rng = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    for i in range(cases):
        centre = np.array(SHAPE) / 2 + rng.uniform(-2, 2, 3)
        distance = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(0))
        seg = np.where(distance < 3, 2, np.where(distance < 6, 1, 0)).astype(np.int16)
        image = (seg + 0.3 * rng.standard_normal(SHAPE)).astype(np.float32)
        locations = {}
        for label in (1, 2):
            voxels = np.argwhere(seg == label)
            locations[label] = np.concatenate((np.zeros((len(voxels), 1), np.int64), voxels), axis=1)
        write_case(
            identifier, f"ball_{i:02d}", image[None], seg[None], {"class_locations": locations, "spacing": [1, 1, 1]}, [8, 16, 16]
        )
    names = [f"ball_{i:02d}" for i in range(cases)]
    splits = [
        {"train": [n for j, n in enumerate(names) if j % 5 != k], "val": [n for j, n in enumerate(names) if j % 5 == k]}
        for k in range(5)
    ]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    (folder / "dataset_fingerprint.json").write_text("{}")


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory):
    """nnUNet_preprocessed/Dataset901_Balls."""
    folder = tmp_path_factory.mktemp("preprocessed") / DATASET
    write_balls(folder)
    return folder


def short_setup(preprocessed, results, changes=None, **more):
    """A setup of a short training; keywords change it, `changes` its recipe."""
    recipe = read({"epochs": 2, "iterationsPerEpoch": 3, "validationIterations": 2, **(changes or {})})
    defaults = {
        "preprocessed": preprocessed,
        "results": results,
        "plans": plans(),
        "dataset_json": dataset_json(),
        "configuration": "3d_fullres",
        "fold": "0",
        "trainer": "nnUNetTrainer_short",
        "recipe": recipe,
        "device": "cpu",
        "workers": 0,
        "validation": False,
    }
    return TrainingSetup(**defaults | more)


@pytest.fixture
def setup(preprocessed, tmp_path):
    """`short_setup` with this test's own results."""

    def make(changes=None, **more):
        return short_setup(preprocessed, **{"results": tmp_path / "results", **more}, changes=changes)

    return make


@pytest.fixture(autouse=True)
def plots(monkeypatch, request):
    """Drawing progress.png takes longer than a small training does: only the test of a training's files draws it."""
    if request.node.name != "test_a_training_leaves_nnunets_files":
        monkeypatch.setattr(
            "nnunet_trainer.training.reporting.reporter.progress_plot", lambda logging, folder: folder / "progress.png"
        )
