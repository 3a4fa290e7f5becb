"""Small model folders with random weights, in nnU-Net's own format."""

import copy
import json

import numpy as np
import torch
from nnunet_trainer.architecture import build
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Plans
from support.trainings import plans as skeleton

DATASET = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
    "numTraining": 12,
    "file_ending": ".nii.gz",
}

REGIONS = {
    **DATASET,
    "labels": {"background": 0, "whole": [1, 2], "Posterior": 2, "ignore": 3},
    "regions_class_order": [1, 2],
}


def architecture(dimension):
    return skeleton.unet(dimension, [3, 4], blocks=[1, 1], decoder=[1])


def plans(*, spacing=(1.0, 1.0, 1.0), patch=(32, 48, 32), transpose=(0, 1, 2)):
    configuration = skeleton.configuration(
        data_identifier="nnUNetPlans_small",
        patch_size=list(patch),
        median_image_size_in_voxels=[36.0, 50.0, 35.0],
        spacing=list(spacing),
        architecture=architecture(len(patch)),
    )
    return skeleton.plans(
        "Dataset004_Hippocampus",
        {"small": configuration},
        transpose_forward=list(transpose),
        transpose_backward=[int(i) for i in np.argsort(transpose)],
    )


def network(content, dataset_json, seed=0):
    """A network whose logits differ enough for a segmentation with all labels."""
    torch.manual_seed(seed)
    heads = LabelManager(dataset_json).num_segmentation_heads
    small = Plans(content).configuration("small")
    made = build(small.architecture, small.num_input_channels(dataset_json), heads, False)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "seg_layers" in name and name.endswith("weight"):
                value.mul_(5)
    return made.eval()


def write(folder, content, dataset_json, *, folds=("0",), mirror_axes=None):
    """Write a model folder as nnU-Net does; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(content))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    axes = range(len(content["configurations"]["small"]["patch_size"])) if mirror_axes is None else mirror_axes
    for number, fold in enumerate(folds):
        place = folder / f"fold_{fold}"
        place.mkdir(exist_ok=True)
        checkpoint = {
            "network_weights": network(content, dataset_json, seed=number).state_dict(),
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {"ema_fg_dice": [np.float64(0.5)]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1,
            "init_args": {"plans": copy.deepcopy(content), "configuration": "small", "fold": fold, "dataset_json": dataset_json},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": tuple(axes),
        }
        torch.save(checkpoint, place / "checkpoint_final.pth")
    return folder
