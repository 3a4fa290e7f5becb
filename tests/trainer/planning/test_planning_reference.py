"""Plans against the wheel's, over random fingerprints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.planning import planner_presets
from nnunet_trainer.planning.planners.experiment import plan
from support.datasets import SOURCE
from support.third_party import wheel

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore:WARNING")]

PLANNERS = sorted(planner_presets.v2.PRESETS)
KINDS: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "isotropic": ((1.0, 1.0, 1.0), (150, 170, 160)),
    "ct": ((3.0, 0.78, 0.78), (110, 512, 512)),
    "anisotropic": ((10.0, 1.4, 1.5), (10, 250, 220)),
    "last axis worst": ((0.8, 0.8, 5.0), (380, 400, 40)),
    "small": ((1.0, 1.0, 1.0), (36, 50, 35)),
    "2d": ((999.0, 1.0, 1.0), (1, 500, 620)),
}


def fingerprint(rng: np.random.Generator, kind: str, cases: int, channels: int) -> dict[str, Any]:
    spacing, shape = KINDS[kind]
    spacings, shapes = [], []
    for _ in range(cases):
        vary = rng.uniform(0.7, 1.4, 3) if kind != "2d" else np.ones(3)
        spacings.append([float(np.float32(s * v)) for s, v in zip(spacing, vary, strict=True)])
        shapes.append([1 if n == 1 else int(n * rng.uniform(0.8, 1.2)) for n in shape])
    names = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")
    properties = {str(c): {name: float(rng.normal(0, 100)) for name in names} for c in range(channels)}
    return {
        "foreground_intensity_properties_per_channel": properties,
        "median_relative_size_after_cropping": float(rng.uniform(0.5, 1)),
        "shapes_after_crop": shapes,
        "spacings": spacings,
    }


def raw_dataset(folder: Path, dataset_json: dict[str, Any]) -> Path:
    raw = folder / "raw" / "Dataset077_Made"
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(dataset_json))
    first = next(iter(RawDataset.open(SOURCE).cases.values())).images[0]
    (raw / "imagesTr" / "case_0000.nii.gz").write_bytes(first.read_bytes())
    return raw


def test_every_planner_of_the_wheel_is_here() -> None:
    theirs = wheel.planners()
    assert len(theirs) > 5
    assert set(PLANNERS) == set(theirs)  # no exceptions


# A planner whose name has a suffix differs from another in its resampling only.
PAIRS = [(planner, kind) for planner in PLANNERS for kind in KINDS if "_" not in planner or kind in ("small", "2d")]


@pytest.mark.parametrize(("planner", "kind"), PAIRS)
def test_plans_equal_the_wheels(tmp_path: Path, planner: str, kind: str) -> None:
    rng = np.random.default_rng([PLANNERS.index(planner), list(KINDS).index(kind)])
    channels = [["CT"], ["MRI", "zscore"], ["nonorm"], ["rescale_to_0_1", "rgb_to_0_1", "T1"]][int(rng.integers(4))]
    labels: dict[str, Any] = {"background": 0, "a": 1, "b": 2}
    if rng.integers(2):
        labels["ignore"] = 3
    cases = int(rng.integers(1, 60))
    dataset_json = {
        "channel_names": {str(i): n for i, n in enumerate(channels)},
        "labels": labels,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    raw = raw_dataset(tmp_path, dataset_json)
    found = fingerprint(rng, kind, cases, len(channels))
    work = tmp_path / "work"
    (work / raw.name).mkdir(parents=True)
    (work / raw.name / "dataset_fingerprint.json").write_text(json.dumps(found))
    options: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    if rng.integers(2):
        gb = float(rng.choice([4, 11, 16, 40]))
        options["gpu_memory_gb"], arguments["gpu_memory_target_in_gb"] = gb, gb
    if rng.integers(3) == 0 and kind != "2d":
        target = [float(s) for s in rng.uniform(0.6, 3, 3)]
        options["target_spacing"], arguments["overwrite_target_spacing"] = target, target
    expected = wheel.plan(raw, work, planner, **arguments)
    ours = plan(found, dataset_json, dataset_name=raw.name, reader="SimpleITKIO", planner=planner, **options)
    assert json.dumps(ours) == json.dumps(expected)  # the order of keys too


def test_patch_and_custom_configuration_load_in_the_wheel(tmp_path: Path) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    rng = np.random.default_rng(5)
    dataset_json = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "numTraining": 9, "file_ending": ".nii.gz"}
    ours = plan(
        fingerprint(rng, "small", 9, 1),
        dataset_json,
        dataset_name="Dataset077_Made",
        reader="SimpleITKIO",
        patch={"configurations": {"3d_small": {"inherits_from": "3d_fullres", "batch_size": 3}}},
    )
    theirs = PlansManager(ours).get_configuration("3d_small")
    assert theirs.batch_size == 3
    assert theirs.patch_size == ours["configurations"]["3d_fullres"]["patch_size"]
