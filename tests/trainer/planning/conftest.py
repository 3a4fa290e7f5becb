"""A fingerprint and plans to start from."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from nnunet_trainer.planning.planners.experiment import plan

INTENSITIES = {
    "max": 900.0,
    "mean": 40.0,
    "median": 38.0,
    "min": -1000.0,
    "percentile_00_5": -900.0,
    "percentile_99_5": 800.0,
    "std": 120.0,
}
DATASET_JSON: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 40,
    "file_ending": ".nii.gz",
}
FINGERPRINT: dict[str, Any] = {
    "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
    "median_relative_size_after_cropping": 0.99,
    "shapes_after_crop": [[120, 512, 512], [130, 512, 512], [110, 480, 500]],
    "spacings": [[3.0, 0.78, 0.78], [2.5, 0.8, 0.8], [3.0, 0.75, 0.75]],
}


@pytest.fixture
def fingerprint() -> dict[str, Any]:
    return deepcopy(FINGERPRINT)


@pytest.fixture
def dataset_json() -> dict[str, Any]:
    return deepcopy(DATASET_JSON)


@pytest.fixture
def plans(fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> dict[str, Any]:
    """Plans of CT volumes: all four configurations."""
    return plan(fingerprint, dataset_json, dataset_name="Dataset050_CT", reader="SimpleITKIO")
