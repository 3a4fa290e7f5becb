"""Trainings with other sets of transforms, and with changes of single numbers in them."""

import math

import pytest
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.training.loop.fold_training import train

from ..conftest import dataset_json

REGIONS = {"background": 0, "shell": [1], "both": [0, 1], "ignore": 2}


@pytest.mark.parametrize(
    ("configuration", "augmentation"),
    [
        ("3d_fullres", "DA5"),
        ("2d", {"name": "DA5", "noise": {"probability": 1.0}, "sharpening": None}),
        ("3d_fullres", {"name": "DA3", "spatial": {"elasticProbability": 1.0}}),
        ("2d", {"name": "insaneDA", "spatial": {"elasticProbability": 1.0, "imageOrder": 1}}),
    ],
)
def test_regions_and_ignored_voxels_survive(setup, configuration, augmentation):
    described = dataset_json(REGIONS, regions_class_order=[1, 1])
    changes = {"epochs": 1, "augmentation": augmentation}
    result = train(setup(changes, configuration=configuration, dataset_json=described))
    assert math.isfinite(result.train_loss)


@pytest.mark.parametrize(
    ("augmentation", "axes"),
    [("DA5OnlyMirror01", (0, 1)), ({"mirrorAxes": [2]}, (2,)), ({"name": "DA5", "mirrorAxes": []}, None)],
)
def test_prediction_mirrors_what_training_mirrored(setup, augmentation, axes):
    chosen = setup({"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1, "augmentation": augmentation})
    result = train(chosen)
    found = checkpoint.load(result.folder / "checkpoint_final.pth")["inference_allowed_mirroring_axes"]
    assert (None if found is None else tuple(found)) == axes
