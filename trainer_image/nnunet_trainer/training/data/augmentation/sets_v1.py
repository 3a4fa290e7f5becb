"""nnU-Net v1's sets of transforms, which differ from v2's in more than their numbers.

Images are rotated and resampled by cubic splines; scales are drawn below and above 1 equally often and lie along the image's axes;
brightness factors are drawn uniformly; a blur has one width for all axes.
"""

from __future__ import annotations

from dataclasses import replace

from nnunet_trainer.training.data.spatial_placement import Spatial

from .config import AugmentationConfig, register
from .sets import da5
from .transforms.intensity import AdditiveBrightness, Blur, Brightness, Contrast, Gamma, LowResolution, Noise

_SPATIAL = Spatial(scale_around_one=True, scale_along="image", image_order=3)
_SHARED_BRIGHTNESS = AdditiveBrightness(probability=0.3, sigma=0.2, channel_probability=1.0)
_STRONG_ORDER = (
    "noise",
    "blur",
    "brightness",
    "contrast",
    "lowResolution",
    "invertedGamma",
    "additiveBrightness",
    "gamma",
)


def _with_gamma(config: AugmentationConfig) -> AugmentationConfig:
    gamma = (0.5, 1.6)
    return replace(
        config,
        inverted_gamma=Gamma(probability=0.15, gamma=gamma, invert=True),
        gamma=Gamma(probability=0.3, gamma=gamma),
    )


@register("v1")
def v1() -> AugmentationConfig:
    """v1's default: v2's with cubic interpolation, and scales, brightness and blur drawn as v1 did."""
    return AugmentationConfig(
        spatial=_SPATIAL,
        noise=Noise(probability=0.1),
        blur=Blur(probability=0.2, per_axis=False),
        brightness=Brightness(probability=0.15, uniform=True),
        contrast=Contrast(probability=0.15),
        low_resolution=LowResolution(probability=0.25, order=3),
        inverted_gamma=Gamma(probability=0.1, invert=True),
        gamma=Gamma(probability=0.3),
    )


@register("v1Legacy")
def legacy() -> AugmentationConfig:
    """Of v1's first trainer: elastic deformation, ±15°, slight scaling, gamma, mirroring."""
    spatial = replace(
        _SPATIAL,
        rotation=15.0,
        rotation_elongated=180.0,
        scale=(0.85, 1.25),
        elastic_probability=0.2,
        elastic_alpha=(0.0, 900.0),
        elastic_alpha_2d=(0.0, 200.0),
    )
    return AugmentationConfig(spatial=spatial, gamma=Gamma(probability=0.3))


@register("DA2")
def da2() -> AugmentationConfig:
    """v1's with a scale for each axis, rotation about each axis for itself, and additive brightness."""
    spatial = replace(_SPATIAL, rotation_axis_probability=0.5, rotation_axis_probability_2d=1.0, scale_axis_probability=1.0)
    return replace(
        v1(),
        spatial=spatial,
        order=("noise", "blur", "brightness", "additiveBrightness", "contrast", "lowResolution", "invertedGamma", "gamma"),
        additive_brightness=AdditiveBrightness(probability=0.15, sigma=0.1, channel_probability=0.5),
    )


@register("insaneDA")
def insane() -> AugmentationConfig:
    """v1's with wider ranges and elastic deformation (slice by slice in anisotropic patches, too)."""
    spatial = replace(
        _SPATIAL,
        rotation_elongated=180.0,
        scale=(0.65, 1.6),
        elastic_probability=0.2,
        elastic_alpha=(0.0, 1300.0),
        elastic_sigma=(9.0, 15.0),
    )
    return AugmentationConfig(
        spatial=spatial,
        order=_STRONG_ORDER,
        noise=Noise(probability=0.15),
        blur=Blur(probability=0.2, sigma=(0.5, 1.5), per_axis=False),
        brightness=Brightness(probability=0.15, factor=(0.7, 1.3), uniform=True),
        contrast=Contrast(probability=0.15, factor=(0.65, 1.5)),
        low_resolution=LowResolution(probability=0.25, order=3),
        inverted_gamma=Gamma(probability=0.15, gamma=(0.6, 2.0), invert=True),
        gamma=Gamma(probability=0.3, gamma=(0.6, 2.0)),
    )


@register("DA3")
def da3() -> AugmentationConfig:
    """v1's for many scanners: insaneDA with elastic deformation by scale, additive brightness, axes scaled apart at times."""
    spatial = replace(
        insane().spatial,
        rotation_probability=0.3,
        scale_probability=0.3,
        scale_axis_probability=0.3,
        elastic_probability=0.3,
        elastic_scale=(0.0, 0.25),
        margin_scale=0.7,
    )
    return _with_gamma(replace(insane(), spatial=spatial, additive_brightness=_SHARED_BRIGHTNESS))


@register("DA4")
def da4() -> AugmentationConfig:
    """DA3 with rotations up to ±90° about each axis, fewer deformations, and additive brightness of every other channel."""
    return replace(
        da3(),
        spatial=replace(da3().spatial, rotation=90.0, elastic_probability=0.2),
        additive_brightness=replace(_SHARED_BRIGHTNESS, channel_probability=0.5),
    )


@register("insaneDABrightness")
def insane_brightness() -> AugmentationConfig:
    """insaneDA with most samples rotated, gentle elastic deformation, and additive brightness; made for the heart (M&Ms)."""
    spatial = replace(
        insane().spatial,
        rotation_probability=0.7,
        scale_probability=0.3,
        scale_axis_probability=0.3,
        elastic_probability=0.1,
        elastic_alpha=(0.0, 300.0),
    )
    return _with_gamma(replace(insane(), spatial=spatial, additive_brightness=_SHARED_BRIGHTNESS))


@register("DA5V1")
def da5_v1() -> AugmentationConfig:
    """DA5 as v1 did it: cubic interpolation, scales around 1 along the image's axes, ±180° in 2D whatever the patch."""
    spatial = replace(da5().spatial, rotation_elongated=180.0, scale_around_one=True, scale_along="image", image_order=3)
    return replace(da5(), spatial=spatial, low_resolution=LowResolution(probability=0.15, scale=(0.25, 1.0), order=3))
