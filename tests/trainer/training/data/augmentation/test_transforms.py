"""Each transform of DA5 and of version 1's sets, beside what it is to be equal to."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.training.data import spatial_placement
from nnunet_trainer.training.data.augmentation import Spatial, augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.data.augmentation.functional import elastic as on_device
from nnunet_trainer.training.data.augmentation.functional import filters as window_filters
from nnunet_trainer.training.data.augmentation.functional.channels import channels_of
from nnunet_trainer.training.data.augmentation.functional.filters import median
from nnunet_trainer.training.data.augmentation.functional.orientation import turned
from nnunet_trainer.training.data.augmentation.functional.separable import lower_resolution_cubic
from nnunet_trainer.training.data.augmentation.interpolation.cubic import sample_cubic, spline_coefficients
from nnunet_trainer.training.data.augmentation.transforms import elastic, filters, local, orientation
from nnunet_trainer.training.data.augmentation.transforms import intensity as it
from nnunet_trainer.training.data.augmentation.transforms.separable import down_and_up_cubic
from nnunet_trainer.training.data.augmentation.upload import uploaded
from nnunet_trainer.training.data.deformation import Deformation, by_scale, by_strength
from nnunet_trainer.training.data.randomness import SampleKey
from scipy import ndimage
from scipy.stats import ks_2samp

from .applied import applied

CPU = torch.device("cpu")
SHAPES = [(9, 14, 11), (17, 23)]


def image(shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def keys(count):
    return [SampleKey(seed=1, fold="0", epoch=0, iteration=0, slot=slot) for slot in range(count)]


# ---- filters


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", range(1, 8))
def test_the_median_is_scipys(shape, size):
    assert np.array_equal(median(image(shape), size).numpy(), ndimage.median_filter(image(shape).numpy(), size=size))


@pytest.mark.parametrize("values", [1, window_filters.WINDOW_VALUES])
@pytest.mark.parametrize("shape", [(2, 12, 9), (30, 1), (1, 30), (9, 1, 1), (1, 1, 9)])
def test_the_median_of_thin_patches_and_in_parts(shape, values, monkeypatch):
    monkeypatch.setattr(window_filters, "WINDOW_VALUES", values)
    thin = image(shape)
    for size in (2, 5):
        assert np.array_equal(median(thin, size).numpy(), ndimage.median_filter(thin.numpy(), size=size))


@pytest.mark.reference
@pytest.mark.parametrize("shape", SHAPES)
def test_sharpening_is_batchgenerators(shape):
    from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform

    rows = torch.stack([image(shape, 0), image(shape, 1)])
    for strength in (0.1, 0.7):
        expected = SharpeningTransform((strength, strength))(image=rows.clone())["image"]
        found = applied(filters.Sharpening(probability=1), rows.clone(), [strength] * 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


# ---- local


@pytest.mark.reference
@pytest.mark.parametrize("shape", SHAPES)
def test_bumps_are_batchgenerators(shape, monkeypatch):
    from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
    from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform

    rng = np.random.default_rng(0)
    for _ in range(8):
        bump = local.Bump(rng.uniform(-0.5, 1.5, len(shape)), rng.random(len(shape)), rng.uniform(0.3, 3))
        narrow = [max(1, edge // 6) for edge in shape]
        widths = [low * (edge / low) ** part for low, edge, part in zip(narrow, shape, bump.width, strict=True)]
        common = {"scale": lambda _, axis, w=widths: w[axis], "loc": lambda _, axis, b=bump: b.centre[axis]}
        rows = torch.stack([image(shape, 1), image(shape, 2)])
        theirs = BrightnessGradientAdditiveTransform(**common, max_strength=-bump.strength, mean_centered=False)
        expected = theirs(image=rows.clone())["image"]
        ours = applied(local.BrightnessGradient(), rows.clone(), [replace(bump, strength=-bump.strength)] * 2)
        torch.testing.assert_close(ours, expected, rtol=0, atol=2e-5)
        expected = LocalGammaTransform(**common, gamma=lambda b=bump: b.strength)(image=rows.clone())["image"]
        torch.testing.assert_close(applied(local.LocalGamma(), rows.clone(), [bump] * 2), expected, rtol=0, atol=2e-5)


def test_a_flat_bump_changes_nothing():
    bump = local.Bump(np.array([0.5, 0.5]), np.array([1.0, 1.0]), 3.0)
    rows = torch.full((1, 1, 1), 2.0)
    assert torch.equal(applied(local.BrightnessGradient(), rows.clone(), [bump]), rows)
    torch.testing.assert_close(applied(local.LocalGamma(), rows.clone(), [bump]), rows)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.integers(0, 2**32 - 1))
def test_rectangles_are_means_of_what_they_cover_and_within_bounds(shape, seed):
    rng = np.random.default_rng(seed)
    drawn = local.BlankRectangles(channel_probability=1.0).draw(rng, 2, len(shape))
    before = torch.arange(2.0 * math.prod(shape)).view(2, *shape)
    found = applied(local.BlankRectangles(), before.clone(), drawn)
    changed = (found != before).sum((*range(1, before.ndim),))
    largest = math.prod(max(1, edge // 10, edge // 3 - 1) for edge in shape)
    assert all(1 <= len(boxes) <= 4 for boxes in drawn)
    for row, boxes in enumerate(drawn):
        assert changed[row] <= largest * len(boxes)
    torch.testing.assert_close(found.mean(), before.mean(), rtol=1e-4, atol=1e-3)


@pytest.mark.reference
def test_rectangles_have_batchgenerators_sizes_and_places():
    from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform

    np.random.seed(0)
    shape = (31, 45)
    theirs = BlankRectangleTransform([[max(1, p // 10), p // 3] for p in shape], torch.mean, (1, 5), p_per_channel=1)
    rng, ours = np.random.default_rng(0), local.BlankRectangles(channel_probability=1.0)
    plain = torch.zeros(1, *shape)

    def boxes(make):
        for _ in range(1500):
            yield make()

    def their_box():
        rectangles = theirs.get_parameters(image=plain)["rectangles"][0]
        (low, high), *_ = rectangles
        return len(rectangles), high[0] - low[0], high[1] - low[1], low[0], low[1]

    def our_box():
        (drawn,) = ours.draw(rng, 1, 2)
        marks = torch.arange(float(math.prod(shape))).view(1, *shape)
        covered = (applied(ours, marks.clone(), [drawn[:1]]) != marks)[0]
        # The box's own mean may be the value of its middle voxel.
        rows, columns = covered.any(1).nonzero().flatten(), covered.any(0).nonzero().flatten()
        return len(drawn), len(rows), len(columns), int(rows[0]), int(columns[0])

    for expected, found in zip(zip(*boxes(their_box), strict=True), zip(*boxes(our_box), strict=True), strict=True):
        assert ks_2samp(expected, found).pvalue > 0.003


# ---- intensity


@pytest.mark.reference
def test_contrast_without_its_range_is_batchgenerators():
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform

    rows = torch.stack([image((9, 8)), image((9, 8), 1)])
    expected = ContrastTransform((1.7, 1.7), False, False, 1)(image=rows.clone())["image"]
    found = applied(it.Contrast(preserve_range=False), rows.clone(), [1.7, 1.7])
    torch.testing.assert_close(found, expected)
    assert found.max() > rows.max()


def test_additive_brightness_is_normal_and_of_some_channels():
    rng = np.random.default_rng(0)
    drawn = it.AdditiveBrightness(sigma=0.5, channel_probability=0.5).draw(rng, 4000, 2)
    numbers = [number for number in drawn if number is not None]
    assert 1850 < len(numbers) < 2150
    assert abs(np.std(numbers) - 0.5) < 0.03
    assert abs(np.mean(numbers)) < 0.03
    rows = applied(it.AdditiveBrightness(), torch.zeros(2, 3, 3), [0.5, -1.0])
    assert rows[:, 0, 0].tolist() == [0.5, -1.0]


def test_uniform_brightness_and_one_width_of_blur():
    rng = np.random.default_rng(0)
    factors = it.Brightness(factor=(0.5, 2.5), uniform=True).draw(rng, 4000, 2)
    assert 0.22 < np.mean(np.array(factors) < 1) < 0.28  # a quarter of the interval, not half of the draws
    widths = it.Blur(per_axis=False, channel_probability=1.0).draw(rng, 5, 3)
    assert all(len(set(width)) == 1 for width in widths)
    assert len({width[0] for width in widths}) == 5


@pytest.mark.parametrize("shape", SHAPES)
def test_low_resolution_of_order_3_is_skimages(shape):
    from skimage.transform import resize

    for scale in (0.3, 0.5, 0.77, 1.0):
        reduced = [max(1, round(edge * scale)) for edge in shape]
        small = resize(image(shape).numpy().astype(float), reduced, order=0, mode="edge", anti_aliasing=False)
        expected = resize(small, shape, order=3, mode="edge", anti_aliasing=False)
        (numbers,) = uploaded(down_and_up_cubic(shape, [reduced]), CPU)
        np.testing.assert_allclose(lower_resolution_cubic(image(shape), numbers).numpy(), expected, atol=1e-4)


def test_one_of_several_is_picked_evenly_and_then_done_with_its_own_probability():
    rng = np.random.default_rng(0)
    picks = it.OneOf((it.Noise(probability=0.2), it.Gamma(probability=0.4)))
    drawn = [picks.draw(rng, 1, 2)[0] for _ in range(8000)]
    counts = [sum(one is not None and one[0] == option for one in drawn) / len(drawn) for option in (0, 1)]
    assert abs(counts[0] - 0.1) < 0.01
    assert abs(counts[1] - 0.2) < 0.015


def test_one_of_several_works_on_the_rows_that_picked_it():
    picks = it.OneOf((it.Brightness(), it.AdditiveBrightness()))
    rows = applied(picks, torch.ones(3, 2, 2), [(0, 2.0), (1, 3.0), (0, 5.0)], [(key, 0) for key in keys(3)])
    assert rows[:, 0, 0].tolist() == [2, 4, 5]


# ---- orientation


def test_axes_of_the_most_common_edge_may_be_exchanged():
    assert orientation.exchangeable((40, 56, 40)) == (0, 2)
    assert orientation.exchangeable((8, 8, 8)) == (0, 1, 2)
    assert orientation.exchangeable((8, 9, 10)) == ()
    assert orientation.exchangeable((8, 9)) == ()


def test_turns_and_orders_are_drawn_evenly():
    rng = np.random.default_rng(0)
    drawn = [orientation.draw_turn(rng, (0, 1, 2), 3, 0.5, 0.5) for _ in range(6000)]
    turned = [turn for turn, _ in drawn if turn[0]]
    assert abs(len(turned) / 6000 - 0.375) < 0.02  # of the half that is turned a quarter is turned by nothing
    kinds, counts = np.unique(turned, axis=0, return_counts=True)
    assert len(kinds) == 9
    assert counts.min() > 200
    orders, counts = np.unique([order for _, order in drawn], axis=0, return_counts=True)
    assert len(orders) == 6
    assert abs(counts[0] / 6000 - (0.5 + 0.5 / 6)) < 0.02


@pytest.mark.parametrize("patch", [(4, 4, 4), (3, 5, 5), (6, 6)])
def test_turning_is_of_image_and_label_alike_and_each_sample_for_itself(patch):
    count = 12
    data = torch.randn(count, 2, *patch, generator=torch.Generator().manual_seed(0))
    seg = (data[:, :1] * 100).to(torch.int16)
    rng, axes = np.random.default_rng(0), orientation.exchangeable(patch)
    drawn = [orientation.draw_turn(rng, axes, len(patch), 1.0, 1.0) for _ in range(count)]
    made = []
    for each in (data, seg):
        channels = channels_of(each.clone(), range(count), torch.arange(count), count)
        for change, rows in uploaded(orientation.together(drawn, ((0, 0, 1), tuple(range(len(patch))))), CPU):
            channels.change_samples(rows, partial(turned, change=change))
        made.append(channels.mirrored([], torch.contiguous_format, np.empty))
    found, labels = made
    assert torch.equal((found[:, :1] * 100).to(torch.int16), labels)
    for sample, ((quarters, first, second), order) in enumerate(drawn):
        assert {first, second} <= set(axes) or not quarters
        expected = np.rot90(data[sample, 0].numpy(), quarters, (first, second)).transpose(order)
        assert np.array_equal(found[sample, 0].numpy(), expected)


# ---- elastic deformation


def field(deformation, shape, seed):
    return on_device.displacements(uploaded(elastic.displacements(deformation, shape, seed), CPU), CPU).numpy()


@pytest.mark.reference
@pytest.mark.parametrize(("shape", "sigma"), [((60, 48), 9.0), ((60, 48), 5.3), ((30, 28, 26), 9.0)])
def test_deformation_by_strength_is_spread_as_batchgenerators(shape, sigma):
    from batchgenerators.augmentations.utils import create_zero_centered_coordinate_mesh, elastic_deform_coordinates

    np.random.seed(0)
    mesh, count = create_zero_centered_coordinate_mesh(shape), 150
    theirs = np.stack([elastic_deform_coordinates(mesh, 100.0, sigma) - mesh for _ in range(count)])
    ours = np.stack([field(Deformation((sigma,) * len(shape), amplitude=100.0), shape, seed) for seed in range(count)])
    centre, corner = tuple(edge // 2 for edge in shape), (0,) * len(shape)
    beside = (centre[0] + round(sigma), *centre[1:])
    for place in (centre, corner, beside):
        ratio = ours[:, :, *place].std() / theirs[:, :, *place].std()
        assert 0.85 < ratio < 1.18, place

    def correlation(x):
        return np.corrcoef(x[:, :, *centre].ravel(), x[:, :, *beside].ravel())[0, 1]

    assert abs(correlation(ours) - correlation(theirs)) < 0.1
    assert abs(correlation(ours) - math.exp(-(round(sigma) ** 2) / (4 * sigma**2))) < 0.08


@pytest.mark.reference
@pytest.mark.parametrize("share", [0.05, 0.15, 0.25])
def test_deformation_by_scale_is_spread_as_batchgenerators(share):
    from batchgenerators.augmentations.utils import create_zero_centered_coordinate_mesh, elastic_deform_coordinates_2

    np.random.seed(0)
    shape, count = (40, 32), 120
    sigmas = [share * edge for edge in shape]
    largest = [sigma / 3 for sigma in sigmas]
    mesh = create_zero_centered_coordinate_mesh(shape)
    theirs = np.stack([elastic_deform_coordinates_2(mesh, sigmas, largest) - mesh for _ in range(count)])
    theirs -= theirs.mean((2, 3), keepdims=True)
    ours = np.stack([field(Deformation(tuple(sigmas), largest=tuple(largest)), shape, seed) for seed in range(count)])
    assert abs(ours.mean((2, 3))).max() < 1e-4
    for axis in (0, 1):
        assert ours[:, axis].max() <= 2 * largest[axis]
        assert 0.9 < ours[:, axis].std() / theirs[:, axis].std() < 1.1
        step = round(sigmas[axis])
        found, expected = (
            (x[:, axis] * np.roll(x[:, axis], step, axis=1)).mean() / (x[:, axis] ** 2).mean() for x in (ours, theirs)
        )
        assert abs(found - expected) < 0.12


def test_the_numbers_of_deformations_are_drawn_from_their_intervals():
    rng = np.random.default_rng(0)
    strong = [by_strength(rng, (0, 1300), (9, 15), (8, 8, 8)) for _ in range(500)]
    assert 600 < np.mean([d.amplitude for d in strong]) < 700
    assert all(9 <= d.sigmas[0] <= 15 and len(set(d.sigmas)) == 1 for d in strong)
    scaled = [by_scale(rng, (0, 0.25), (40, 80)) for _ in range(500)]
    assert all(math.isclose(d.sigmas[1], 2 * d.sigmas[0]) and d.sigmas[0] <= 10 for d in scaled)
    assert all(s / 8 <= m <= s / 2 for d in scaled for s, m in zip(d.sigmas, d.largest, strict=True))


@pytest.mark.parametrize("patch", [(20, 20, 20), (4, 24, 24), (24, 24)])
@pytest.mark.parametrize("by", ["strength", "scale"])
def test_image_and_label_are_deformed_alike(patch, by):
    how = {"elastic_scale": (0.2, 0.25)} if by == "scale" else {"elastic_alpha": (250.0, 300.0), "elastic_sigma": (4.0, 5.0)}
    spatial = Spatial(rotation_probability=0.0, scale_probability=0.0, elastic_probability=1.0, segmentation_order=0, image_order=0)
    config = replace(augmentation_set("none"), spatial=replace(spatial, **how))
    augmenter = Augmenter(config=config, patch_size=patch)
    data = torch.randint(1, 50, (2, 1, *augmenter.initial_patch_size), generator=torch.Generator().manual_seed(0)).float()
    found, (target,) = augmenter(data, data.to(torch.int16), keys(2))
    assert torch.equal(found.to(torch.int16), target)
    middle = [edge // 2 - p // 2 for edge, p in zip(augmenter.initial_patch_size, patch, strict=True)]
    still = data[:, :, *(slice(m, m + p) for m, p in zip(middle, patch, strict=True))]
    assert (found != still).float().mean() > 0.3
    if augmenter.geometry.dummy_2d:
        columns = torch.arange(float(data[0, 0, 0].numel())).view(1, 1, 1, *data.shape[3:]).expand(2, 1, *data.shape[2:])
        found, _ = augmenter(columns, columns.to(torch.int16), keys(2))
        assert torch.equal(found[:, :, 0], found[:, :, 3])


# ---- drawing


def placements(spatial, patch=(32, 32, 32), count=3000, dummy_2d=False):
    drawn = [
        spatial_placement.draw(spatial, math.radians(30), patch, dummy_2d, key.generator("augmentation")) for key in keys(count)
    ]
    return [place for place in drawn if place is not None]


def test_axes_are_rotated_each_with_its_probability():
    turned = placements(Spatial(rotation_probability=1.0, rotation_axis_probability=0.5, scale_probability=0.0))
    still = np.mean([np.array_equal(place.matrix, np.eye(3)) for place in turned])
    assert abs(still - 1 / 8) < 0.025
    flat = Spatial(rotation_probability=1.0, rotation_axis_probability=0.5, rotation_axis_probability_2d=1.0, scale_probability=0.0)
    assert not any(np.array_equal(place.matrix, np.eye(2)) for place in placements(flat, (32, 32), 300))
    slices = placements(flat, (4, 32, 32), 1000, dummy_2d=True)
    assert abs(np.mean([np.array_equal(place.matrix, np.eye(2)) for place in slices]) - 0.5) < 0.05


def test_scales_are_of_each_axis_at_times_and_around_one():
    spatial = Spatial(rotation_probability=0.0, scale_probability=1.0, scale=(0.5, 3.0), scale_around_one=True)
    apart = placements(replace(spatial, scale_axis_probability=0.3))
    scales = np.stack([np.diag(place.matrix) for place in apart])
    assert abs(np.mean(scales[:, 0] != scales[:, 1]) - 0.3) < 0.03
    assert abs(np.mean(scales[:, 0] < 1) - 0.5) < 0.03
    uniform = np.stack([np.diag(place.matrix) for place in placements(replace(spatial, scale_around_one=False))])
    assert (uniform[:, 0] == uniform[:, 2]).all()
    assert abs(np.mean(uniform[:, 0] < 1) - 0.2) < 0.03


def test_scales_lie_along_the_patchs_axes_or_the_images():
    spatial = Spatial(rotation_probability=1.0, scale_probability=1.0, scale_axis_probability=1.0)
    for along, rotated in (("patch", False), ("image", True)):
        for place in placements(replace(spatial, scale_along=along), count=20):
            matrix = place.matrix.T if not rotated else place.matrix
            # A rotation times a diagonal: what is scaled keeps its axes at right angles.
            gram = matrix @ matrix.T
            assert abs(gram - np.diag(np.diag(gram))).max() < 1e-9


# ---- cubic interpolation


@pytest.mark.parametrize("shape", SHAPES)
def test_cubic_sampling_is_scipys(shape):
    rng = np.random.default_rng(0)
    coordinates = [torch.from_numpy(rng.uniform(-0.4, edge - 0.6, (2, 60))).float() for edge in shape]
    x = torch.stack([image((2, *shape), seed) for seed in (0, 1)])
    coefficients = spline_coefficients(x)
    found = sample_cubic(coefficients, coordinates)
    for sample in range(2):
        inside = [np.clip(c[sample].numpy(), 0, edge - 1) for c, edge in zip(coordinates, shape, strict=True)]
        for channel in range(2):
            expected = ndimage.map_coordinates(x[sample, channel].numpy(), inside, order=3, mode="mirror")
            np.testing.assert_allclose(found[sample, channel].numpy(), expected, atol=2e-5)
    beyond = [torch.full((2, 1), edge - 0.4) for edge in shape]
    assert (sample_cubic(coefficients, beyond) == 0).all()


def test_cubic_sampling_of_what_is_not_moved_changes_nothing():
    spatial = Spatial(rotation_probability=0.0, scale_probability=1.0, scale=(1.0, 1.0), image_order=3, margin_scale=1.0)
    patch = (6, 7, 8)
    augmenter = Augmenter(config=replace(augmentation_set("none"), spatial=replace(spatial, rotation=0.0)), patch_size=patch)
    assert augmenter.initial_patch_size == patch
    data = image((1, 2, *patch))
    found, _ = augmenter(data, torch.zeros(1, 1, *patch, dtype=torch.int16), keys(1))
    torch.testing.assert_close(found, data, rtol=0, atol=1e-5)
