import importlib
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.training.data import spatial_placement
from nnunet_trainer.training.data.augmentation import (
    AugmentationConfig,
    Spatial,
    augmentation_set,
    geometry,
    set_names,
)
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter, validation_augmenter
from nnunet_trainer.training.data.augmentation.functional import parts
from nnunet_trainer.training.data.augmentation.functional.intensity import power_
from nnunet_trainer.training.data.augmentation.functional.separable import blur, lower_resolution
from nnunet_trainer.training.data.augmentation.interpolation.images import image_sampler
from nnunet_trainer.training.data.augmentation.interpolation.labels import label_sampler
from nnunet_trainer.training.data.augmentation.interpolation.sampling_grid import places
from nnunet_trainer.training.data.augmentation.targets import at_scales, to_regions
from nnunet_trainer.training.data.augmentation.transforms import intensity as it
from nnunet_trainer.training.data.augmentation.transforms.separable import blur_weights, down_and_up
from nnunet_trainer.training.data.augmentation.upload import uploaded
from nnunet_trainer.training.data.randomness import SampleKey
from scipy.stats import ks_2samp, kstest, uniform
from torch.nn.functional import grid_sample, interpolate

from .applied import applied

PATCH = (12, 16, 10)
STILL = Spatial(rotation_probability=0.0, scale_probability=0.0)


def keys(count, iteration=0, **changes):
    return [SampleKey(seed=1, fold="0", epoch=0, iteration=iteration, slot=slot)._replace(**changes) for slot in range(count)]


def weights(sigmas):
    return uploaded(blur_weights(sigmas), torch.device("cpu"))


def batch(augmenter, count=2, channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = augmenter.initial_patch_size
    data = torch.randn(count, channels, *size, generator=generator)
    coarse = torch.randint(-1, 3, (count, 1, *[max(2, n // 5) for n in size]), generator=generator)
    return data, interpolate(coarse.float(), size, mode="nearest").to(torch.int16)


# ---- geometry


@pytest.mark.reference
@settings(deadline=None, max_examples=40)
@given(st.one_of(st.tuples(*[st.integers(4, 320)] * 3), st.tuples(*[st.integers(4, 640)] * 2)))
def test_geometry_is_nnunets(patch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = SimpleNamespace(configuration_manager=SimpleNamespace(patch_size=patch), print_to_log_file=lambda *_: None)
    rotation, dummy_2d, initial, axes = nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(trainer)
    found = geometry(patch, Spatial())
    assert found.initial_patch_size == tuple(initial)
    assert (found.dummy_2d, found.mirror_axes) == (dummy_2d, axes)
    assert math.isclose(found.rotation, rotation[1])


@pytest.mark.reference
@pytest.mark.parametrize("patch", [(40, 56, 40), (4, 56, 40), (40, 56), (40, 72)])
@pytest.mark.parametrize(
    ("name", "trainer"),
    [
        ("none", "NoDA.nnUNetTrainerNoDA"),
        ("noMirroring", "NoMirroring.nnUNetTrainerNoMirroring"),
        ("onlyMirror01", "NoMirroring.nnUNetTrainer_onlyMirror01"),
        ("noDummy2D", "_noDummy2DDA.nnUNetTrainer_noDummy2DDA"),
        ("DA5", "DA5.nnUNetTrainerDA5"),
    ],
)
def test_geometry_of_variants_is_nnunets(name, trainer, patch):
    module, _, kind = trainer.partition(".")
    package = "nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainer"
    made = getattr(importlib.import_module(package + module), kind)
    instance = made.__new__(made)
    instance.configuration_manager = SimpleNamespace(patch_size=patch)
    instance.print_to_log_file = lambda *_: None
    _, dummy_2d, initial, axes = instance.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    found = Augmenter(config=augmentation_set(name), patch_size=patch).geometry
    assert (found.initial_patch_size, found.mirror_axes) == (tuple(initial), tuple(axes or ()))
    assert name == "none" or found.dummy_2d == dummy_2d


# ---- spatial


@pytest.mark.reference
@pytest.mark.parametrize(
    ("patch", "initial", "labels"), [((12, 9, 14), (15, 13, 17), 4), (PATCH, PATCH, 2), ((24, 17), (33, 22), 5)]
)
def test_resampling_is_batchgenerators(patch, initial, labels, monkeypatch):
    import batchgeneratorsv2.transforms.spatial.spatial as theirs

    rng, d = np.random.default_rng(0), len(patch)
    image = torch.randn(2, *initial, generator=torch.Generator().manual_seed(0))
    coarse = torch.from_numpy(rng.integers(-1, labels, (1, 1, *[max(2, n // 4) for n in initial]))).float()
    seg = interpolate(coarse, initial, mode="nearest")[0].to(torch.int16)
    transform = theirs.SpatialTransform(
        patch, 0, False, p_rotation=1, rotation=(0, 0), border_mode_seg="constant", padding_value_seg=-1
    )
    for _ in range(6):
        angles, scales = list(rng.uniform(-1.5, 1.5, d)), [rng.uniform(0.7, 1.4)] * d
        reference = theirs.create_affine_matrix_3d(angles, scales) if d == 3 else theirs.create_affine_matrix_2d(angles[-1], scales)
        matrix = spatial_placement.affine_matrix(angles, scales)
        np.testing.assert_allclose(matrix, reference)
        for name in ("create_affine_matrix_3d", "create_affine_matrix_2d"):
            monkeypatch.setattr(theirs, name, lambda *_, m=reference: m)
        expected = transform(image=image.clone(), segmentation=seg.clone())
        monkeypatch.undo()
        where = places(torch.tensor(matrix, dtype=torch.float32)[None], patch, initial)
        torch.testing.assert_close(image_sampler(image[None], 1)(where)[0], expected["image"], rtol=0, atol=1e-4)
        assert torch.equal(label_sampler(seg[None], 1)(where)[0], expected["segmentation"])
        grid = torch.stack([(2 * (c - 2) + 1) / n - 1 for c, n in zip(where.coordinates, initial, strict=True)][::-1], dim=-1)
        nearest = grid_sample(seg[None].float() + 1, grid, mode="nearest", align_corners=False).to(torch.int16) - 1
        assert torch.equal(label_sampler(seg[None], 0)(where), nearest)


def test_the_identity_changes_nothing():
    seg = torch.randint(-1, 4, (2, 1, 6, 7, 8), dtype=torch.int16)
    where = places(torch.eye(3).expand(2, 3, 3), (6, 7, 8), (6, 7, 8))
    image = torch.randn(2, 3, 6, 7, 8)
    for order in (0, 1):
        assert torch.equal(label_sampler(seg, order)(where), seg)
        torch.testing.assert_close(image_sampler(image, order)(where), image, rtol=0, atol=1e-5)


def test_beyond_the_patch_is_minus_1_and_0():
    where = places(3 * torch.eye(2)[None], (9, 9), (9, 9))
    seg = label_sampler(torch.ones(1, 1, 9, 9, dtype=torch.int16), 1)(where)[0, 0]
    image = image_sampler(torch.ones(1, 1, 9, 9), 1)(where)[0, 0]
    assert seg[4, 4] == 1
    assert seg[0, 0] == -1
    assert image[0, 0] == 0


def test_rotation_and_scale_are_drawn_alone_and_evenly():
    augmenter = Augmenter(config=augmentation_set("default"), patch_size=(64, 64, 64))
    spatial = augmenter.config.spatial
    angle, patch = augmenter.geometry.rotation, augmenter.patch_size
    drawn = [spatial_placement.draw(spatial, angle, patch, False, key.generator("augmentation")) for key in keys(4000)]
    changed = [place.matrix for place in drawn if place is not None]
    assert 0.33 < len(changed) / len(drawn) < 0.39  # 1 - 0.8²
    scales = np.array([np.cbrt(np.linalg.det(matrix)) for matrix in changed])
    scaled = scales[abs(scales - 1) > 1e-9]
    assert 0.17 < len(scaled) / len(drawn) < 0.23
    assert kstest(scaled, uniform(0.7, 0.7).cdf).pvalue > 0.01
    rotations = [matrix / scale for matrix, scale in zip(changed, scales, strict=True)]
    first = np.array([math.atan2(r[2, 1], r[2, 2]) for r in rotations if abs(r - np.eye(3)).max() > 1e-6])
    assert 0.17 < len(first) / len(drawn) < 0.23
    assert kstest(first, uniform(-math.pi / 6, math.pi / 3).cdf).pvalue > 0.01


def test_slices_stay_in_their_place_in_dummy_2d():
    config = AugmentationConfig(mirror_axes=(), spatial=Spatial(rotation_probability=1))
    augmenter = Augmenter(config=config, patch_size=(4, 20, 20))
    assert augmenter.geometry.dummy_2d
    assert augmenter.initial_patch_size[0] == 4
    heights = torch.arange(1.0, 5).view(1, 1, 4, 1, 1).expand(1, 1, *augmenter.initial_patch_size)
    data, targets = augmenter(heights.clone(), heights.to(torch.int16), keys(1))
    for z in range(4):
        assert (data[0, 0, z, 5:15, 5:15] - (z + 1)).abs().max() < 1e-5
        assert (targets[0][0, 0, z, 5:15, 5:15] == z + 1).all()


# ---- intensity


@pytest.mark.reference
@pytest.mark.parametrize("sigma", [0.5, 0.58, 0.59, 0.75, 0.916, 0.92, 1.0])
def test_blur_is_batchgenerators(sigma):
    from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension

    image = torch.randn(1, 9, 12, 7, generator=torch.Generator().manual_seed(0))
    expected = image
    for axis in range(3):
        expected = blur_dimension(expected, sigma, axis)
    other = torch.randn(1, 9, 12, 7)
    found = blur(torch.cat((image, other)), weights([[sigma] * 3, [1.0, 0.5, 0.75]]))
    torch.testing.assert_close(found[:1], expected, rtol=0, atol=1e-5)
    for axis, width in enumerate([1.0, 0.5, 0.75]):
        other = blur_dimension(other, width, axis)
    torch.testing.assert_close(found[1:], other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 12, 7), (31, 20)])
def test_low_resolution_is_nearest_exact_down_and_linear_up(shape):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    for scale in np.linspace(0.5, 1, 12):
        reduced = [round(n * scale) for n in shape]
        small = interpolate(image[None], reduced, mode="nearest-exact")
        expected = interpolate(small, shape, mode="trilinear" if len(shape) == 3 else "bilinear")[0]
        found = lower_resolution(image, uploaded(down_and_up(shape, [reduced]), image.device))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.reference
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("invert", [False, True])
def test_point_transforms_are_batchgenerators(factor, invert):
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform

    image = torch.randn(2, 9, 12, 7, generator=torch.Generator().manual_seed(0))
    reference = ContrastTransform((factor, factor), True, False, 1)(image=image.clone())["image"]
    torch.testing.assert_close(applied(it.Contrast(probability=1), image.clone(), [factor] * 2), reference, rtol=0, atol=1e-5)
    reference = GammaTransform((factor, factor), float(invert), False, 1, 1)(image=image.clone())["image"]
    found = applied(it.Gamma(probability=1, invert=invert), image.clone(), [factor] * 2)
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-4)
    torch.testing.assert_close(applied(it.Brightness(probability=1), image.clone(), [factor, 1.0])[0], image[0] * factor)


def test_blurring_a_thin_patch_keeps_its_mean():
    rows = torch.randn(2, 1, 2, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blur(torch.ones(1, 1, 2, 30), weights([[1.0] * 3])), torch.ones(1, 1, 2, 30))
    assert blur(rows, weights([[1.0] * 3] * 2)).std() < rows.std()


def test_low_resolution_leaves_the_slices_apart_in_dummy_2d():
    rows = torch.randn(1, 6, 20, 20, generator=torch.Generator().manual_seed(0))
    alone = applied(it.LowResolution(probability=1), rows.clone(), [0.5], dummy_2d=True)
    assert not torch.equal(alone, rows)
    changed = rows.clone()
    changed[0, 3] = 0
    again = applied(it.LowResolution(probability=1), changed, [0.5], dummy_2d=True)
    assert torch.equal(again[0, [0, 1, 2, 4, 5]], alone[0, [0, 1, 2, 4, 5]])


def test_constant_patches_survive():
    for transform in (it.Gamma(probability=1), it.Gamma(probability=1, invert=True), it.Contrast(probability=1)):
        found = applied(transform, torch.full((1, 4, 4, 4), 3.0), [1.3])
        torch.testing.assert_close(found, torch.full((1, 4, 4, 4), 3.0))


def test_noise_has_the_drawn_width_and_is_its_own_per_channel():
    names = [(keys(1)[0], 0), (keys(1)[0], 1)]
    noise = applied(it.Noise(probability=1), torch.zeros(2, 30, 30, 30), [0.05, 0.05], names)
    assert abs(noise.std().item() - 0.05) < 0.001
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.reference
def test_the_default_set_has_nnunets_numbers_in_nnunets_order():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    theirs = nnUNetTrainer.get_training_transforms((40, 56, 40), (-0.5, 0.5), None, (0, 1, 2), False).transforms
    spatial, chosen = theirs[0], [t for t in theirs if type(t).__name__ == "RandomTransform"]
    config = augmentation_set("default")
    assert (spatial.p_rotation, spatial.p_scaling, spatial.scaling) == (
        config.spatial.rotation_probability,
        config.spatial.scale_probability,
        config.spatial.scale,
    )
    assert (spatial.p_elastic_deform, spatial.p_synchronize_scaling_across_axes) == (0, 1)
    expected = []
    for random in chosen:
        t, name = random.transform, type(random.transform).__name__
        numbers = {
            "GaussianNoiseTransform": lambda t: t.noise_variance,
            "GaussianBlurTransform": lambda t: (*t.blur_sigma, t.p_per_channel),
            "MultiplicativeBrightnessTransform": lambda t: t.multiplier_range.contrast_range,
            "ContrastTransform": lambda t: (*t.contrast_range.contrast_range, t.preserve_range),
            "SimulateLowResolutionTransform": lambda t: (*t.scale, t.p_per_channel),
            "GammaTransform": lambda t: (*t.gamma.contrast_range, t.p_invert_image, t.p_retain_stats),
        }[name](t)
        expected.append((name, random.apply_probability, tuple(numbers)))
    found = []
    for t in config.intensity:
        name, numbers = {
            it.Noise: lambda t: ("GaussianNoiseTransform", t.sigma),
            it.Blur: lambda t: ("GaussianBlurTransform", (*t.sigma, t.channel_probability)),
            it.Brightness: lambda t: ("MultiplicativeBrightnessTransform", t.factor),
            it.Contrast: lambda t: ("ContrastTransform", (*t.factor, t.preserve_range)),
            it.LowResolution: lambda t: ("SimulateLowResolutionTransform", (*t.scale, t.channel_probability)),
            it.Gamma: lambda t: ("GammaTransform", (*t.gamma, t.invert, t.retain_statistics)),
        }[type(t)](t)
        found.append((name, t.probability, tuple(numbers)))
    assert found == expected


@pytest.mark.reference
@pytest.mark.parametrize("bounds", [(0.75, 1.25), (0.7, 1.5), (1.1, 1.4)])
def test_factors_are_distributed_as_batchgenerators(bounds):
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast

    np.random.seed(0)
    reference, rng = BGContrast(bounds), np.random.default_rng(0)
    assert ks_2samp([reference() for _ in range(4000)], [it.around_one(rng, *bounds) for _ in range(4000)]).pvalue > 0.01


def test_transforms_happen_as_often_as_they_should():
    counted = {}

    class Counting:
        def __init__(self, number, probability):
            self.number, self.probability = number, probability

        def draw(self, rng, channels, ndim):
            assert (channels, ndim) == (1, 2)
            counted[self.number] = counted.get(self.number, 0) + 1
            return [None] * channels

        def numbers(self, drawn, context):
            raise AssertionError

    config = AugmentationConfig(
        spatial=STILL, mirror_axes=(), order=(), noise=Counting(0, 0.1), blur=Counting(1, 0.5), gamma=Counting(2, 1.0)
    )
    augmenter = Augmenter(config=config, patch_size=(2, 2))
    augmenter(torch.zeros(1000, 1, 2, 2), torch.zeros(1000, 1, 2, 2, dtype=torch.int16), keys(1000))
    assert 70 < counted[0] < 130
    assert 450 < counted[1] < 550
    assert counted[2] == 1000


# ---- mirroring


def test_every_axis_is_mirrored_in_half_of_the_samples_image_and_label_alike():
    augmenter = Augmenter(config=AugmentationConfig(spatial=STILL), patch_size=(2, 2, 2))
    corner = torch.arange(8).view(1, 1, 2, 2, 2).expand(400, 1, 2, 2, 2)
    data, targets = augmenter(corner.float().clone(), corner.to(torch.int16).clone(), keys(400))
    assert torch.equal(data.to(torch.int16), targets[0])
    firsts = np.unique(data[:, 0, 0, 0, 0].numpy(), return_counts=True)
    assert list(firsts[0]) == list(range(8))
    assert firsts[1].min() > 25


# ---- targets


@pytest.mark.reference
@pytest.mark.parametrize("scales", [[[1, 1, 1], [0.5, 0.5, 0.5], [0.25, 0.5, 0.125]], [[1, 1, 1], [1, 0.5, 0.5]]])
def test_targets_of_deep_supervision_are_nnunets(scales):
    from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform

    seg = torch.randint(0, 4, (2, 1, 17, 32, 21), dtype=torch.int16)
    for sample in range(2):
        expected = DownsampleSegForDSTransform(scales)(segmentation=seg[sample])["segmentation"]
        for target, wanted in zip(at_scales(seg, scales), expected, strict=True):
            assert target.dtype == seg.dtype
            assert torch.equal(target[sample], wanted)


@pytest.mark.reference
def test_regions_are_nnunets():
    from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

    seg, regions = torch.randint(0, 4, (2, 1, 5, 6), dtype=torch.int16), [(1, 2), 2, (3,)]
    for sample in range(2):
        expected = ConvertSegmentationToRegionsTransform(regions)(segmentation=seg[sample])["segmentation"]
        assert torch.equal(to_regions(seg, regions)[sample], expected)


def test_ignore_becomes_the_last_region():
    augmenter = validation_augmenter((2, 2), regions=[(1, 2), 2], ignore_label=3)
    _, (target,) = augmenter(torch.zeros(1, 1, 2, 2), torch.tensor([[[[-1, 1], [2, 3]]]], dtype=torch.int16), keys(1))
    assert target[0].int().tolist() == [[[0, 1], [1, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]]


def test_masked_channels_are_0_outside():
    config = AugmentationConfig(mirror_axes=(), spatial=STILL, noise=it.Noise(probability=0.0))
    augmenter = Augmenter(config=config, patch_size=(2, 2), mask_channels=(False, True))
    seg = torch.tensor([[[[-1, 1], [0, -1]]]], dtype=torch.int16)
    data, (target,) = augmenter(torch.ones(1, 2, 2, 2), seg, keys(1))
    assert data[0, 1].tolist() == [[0, 1], [1, 0]]
    assert (data[0, 0] == 1).all()
    assert target[0, 0].tolist() == [[0, 1], [0, 0]]


def test_a_previous_stage_that_is_not_there_is_told():
    augmenter = validation_augmenter((2, 2), previous_stage_labels=(1, 2))
    with pytest.raises(BadConfiguration, match="previous stage"):
        augmenter(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int16), keys(1))


def test_the_previous_stage_becomes_channels():
    augmenter = validation_augmenter((2, 2), previous_stage_labels=(1, 2))
    seg = torch.tensor([[[[0, 1], [2, 0]], [[1, 2], [0, -1]]]], dtype=torch.int16)
    data, (target,) = augmenter(torch.zeros(1, 1, 2, 2), seg, keys(1))
    assert data[0].tolist() == [[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[0, 1], [0, 0]]]
    assert target[0].tolist() == [[[0, 1], [2, 0]]]


# ---- the whole


@pytest.mark.parametrize("patch", [PATCH, (3, 16, 16), (20, 24)])
@pytest.mark.parametrize("name", set_names())
def test_every_set_gives_patches_and_targets(name, patch):
    scales = [[1.0] * len(patch), [0.5] * len(patch)]
    augmenter = Augmenter(config=augmentation_set(name), patch_size=patch, deep_supervision_scales=scales)
    data, seg = batch(augmenter, count=6)
    before = data.clone(), seg.clone()
    out, targets = augmenter(data, seg, keys(6))
    assert out.shape == (6, 2, *patch)
    assert [t.shape[2:] for t in targets] == [patch, tuple(round(n / 2) for n in patch)]
    assert out.isfinite().all()
    assert all(set(t.unique().tolist()) <= {0, 1, 2} for t in targets)
    assert torch.equal(before[0], data)
    assert torch.equal(before[1], seg)


def test_none_is_the_centre():
    augmenter = Augmenter(config=augmentation_set("none"), patch_size=PATCH)
    assert augmenter.initial_patch_size == PATCH
    data, seg = batch(augmenter)
    out, (target,) = augmenter(data, seg, keys(2))
    assert torch.equal(out, data)
    assert torch.equal(target, seg.clamp(min=0))


def test_a_sample_looks_the_same_in_any_batch():
    augmenter = Augmenter(config=augmentation_set("default"), patch_size=PATCH)
    data, seg = batch(augmenter, count=8)
    whole, (target,) = augmenter(data, seg, keys(8))
    again, _ = augmenter(data, seg, keys(8))
    assert torch.equal(whole, again)
    for slot in range(8):
        alone, (alone_target,) = augmenter(data[slot : slot + 1], seg[slot : slot + 1], keys(8)[slot : slot + 1])
        torch.testing.assert_close(alone[0], whole[slot], rtol=1e-4, atol=1e-5)
        assert torch.equal(alone_target[0], target[slot])
    other, _ = augmenter(data, seg, keys(8, iteration=1))
    assert not torch.equal(whole, other)


@pytest.mark.parametrize("patch", [(14, 12, 10), (4, 20, 24), (28, 22)], ids=["3d", "anisotropic", "2d"])
@pytest.mark.parametrize("name", ["default", "DA5", "v1"])
def test_patches_worked_on_in_parts_are_those_worked_on_at_once(name, patch, monkeypatch):
    config = augmentation_set(name)
    config = replace(config, spatial=replace(config.spatial, rotation_probability=0.8))
    augmenter = Augmenter(config=config, patch_size=patch)
    data, seg = batch(augmenter, count=8)
    whole, (target,) = augmenter(data, seg, keys(8))
    for values in (1, 150, 1000):
        monkeypatch.setattr(parts, "CACHED_VOXELS", values)
        found, (found_target,) = augmenter(data, seg, keys(8))
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
        assert torch.equal(found_target, target)


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.5])
def test_a_power_by_logarithms_is_a_power(exponent):
    base = torch.cat((torch.tensor([0.0, 1e-30, 1e-7]), torch.linspace(0.001, 1.1, 999)))
    found = power_(base[None].clone(), torch.tensor([[exponent]]))[0]
    np.testing.assert_allclose(found.numpy(), base.double().numpy() ** np.float32(exponent), rtol=1e-5, atol=1e-7)


def test_an_unknown_set_is_told_with_its_neighbours():
    with pytest.raises(BadConfiguration, match="Did you mean noMirroring"):
        augmentation_set("noMiroring")
