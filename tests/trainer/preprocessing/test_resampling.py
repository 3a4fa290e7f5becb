"""Resampling against skimage's resize and batchgenerators' resize_segmentation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.preprocessing.resampling import anisotropy, resampling
from nnunet_trainer.preprocessing.resampling.label_resampling import resize_labels
from support.datasets import blobs

SHAPES = st.lists(st.integers(1, 14), min_size=3, max_size=3).map(tuple)


@pytest.mark.reference
@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, new_shape=SHAPES, order=st.integers(0, 5), seed=st.integers(0, 99))
def test_images_as_skimage(shape: tuple[int, ...], new_shape: tuple[int, ...], order: int, seed: int) -> None:
    from skimage.transform import resize

    image = np.random.default_rng(seed).normal(0, 3, shape)
    target = np.empty(new_shape)
    resampling.resize(image, target, order)
    expected = resize(image, new_shape, order, mode="edge", anti_aliasing=False)
    if order == 0:
        # A sample exactly between two voxels may fall to either by rounding.
        assert np.mean(target != expected) < 0.02 or any(
            2 * n % m == 0 or n % m == 0 for n, m in zip(shape, new_shape, strict=True)
        )
    else:
        assert np.abs(target - expected).max() < 1e-11


@pytest.mark.reference
@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    data=st.data(),
    labels=st.integers(1, 6),
    order=st.sampled_from([0, 1, 1, 1, 3]),
    noisy=st.booleans(),
    seed=st.integers(0, 99),
)
def test_labels_as_batchgenerators(shape: list[int], data: st.DataObject, labels: int, order: int, noisy: bool, seed: int) -> None:
    from batchgenerators.augmentations.utils import resize_segmentation

    factor = data.draw(st.sampled_from([None, 2, 3]))  # whole factors give exact ties
    size = st.integers(1, 18)
    new = [n * factor for n in shape] if factor else data.draw(st.lists(size, min_size=len(shape), max_size=len(shape)))
    rng = np.random.default_rng(seed)
    segmentation = rng.integers(-1, labels, tuple(shape)) if noisy else blobs(rng, tuple(shape), labels)
    expected = resize_segmentation(segmentation.astype(np.float32), tuple(new), order)
    assert np.array_equal(resize_labels(segmentation.astype(np.int16), tuple(new), order), expected)


@pytest.mark.reference
@settings(max_examples=40, deadline=None)
@given(
    shape=SHAPES,
    new_shape=SHAPES,
    spacing=st.sampled_from([(5.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 5.0), (5.0, 5.0, 1.0), (1.0, 1.0, 1.0)]),
    is_seg=st.booleans(),
    order_z=st.sampled_from([0, 0, 1]),
    seed=st.integers(0, 20),
)
def test_the_separate_axis_as_the_wheel(
    shape: tuple[int, ...], new_shape: tuple[int, ...], spacing: tuple[float, ...], is_seg: bool, order_z: int, seed: int
) -> None:
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape as theirs

    rng = np.random.default_rng(seed)
    data = rng.integers(0, 4, (2, *shape)).astype(np.float32) if is_seg else rng.normal(0, 1, (2, *shape)).astype(np.float32)
    options = {"is_seg": is_seg, "order": 1 if is_seg else 3, "order_z": order_z, "force_separate_z": None}
    expected = theirs(data, new_shape, spacing, (1.0, 1.0, 1.0), **options)
    ours = resampling.resample_data_or_seg_to_shape(
        data.astype(np.int16) if is_seg else data, new_shape, spacing, (1.0, 1.0, 1.0), **options
    )
    if is_seg:
        assert np.array_equal(ours, expected)
    else:
        assert np.abs(ours - expected).max() < 1e-5


@pytest.mark.reference
@settings(max_examples=200, deadline=None)
@given(
    spacing=st.lists(st.sampled_from([0.5, 1.0, 1.0, 2.9, 3.1, 5.0]), min_size=3, max_size=3),
    new_spacing=st.lists(st.sampled_from([0.5, 1.0, 1.0, 2.9, 3.1, 5.0]), min_size=3, max_size=3),
    force=st.sampled_from([None, True, False]),
)
def test_which_axis_is_separate_as_the_wheel(spacing: list[float], new_spacing: list[float], force: bool | None) -> None:
    from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

    separate, axis = determine_do_sep_z_and_axis(force, spacing, new_spacing)
    assert anisotropy.separate_axis(spacing, new_spacing, force) == (axis if separate else None)


def test_the_same_shape_is_the_same_array() -> None:
    data = np.zeros((1, 3, 4, 5), np.float32)
    assert resampling.resample_data_or_seg_to_shape(data, (3, 4, 5), (1, 1, 1), (1, 1, 1)) is data


def test_the_result_stays_within_the_range_of_the_image() -> None:
    image = np.zeros((1, 9, 9, 9), np.float32)
    image[0, 4, 4, 4] = 1  # a cubic spline overshoots beside an edge
    resized = resampling.resample_data_or_seg_to_shape(image, (20, 20, 20), (1, 1, 1), (0.45, 0.45, 0.45))
    assert resized.min() == 0
    assert 0 < resized.max() <= 1


def test_names_and_arguments() -> None:
    with pytest.raises(BadConfiguration, match="no resampling function named 'resample'"):
        resampling.by_name("resample", {})
    with pytest.raises(BadConfiguration, match="takes no argument 'orders'"):
        resampling.by_name("resample_data_or_seg_to_shape", {"orders": 3})
