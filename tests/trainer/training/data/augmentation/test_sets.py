"""The named sets: nnU-Net's numbers in nnU-Net's order, the same statistics, and what a recipe may change in them."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunet_trainer.contract import catalogue
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Registry
from nnunet_trainer.training.components import lookup
from nnunet_trainer.training.data.augmentation import Spatial, augmentation_set, config, set_names
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.data.augmentation.transforms import filters, local
from nnunet_trainer.training.data.augmentation.transforms import intensity as it
from nnunet_trainer.training.data.randomness import SampleKey
from nnunet_trainer.training.recipes import presets, recipe
from scipy.stats import ks_2samp

STRONG = ["DA2", "DA3", "DA4", "DA5", "DA5V1", "insaneDA", "insaneDABrightness"]


def keys(count, iteration=0):
    return [SampleKey(seed=1, fold="0", epoch=0, iteration=iteration, slot=slot) for slot in range(count)]


def smooth_image(shape, seed=0):
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, 2, *[max(2, n // 3) for n in shape]))).float()
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    return (
        torch.nn.functional.interpolate(coarse, shape, mode=mode) + torch.from_numpy(0.1 * rng.normal(size=(1, 2, *shape))).float()
    )


# ---- DA5 beside the wheel's


def their_da5(patch, name="nnUNetTrainerDA5"):
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation import nnUNetTrainerDA5 as module

    augmenter = Augmenter(config=augmentation_set("DA5"), patch_size=patch)
    angle, axes = augmenter.geometry.rotation, tuple(range(len(patch)))
    trainer = getattr(module, name)
    return trainer.get_training_transforms(patch, (-angle, angle), None, axes, augmenter.geometry.dummy_2d), augmenter


def numbers_of_theirs(t):
    name = type(t).__name__
    if name == "RandomTransform":
        kind, numbers = numbers_of_theirs(t.transform)
        return kind, (t.apply_probability, *numbers)
    if name == "OneOfTransform":
        return "OneOf", tuple(numbers_of_theirs(option) for option in t.list_of_transforms)
    known = {
        "MedianFilterTransform": lambda: ("Median", (t.filter_size[0], t.filter_size[1] - 1, t.p_per_channel)),
        "GaussianBlurTransform": lambda: ("Blur", (*t.blur_sigma, t.p_per_channel, not t.synchronize_axes)),
        "GaussianNoiseTransform": lambda: ("Noise", tuple(t.noise_variance)),
        "BrightnessAdditiveTransform": lambda: ("AdditiveBrightness", (t.sigma, t.p_per_channel)),
        "ContrastTransform": lambda: ("Contrast", (*t.contrast_range.contrast_range, t.preserve_range, t.p_per_channel)),
        "SimulateLowResolutionTransform": lambda: ("LowResolution", (*t.scale, t.p_per_channel)),
        "GammaTransform": lambda: ("Gamma", (*t.gamma.contrast_range, bool(t.p_invert_image), bool(t.p_retain_stats))),
        "BlankRectangleTransform": lambda: ("BlankRectangles", (t.num_rectangles[0], t.num_rectangles[1] - 1, t.p_per_channel)),
        "BrightnessGradientAdditiveTransform": lambda: ("BrightnessGradient", (*t.loc, t.p_per_channel)),
        "LocalGammaTransform": lambda: ("LocalGamma", (*t.loc, t.p_per_channel)),
        "SharpeningTransform": lambda: ("Sharpening", (*t.strength, t.p_per_channel)),
    }
    return known[name]()


def numbers_of_ours(t):
    if isinstance(t, it.OneOf):
        return "OneOf", tuple(numbers_of_ours(option) for option in t.options)
    numbers = {
        filters.Median: lambda: (*t.size, t.channel_probability),
        it.Blur: lambda: (*t.sigma, t.channel_probability, t.per_axis),
        it.Noise: lambda: t.sigma,
        it.AdditiveBrightness: lambda: (t.sigma, t.channel_probability),
        it.Contrast: lambda: (*t.factor, t.preserve_range, t.channel_probability),
        it.LowResolution: lambda: (*t.scale, t.channel_probability),
        it.Gamma: lambda: (*t.gamma, t.invert, t.retain_statistics),
        local.BlankRectangles: lambda: (*t.count, t.channel_probability),
        local.BrightnessGradient: lambda: (*t.centre, t.channel_probability),
        local.LocalGamma: lambda: (*t.centre, t.channel_probability),
        filters.Sharpening: lambda: (*t.strength, t.channel_probability),
    }[type(t)]()
    return type(t).__name__, (t.probability, *numbers)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "trainer", "image_order", "segmentation_order"),
    [
        ("DA5", "nnUNetTrainerDA5", "bilinear", "bilinear"),
        ("DA5Order0", "nnUNetTrainerDA5ord0", "nearest", "nearest"),
        ("DA5SegmentationOrder0", "nnUNetTrainerDA5Segord0", "bilinear", "nearest"),
    ],
)
def test_da5_has_nnunets_numbers_in_nnunets_order(name, trainer, image_order, segmentation_order):
    pipeline, _ = their_da5((40, 56, 40), trainer)
    spatial, turn, transpose, *others = pipeline.transforms
    ours = augmentation_set(name)
    assert (ours.spatial.image_order, ours.spatial.segmentation_order) == tuple(
        {"nearest": 0, "bilinear": 1}[order] for order in (image_order, segmentation_order)
    )
    assert (spatial.mode_image, spatial.mode_seg) == (image_order, segmentation_order)
    assert (spatial.p_rotation, spatial.p_rot_per_axis, spatial.p_scaling, spatial.scaling) == (
        ours.spatial.rotation_probability,
        ours.spatial.rotation_axis_probability,
        ours.spatial.scale_probability,
        ours.spatial.scale,
    )
    assert 1 - spatial.p_synchronize_scaling_across_axes == ours.spatial.scale_axis_probability
    assert spatial.p_elastic_deform == ours.spatial.elastic_probability == 0
    assert (turn.apply_probability, transpose.apply_probability) == (ours.turn_probability, ours.transpose_probability)
    assert turn.transform.num_rot_per_combination == (0, 1, 2, 3)
    image_only = [t for t in others if type(t).__name__ not in ("MirrorTransform", "RemoveLabelTransform")]
    assert [numbers_of_ours(t) for t in ours.intensity] == [numbers_of_theirs(t) for t in image_only]


@pytest.mark.reference
def test_da5s_own_distributions_are_nnunets():
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation import nnUNetTrainerDA5 as module

    np.random.seed(0)
    rng, count, shape = np.random.default_rng(0), 4000, (40, 57)
    bumps = local.BrightnessGradient(channel_probability=1.0).draw(rng, count, 2)
    gammas = local.LocalGamma(channel_probability=1.0).draw(rng, count, 2)
    theirs = [module._brightness_gradient_additive_max_strength(None, None) for _ in range(count)]
    assert ks_2samp(theirs, [bump.strength for bump in bumps]).pvalue > 0.01
    assert ks_2samp([module._local_gamma_gamma() for _ in range(count)], [bump.strength for bump in gammas]).pvalue > 0.01
    for axis in (0, 1):
        theirs = [module._brightnessadditive_localgamma_transform_scale(shape, axis) for _ in range(count)]
        low = shape[axis] // 6
        ours = [low * (shape[axis] / low) ** bump.width[axis] for bump in bumps]
        assert ks_2samp(theirs, ours).pvalue > 0.01


def statistics(before, after):
    """Numbers of each sample's channels that each transform moves in its own way."""
    axes = tuple(range(2, after.ndim))
    roughness = sum(after.diff(dim=axis).abs().flatten(2).mean(2) for axis in axes)
    flat = after.flatten(2)
    return {
        "mean": flat.mean(2),
        "deviation": flat.std(2),
        "roughness": roughness,
        "lowest": flat.amin(2),
        "highest": flat.amax(2),
        "skewness": ((flat - flat.mean(2, keepdim=True)) ** 3).mean(2) / flat.std(2).clamp(min=1e-6) ** 3,
        "moved": (after - before).abs().flatten(2).median(2).values,
    }


@pytest.mark.reference
@pytest.mark.parametrize("patch", [(18, 24, 18), (24, 24), (6, 24, 24)])
def test_da5s_patches_are_spread_as_nnunets(patch):
    pipeline, augmenter = their_da5(patch)
    np.random.seed(1)
    torch.manual_seed(1)
    count, data = 500, smooth_image(augmenter.initial_patch_size)
    seg = (data[:, :1] > 0).to(torch.int16)
    theirs, their_labels = [], []
    for _ in range(count):
        found = pipeline(image=data[0].clone(), segmentation=seg[0].clone())
        theirs.append(found["image"])
        their_labels.append(found["segmentation"])
    ours, (labels,) = augmenter(data.expand(count, *data.shape[1:]), seg.expand(count, *seg.shape[1:]), keys(count))
    begin = [edge // 2 - p // 2 for edge, p in zip(data.shape[2:], patch, strict=True)]
    plain = data[:, :, *(slice(b, b + p) for b, p in zip(begin, patch, strict=True))]
    expected = statistics(plain, torch.stack(theirs))
    for name, numbers in statistics(plain, ours).items():
        for channel in (0, 1):
            test = ks_2samp(numbers[:, channel].numpy(), expected[name][:, channel].numpy())
            assert test.pvalue > 0.001, (name, channel, test)
    shares = [(x == 1).float().flatten(1).mean(1).numpy() for x in (labels, torch.stack(their_labels))]
    assert ks_2samp(*shares).pvalue > 0.001


# ---- version 1's


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DA2", {"rotation_axis_probability": 0.5, "scale": (0.7, 1.4), "scale_axis_probability": 1.0, "margin_scale": 0.85}),
        ("insaneDA", {"scale": (0.65, 1.6), "elastic_alpha": (0, 1300), "elastic_sigma": (9, 15), "elastic_probability": 0.2}),
        ("DA3", {"rotation_probability": 0.3, "scale_probability": 0.3, "elastic_scale": (0, 0.25), "elastic_probability": 0.3}),
        ("DA4", {"rotation": 90.0, "elastic_probability": 0.2, "scale_axis_probability": 0.3, "margin_scale": 0.7}),
        ("insaneDABrightness", {"rotation_probability": 0.7, "elastic_alpha": (0, 300), "elastic_probability": 0.1}),
        ("DA5V1", {"rotation_probability": 0.4, "scale": (0.7, 1.43), "rotation_elongated": 180.0, "margin_scale": 0.7}),
        ("v1Legacy", {"rotation": 15.0, "scale": (0.85, 1.25), "elastic_alpha": (0, 900), "elastic_sigma": (9, 13)}),
    ],
)
def test_version_1s_geometry(name, expected):
    spatial = augmentation_set(name).spatial
    assert {field: getattr(spatial, field) for field in expected} == expected
    assert (spatial.image_order, spatial.scale_along, spatial.scale_around_one) == (3, "image", True)


@pytest.mark.parametrize(
    ("name", "brightness", "sigma", "gamma", "additive"),
    [
        ("DA2", (0.75, 1.25), (0.5, 1.0), (0.7, 1.5), (0.15, 0.1, 0.5)),
        ("insaneDA", (0.7, 1.3), (0.5, 1.5), (0.6, 2.0), None),
        ("DA3", (0.7, 1.3), (0.5, 1.5), (0.5, 1.6), (0.3, 0.2, 1.0)),
        ("DA4", (0.7, 1.3), (0.5, 1.5), (0.5, 1.6), (0.3, 0.2, 0.5)),
        ("insaneDABrightness", (0.7, 1.3), (0.5, 1.5), (0.5, 1.6), (0.3, 0.2, 1.0)),
    ],
)
def test_version_1s_intensities(name, brightness, sigma, gamma, additive):
    found = augmentation_set(name)
    assert (found.brightness.factor, found.blur.sigma) == (brightness, sigma)
    assert found.gamma.gamma == found.inverted_gamma.gamma == gamma
    assert (found.gamma.probability, found.gamma.invert, found.inverted_gamma.invert) == (0.3, False, True)
    numbers = found.additive_brightness
    assert (numbers and (numbers.probability, numbers.sigma, numbers.channel_probability)) == additive


@pytest.mark.parametrize(("patch", "degrees"), [((40, 40), 180), ((40, 72), 180), ((40, 56, 40), 30), ((4, 40, 40), 180)])
def test_the_strong_sets_turn_2d_patches_all_the_way_round(patch, degrees):
    for name in ("insaneDA", "DA3", "DA5V1"):
        found = Augmenter(config=augmentation_set(name), patch_size=patch).geometry
        assert math.isclose(math.degrees(found.rotation), degrees)
    assert math.isclose(Augmenter(config=augmentation_set("DA2"), patch_size=(40, 72)).geometry.rotation, math.radians(15))


# ---- any set


@pytest.mark.parametrize("patch", [(14, 16, 14), (20, 20)])
@pytest.mark.parametrize("name", STRONG)
def test_a_sample_looks_the_same_in_any_batch(name, patch):
    augmenter = Augmenter(config=augmentation_set(name), patch_size=patch)
    count = 10
    data = torch.cat([smooth_image(augmenter.initial_patch_size, seed) for seed in range(count)])
    seg = (data[:, :1] > 0.3).to(torch.int16)
    whole, (target,) = augmenter(data, seg, keys(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    shuffled, (shuffled_target,) = augmenter(data[order], seg[order], [keys(count)[i] for i in order])
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-4, atol=1e-4)
    assert torch.equal(shuffled_target, target[order])
    other, _ = augmenter(data, seg, keys(count, iteration=1))
    assert not torch.equal(whole, other)


@pytest.mark.parametrize("name", STRONG)
def test_constant_and_thin_patches_survive(name):
    for patch in ((1, 4, 4), (1, 3), (5, 5, 5)):
        augmenter = Augmenter(config=augmentation_set(name), patch_size=patch)
        data = torch.ones(30, 1, *augmenter.initial_patch_size)
        found, _ = augmenter(data, torch.zeros_like(data, dtype=torch.int16), keys(30))
        assert found.isfinite().all()


# ---- what a recipe changes


def changed(changes, base="nnUNetTrainer"):
    return presets.resolve("mine", base, {"augmentation": changes})


def test_a_name_alone_stands_for_the_set():
    assert augmentation_set(changed("DA5").augmentation) == augmentation_set("DA5")


def test_single_numbers_of_a_set_are_changed():
    changes = {"name": "DA5", "spatial": {"rotationProbability": 0.1}, "noise": {"sigma": [0, 0.3]}, "mirrorAxes": [0, 1]}
    found, before = augmentation_set(changed(changes).augmentation), augmentation_set("DA5")
    assert found == replace(
        before,
        spatial=replace(before.spatial, rotation_probability=0.1),
        noise=replace(before.noise, sigma=(0.0, 0.3)),
        mirror_axes=(0, 1),
    )
    assert Augmenter(config=found, patch_size=(8, 8, 8)).geometry.mirror_axes == (0, 1)
    assert Augmenter(config=found, patch_size=(8, 8)).geometry.mirror_axes == (0, 1)


def test_without_a_name_it_is_the_trainers_set_that_changes():
    found = augmentation_set(changed({"sharpening": None, "gamma": {"probability": 0.5}}, "nnUNetTrainerDA5").augmentation)
    assert found == replace(augmentation_set("DA5"), sharpening=None, gamma=it.Gamma(probability=0.5))
    # What the set's order does not name comes last.
    assert [type(t).__name__ for t in found.intensity][-2:] == ["LocalGamma", "Gamma"]


def test_an_order_of_ones_own():
    found = augmentation_set(changed({"order": [["gamma", "blur"], "noise"], "contrast": None}).augmentation).intensity
    assert [type(t).__name__ for t in found] == ["OneOf", "Noise", "Brightness", "LowResolution", "Gamma"]
    assert [type(t).__name__ for t in found[0].options] == ["Gamma", "Blur"]


def test_a_changed_recipe_is_written_and_read_again():
    first = changed({"name": "DA3", "spatial": {"elasticScale": [0.1, 0.2]}, "median": {"size": [2, 3]}, "blur": None})
    assert recipe.read(recipe.write(first)) == first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("DA6", "Did you mean DA"),
        ({"name": "DA5", "noises": {}}, "did you mean noise"),
        ({"noise": {"sigm": [0, 1]}}, r"augmentation\.noise\.sigm: there is no such field; did you mean sigma"),
        ({"noise": {"probability": 1.5}}, r"augmentation\.noise\.probability: 1\.5 is out of range; a number between 0 and 1"),
        ({"noise": {"sigma": [0.3, 0.1]}}, r"augmentation\.noise\.sigma: ascending numbers were expected, found \[0\.3, 0\.1\]"),
        ({"noise": {"sigma": [0.3]}}, "a list of 2 was expected"),
        ({"spatial": {"scale": [0, 1]}}, r"augmentation\.spatial\.scale\[0\]: 0 is out of range; a number greater than 0"),
        ({"spatial": {"imageOrder": 2}}, "2 is none of 0, 1, 3"),
        ({"mirrorAxes": [3]}, r"augmentation\.mirrorAxes\[0\]: 3 is out of range; an integer between 0 and 2"),
        ({"order": ["noise", "blurr"]}, "'blurr' is none of noise"),
        ({"median": {"size": [2.5, 3]}}, "an integer between 1 and 15 was expected"),
        (4, "a name or an object"),
    ],
)
def test_what_does_not_fit_is_told_by_its_field(changes, said):
    with pytest.raises(BadConfiguration, match=said):
        changed(changes)


def test_n_epochs_without_mirroring_keep_the_set():
    found = augmentation_set(presets.recipe("nnUNetTrainerDA5_30epochs_NoMirroring").augmentation)
    assert found == replace(augmentation_set("DA5"), mirror_axes=())


def test_a_plugin_names_a_set(monkeypatch):
    registry = Registry("augmentation set")
    monkeypatch.setattr(config, "AUGMENTATIONS", registry)

    @config.register("mine")
    def mine():
        """Noise."""
        return config.AugmentationConfig(noise=it.Noise(probability=1.0))

    assert registry["mine"].help == "Noise."
    assert registry["mine"].make(blur=it.Blur()) == replace(mine(), blur=it.Blur())
    parameters = registry["mine"].parameters
    assert {"spatial", "noise", "mirror_axes"} <= set(parameters)
    assert parameters["noise"].default == it.Noise(probability=1.0)
    assert "previous_stage" not in parameters  # a recipe has a field of its own for it


def test_every_transform_can_be_named_in_the_order():
    fields = {field.name for field in dataclasses.fields(config.AugmentationConfig)}
    names = {field for field in fields if config.camel(field) in config.NAMES}
    assert len(names) == len(config.NAMES)
    assert fields - names == {
        "spatial",
        "turn_probability",
        "transpose_probability",
        "mirror_axes",
        "mirror_last",
        "mirror_probability",
        "order",
        "previous_stage",
    }


@pytest.mark.parametrize("name", set_names())
def test_the_catalogue_says_what_each_set_takes(name):
    assert catalogue.packaged().parameters("augmentation", name) == lookup.parameters("augmentation", name)


def test_every_set_says_what_it_is_and_all_trainers_know_theirs():
    assert all(config.AUGMENTATIONS[name].help for name in set_names())
    chosen = {presets.recipe(name).augmentation.name for name in presets.PRESETS}
    assert chosen <= set(set_names())
    assert set(STRONG) <= chosen
    assert not Spatial(rotation_probability=0.0, scale_probability=0.0).active
