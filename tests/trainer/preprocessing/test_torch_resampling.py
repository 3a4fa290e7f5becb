"""Linear resampling by torch against the wheel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.preprocessing.resampling import resampling
from support.datasets import blobs, make_dataset

from .test_preprocessing_reference import compare

NAME = "resample_torch_fornnunet"
SHAPES = st.lists(st.integers(1, 12), min_size=3, max_size=3).map(tuple)
SPACINGS = st.sampled_from([(5.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 5.0), (5.0, 5.0, 1.0), (1.0, 1.0, 1.0)])


@pytest.mark.reference
@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES,
    new_shape=SHAPES,
    double=st.booleans(),
    spacing=SPACINGS,
    options=st.fixed_dictionaries(
        {
            "is_seg": st.booleans(),
            "force_separate_z": st.sampled_from([None, False, True]),
            "memefficient_seg_resampling": st.booleans(),
            "mode": st.sampled_from(["linear", "linear", "bilinear"]),
        }
    ),
    labels=st.sampled_from([2, 5, 200]),
    seed=st.integers(0, 99),
)
def test_as_the_wheel(
    shape: tuple[int, ...],
    new_shape: tuple[int, ...],
    double: bool,
    spacing: tuple[float, ...],
    options: dict[str, Any],
    labels: int,
    seed: int,
) -> None:
    from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet as theirs

    rng = np.random.default_rng(seed)
    goal = tuple(2 * n for n in shape) if double else new_shape  # whole factors give exact ties
    if options["is_seg"]:
        data = (blobs(rng, shape, labels)[None] if labels < 9 else rng.integers(0, labels, (1, *shape))).astype(np.float32) - 1
    else:
        data = rng.normal(0, 2, (2, *shape)).astype(np.float32)
    expected = theirs(data, goal, spacing, (1.0, 1.0, 1.0), **options)
    ours = resampling.by_name(NAME, options)(data.astype(np.int16) if options["is_seg"] else data, goal, spacing, (1.0, 1.0, 1.0))
    assert ours.shape == expected.shape
    if options["is_seg"]:
        assert np.array_equal(ours, expected)
    else:
        assert ours.dtype == np.float32
        assert np.abs(ours - expected).max() < 1e-6


@pytest.mark.reference
@pytest.mark.parametrize(
    "planner", ["nnUNetPlanner_torchres", "nnUNetPlannerResEncL_torchres_sepz", "nnUNetPlannerResEncL_noResampling"]
)
def test_whole_cases_as_the_wheel(tmp_path: Path, planner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4}
    folder = make_dataset(
        tmp_path / "Dataset001_T",
        channels=("CT", "MRI"),
        spacing=(4.0, 0.9, 1.0),
        values=4,
        labels=labels,
        regions_class_order=[1, 2],
    )
    raw = RawDataset.open(folder)
    compare(raw, "3d_fullres", planner=planner, target_spacing=[2.5, 1.2, 0.8])
    compare(raw, "2d", planner=planner, target_spacing=[2.5, 1.2, 0.8])


def test_refused() -> None:
    with pytest.raises(BadConfiguration, match="takes no argument 'order'"):
        resampling.by_name(NAME, {"order": 3})
    with pytest.raises(BadConfiguration, match="Did you mean resample_torch_fornnunet"):
        resampling.by_name("resample_torch_for_nnunet", {})
