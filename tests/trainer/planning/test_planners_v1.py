"""nnU-Net v1's planners: the numbers that it was published with, and what each of its planners does otherwise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from nnunet_trainer.planning.architectures.feature_maps import fabians_unet_size, generic_unet_size
from nnunet_trainer.planning.planner_presets import PLANNERS, v1
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.preprocessing.normalization import normalize


class Task(NamedTuple):
    """A dataset of the Medical Segmentation Decathlon: spacing (mm), median shape, channels, labels with background, cases."""

    spacing: tuple[float, ...]
    shape: tuple[int, ...]
    channels: int
    labels: int
    cases: int


TASKS = {
    "BrainTumour": Task((1, 1, 1), (138, 170, 138), 4, 4, 484),
    "Heart": Task((1.37, 1.25, 1.25), (115, 320, 232), 1, 2, 20),
    "Liver": Task((1, 0.767578125, 0.767578125), (482, 512, 512), 1, 3, 131),
    "Hippocampus": Task((1, 1, 1), (36, 50, 35), 1, 3, 260),
    "Prostate": Task((3.6, 0.625, 0.625), (20, 320, 319), 2, 3, 32),
    "Lung": Task((1.24, 0.785, 0.785), (252, 512, 512), 1, 2, 63),
    "Pancreas": Task((2.5, 0.8027, 0.8027), (96, 512, 512), 1, 3, 281),
    "HepaticVessel": Task((1.5, 0.7988, 0.7988), (150, 512, 512), 1, 3, 303),
    "Spleen": Task((1.6, 0.79, 0.79), (187, 512, 512), 1, 2, 41),
    "Colon": Task((3, 0.78125, 0.78125), (150, 512, 512), 1, 2, 126),
}
# Patch and batch of 3d_fullres and 2d, as nnU-Net v1 was published with them (Isensee et al. 2021, supplementary information).
PUBLISHED: dict[str, tuple[list[int], int, list[int] | None, int | None]] = {
    "BrainTumour": ([128, 128, 128], 2, None, None),
    "Heart": ([80, 192, 160], 2, [320, 256], 40),
    "Liver": ([128, 128, 128], 2, [512, 512], 12),
    "Hippocampus": ([40, 56, 40], 9, [56, 40], 366),
    "Prostate": ([20, 320, 256], 2, [320, 320], 32),
    "Lung": ([80, 192, 160], 2, [512, 512], 12),
    "Pancreas": ([40, 224, 224], 2, [512, 512], 12),
    "HepaticVessel": ([64, 192, 192], 2, [512, 512], 12),
    "Spleen": ([64, 192, 160], 2, [512, 512], 12),
    "Colon": ([56, 192, 160], 2, [512, 512], 12),
}


def planned(task: str, planner: str, modality: str = "MRI", **options: Any) -> dict[str, Any]:
    about = TASKS[task]
    return planned_of([about.spacing] * 3, [about.shape] * 3, about, planner, modality, **options)


def planned_of(
    spacings: list[Any], shapes: list[Any], about: Task, planner: str, modality: str = "MRI", **options: Any
) -> dict[str, Any]:
    numbers = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    fingerprint = {
        "spacings": [list(map(float, spacing)) for spacing in spacings],
        "shapes_after_crop": [list(shape) for shape in shapes],
        "foreground_intensity_properties_per_channel": {str(c): numbers for c in range(about.channels)},
        "median_relative_size_after_cropping": 0.99,
    }
    dataset_json = {
        "channel_names": {str(c): modality for c in range(about.channels)},
        "labels": {("background", "a", "b", "c")[i]: i for i in range(about.labels)},
        "numTraining": about.cases,
    }
    return plan(fingerprint, dataset_json, dataset_name="Dataset001_A", reader="SimpleITKIO", planner=planner, **options)


@pytest.mark.parametrize("task", TASKS)
def test_patch_and_batch_are_those_published(task: str) -> None:
    three, batch, two, batch_2d = PUBLISHED[task]
    plans = planned(task, "ExperimentPlanner3D_v21", per_configuration={"2d": {"name": "ExperimentPlanner2D_v21"}})[
        "configurations"
    ]
    assert (plans["3d_fullres"]["patch_size"], plans["3d_fullres"]["batch_size"]) == (three, batch)
    if two is not None:
        assert (plans["2d"]["patch_size"], plans["2d"]["batch_size"]) == (two, batch_2d)
    lowres = {"BrainTumour", "Heart", "Hippocampus", "Prostate"}
    assert ("3d_lowres" in plans) == (task not in lowres)


# What v1's own classes (nnU-Net 1.7.0) plan for these datasets.
@pytest.mark.parametrize(
    ("name", "task", "patch", "batch"),
    [
        ("ExperimentPlanner3D_v21_16GB", "Pancreas", [48, 256, 256], 2),
        ("ExperimentPlanner3DFabiansResUNet_v21", "Pancreas", [40, 224, 192], 2),
        ("ExperimentPlanner3D_v21_customTargetSpacing_2x2x2", "Liver", [128, 128, 128], 2),
        ("ExperimentPlanner3D_v21_customTargetSpacing_2x2x2", "BrainTumour", [80, 96, 80], 8),
        ("ExperimentPlannerAllConv3x3", "Heart", [64, 192, 160], 2),
        # Of axes that are equal the last is shrunk first.
        ("ExperimentPlannerIso", "Prostate", [20, 320, 256], 2),
        ("ExperimentPlannerIso", "Pancreas", [56, 192, 160], 2),
        ("ExperimentPlanner3D_IsoPatchesInVoxels", "Prostate", [20, 320, 256], 2),
        ("ExperimentPlanner3D_IsoPatchesInVoxels", "Pancreas", [96, 160, 128], 2),
        # The first patch counts before it is padded for pooling.
        ("ExperimentPlanner3D_residual_v21_bfnnUNet", "BrainTumour", [96, 192, 160], 4),
        ("ExperimentPlanner3D_residual_v21_bfnnUNet_31_spRegnnU", "BrainTumour", [80, 256, 224], 2),
        ("ExperimentPlanner3D_residual_v21_bfnnUNet_31_spRegnnU", "Prostate", [40, 320, 320], 2),
    ],
)
def test_patch_and_batch_of_the_other_planners(name: str, task: str, patch: list[int], batch: int) -> None:
    found = planned(task, name)["configurations"]["3d_fullres"]
    assert (found["patch_size"], found["batch_size"]) == (patch, batch)


@pytest.mark.parametrize(
    ("name", "first", "order_z"),
    [
        ("ExperimentPlanner3D_v21", 1.0, (0, 0)),  # the 10th percentile, as it is not below the other axes
        ("ExperimentPlanner3D_v22", 1.5, (0, 0)),  # at least three times the others
        ("ExperimentPlanner3D_v23", 1.0, (3, 1)),  # v21's spacing; splines along that axis
        ("ExperimentPlannerTargetSpacingForAnisoAxis", 1.0, (0, 0)),
        ("ExperimentPlannerPoolBasedOnSpacing", 4.0, (0, 0)),  # the median
    ],
)
def test_an_axis_that_is_anisotropic_in_spacing_and_voxels(name: str, first: float, order_z: tuple[int, int]) -> None:
    spacings = [[1.0, 0.5, 0.5]] * 2 + [[4.0, 0.5, 0.5]] * 8
    found = planned_of(spacings, [[20, 320, 320]] * 10, TASKS["Prostate"], name)["configurations"]["3d_fullres"]
    assert found["spacing"] == [pytest.approx(first), 0.5, 0.5]
    assert tuple(found[f"resampling_fn_{what}_kwargs"]["order_z"] for what in ("data", "seg")) == order_z


def test_a_median_between_two_voxels_is_rounded() -> None:
    shapes = [[80, 96, 96], [81, 96, 96]]
    found = planned_of([[1, 1, 1]] * 2, shapes, TASKS["Heart"], "ExperimentPlanner3D_v21")["configurations"]["3d_fullres"]
    assert found["patch_size"] == [80, 96, 96]


def test_the_references_are_those_of_the_networks_they_came_from() -> None:
    """v1 wrote the values of its own formula (and one more in 3D) into the class."""
    strides = [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2]]
    features = [min(320, 32 * 2**stage) for stage in range(7)]
    blocks, decoder = (1, 2, 3, 4, 4, 4, 4, 4), (1,) * 7
    found = fabians_unet_size([20, 320, 256], strides, features, blocks=blocks, decoder=decoder, channels=2, outputs=3)
    assert found + 1 == 1_230_348_801
    assert v1.PRESETS["ExperimentPlanner3DFabiansResUNet_v21"].reference_3d == found + 1
    features = [min(512, 30 * 2**stage) for stage in range(8)]
    two = {"blocks": blocks, "decoder": decoder, "channels": 1, "outputs": 3, "batch": 12}
    assert fabians_unet_size([512, 512], [[1, 1], *[[2, 2]] * 7], features, **two) == 1_244_233_728  # type: ignore[arg-type]


def test_the_formula_of_the_generic_u_net() -> None:
    # (2c + 1)·V·F + (modalities + classes)·V, then 2c + 1 and at last c feature maps a stage.
    found = generic_unet_size([8, 8], [[1, 1], [2, 2], [2, 2]], [10, 20, 40], convolutions=2, channels=1, outputs=3)
    assert found == 5 * 64 * 10 + 4 * 64 + 5 * 16 * 20 + 2 * 4 * 40


@pytest.mark.parametrize("name", list(PLANNERS))
@pytest.mark.parametrize("task", ["Prostate", "Hippocampus"])
def test_every_planner_plans(name: str, task: str) -> None:
    plans = planned(task, name)
    own = PLANNERS[name].make()
    assert (plans["plans_name"], plans["experiment_planner_used"]) == (own.plans_name, name)
    assert "plugins" not in plans


def test_names_of_plans_are_one_planners() -> None:
    names = [PLANNERS[name].make().plans_name for name in PLANNERS]
    assert len(set(names)) == len(names)


FULLRES = "3d_fullres"


@pytest.mark.parametrize(
    ("name", "task", "modality", "field", "expected"),
    [
        ("ExperimentPlanner3D_v21_customTargetSpacing_2x2x2", "Liver", "CT", "spacing", [2.0, 2.0, 2.0]),
        ("ExperimentPlannerCT2", "Liver", "CT", "normalization_schemes", ["CT2Normalization"]),
        ("ExperimentPlannerCT2", "Liver", "MRI", "normalization_schemes", ["ZScoreNormalization"]),
        ("ExperimentPlannernonCT", "Liver", "CT", "normalization_schemes", ["ZScoreNormalization"]),
        ("ExperimentPlanner2D_v21_RGB_scaleTo_0_1", "Heart", "R", "normalization_schemes", ["RGBTo01Normalization"]),
        ("ExperimentPlanner3D_v21_noResampling", "Liver", "CT", "resampling_fn_data", "no_resampling_hack"),
        (
            "ExperimentPlanner3D_residual_v21_bfnnUNet_31",
            "Liver",
            "CT",
            "resampling_fn_seg_kwargs",
            {"is_seg": True, "order": 3, "order_z": 0, "force_separate_z": False},
        ),
        (
            "ExperimentPlanner3D_v23",
            "Prostate",
            "MRI",
            "resampling_fn_data_kwargs",
            {"is_seg": False, "order": 3, "order_z": 3, "force_separate_z": None},
        ),
    ],
)
def test_what_a_planner_does_otherwise(name: str, task: str, modality: str, field: str, expected: Any) -> None:
    assert planned(task, name, modality)["configurations"][FULLRES][field] == expected


def test_a_larger_gpu_has_a_larger_patch() -> None:
    names = [f"ExperimentPlanner3D_v21{memory}" for memory in ("", "_11GB", "_16GB", "_32GB")]
    voxels = [np.prod(planned("Liver", name)["configurations"][FULLRES]["patch_size"]) for name in names]
    batches = [planned("Liver", name)["configurations"][FULLRES]["batch_size"] for name in names]
    assert np.all(np.diff(np.array(voxels) * batches) > 0)
    ratio = PLANNERS[names[3]].make().reference_3d / PLANNERS[names[1]].make().reference_3d
    assert ratio == pytest.approx(32 / 11)


def test_more_of_what_planners_do_otherwise() -> None:
    def network(name: str, task: str = "Prostate") -> dict[str, Any]:
        found: dict[str, Any] = planned(task, name)["configurations"][FULLRES]["architecture"]
        return found

    assert set(network("ExperimentPlanner3D_v21_3cps")["arch_kwargs"]["n_conv_per_stage"]) == {3}
    assert network("ExperimentPlanner3DFabiansResUNet_v21")["network_class_name"].endswith("ResidualEncoderUNet")
    assert {n for row in network("ExperimentPlannerAllConv3x3")["arch_kwargs"]["kernel_sizes"] for n in row} == {3}
    late = network("ExperimentPlannerCT2")["arch_kwargs"]["strides"]
    assert (late[1], late[-1]) == ([1, 2, 2], [2, 2, 2])  # the short axis is pooled last
    assert network("ExperimentPlanner3D_v21")["arch_kwargs"]["strides"][1] == [1, 2, 2]
    assert "3d_lowres" not in planned("Liver", "ExperimentPlanner3D_v21_noResampling")["configurations"]
    voxels = planned("Liver", "ExperimentPlanner3D_IsoPatchesInVoxels")["configurations"][FULLRES]["patch_size"]
    assert max(voxels) - min(voxels) <= 32
    spacing = np.array(TASKS["Colon"].spacing)
    edges = np.array(planned("Colon", "ExperimentPlannerIso")["configurations"][FULLRES]["patch_size"]) * spacing
    assert edges.max() / edges.min() < 1.35


def test_a_configuration_of_another_planner_keeps_its_data_apart() -> None:
    """Its data is normalized otherwise: under the plans' own identifier it would be taken for that, or write over it."""
    plans = planned("Liver", "ExperimentPlanner", "CT", per_configuration={"2d": {"name": "ExperimentPlannerCT2"}})[
        "configurations"
    ]
    assert plans["2d"]["data_identifier"] == "nnUNetPlansCT2_2d"
    assert plans["3d_fullres"]["data_identifier"] == "nnUNetPlans_3d_fullres"
    same = planned("Liver", "ExperimentPlanner", "CT", per_configuration={"2d": {"name": "nnUNetPlannerResEncL"}})["configurations"]
    assert same["2d"]["data_identifier"] == "nnUNetPlans_2d"


def test_batch_before_patch() -> None:
    before = planned("Liver", "ExperimentPlanner")["configurations"][FULLRES]
    parameters = {"patchAndBatch": {"name": "BatchBeforePatch", "batch3d": 6}}
    after = planned("Liver", "ExperimentPlanner", parameters=parameters)["configurations"][FULLRES]
    assert (before["batch_size"], after["batch_size"]) == (2, 6)
    assert np.prod(after["patch_size"]) < np.prod(before["patch_size"]) / 2


def test_ct2_is_the_images_own_mean_within_the_datasets_percentiles() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 300, (1, 4, 9, 8)).astype(np.float32)
    properties = {"percentile_00_5": -200.0, "percentile_99_5": 250.0}
    inside = image[(image > -200) & (image < 250)].astype(np.float64)
    expected = (np.clip(image.astype(np.float64), -200, 250) - inside.mean()) / inside.std()
    seg = np.zeros((1, 4, 9, 8), np.int8)
    normalize(image, seg, ["CT2Normalization"], [False], {"0": properties})
    np.testing.assert_allclose(image, expected, rtol=1e-4, atol=1e-4)
