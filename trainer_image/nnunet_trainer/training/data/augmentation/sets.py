"""nnU-Net v2's sets of transforms."""

from __future__ import annotations

from dataclasses import replace

from nnunet_trainer.training.data.spatial_placement import Spatial

from .config import AugmentationConfig, register
from .transforms.filters import Median, Sharpening
from .transforms.intensity import AdditiveBrightness, Blur, Brightness, Contrast, Gamma, LowResolution, Noise
from .transforms.local import BlankRectangles, BrightnessGradient, LocalGamma
from .transforms.previous_stage import PreviousStageTransform


@register("default")
def default() -> AugmentationConfig:
    """nnU-Net's."""
    return AugmentationConfig(
        noise=Noise(probability=0.1),
        blur=Blur(probability=0.2),
        brightness=Brightness(probability=0.15),
        contrast=Contrast(probability=0.15),
        low_resolution=LowResolution(probability=0.25),
        inverted_gamma=Gamma(probability=0.1, invert=True),
        gamma=Gamma(probability=0.3),
    )


@register("none")
def none() -> AugmentationConfig:
    """Patches as they are; prediction does not mirror either."""
    spatial = Spatial(rotation_probability=0.0, scale_probability=0.0)
    return AugmentationConfig(spatial=spatial, mirror_axes=(), previous_stage=None)


@register("noMirroring")
def no_mirroring() -> AugmentationConfig:
    """nnU-Net's without mirroring, for left and right that must be told apart."""
    return replace(default(), mirror_axes=())


@register("onlyMirror01")
def only_mirror_01() -> AugmentationConfig:
    """nnU-Net's with mirroring along the first two axes, the first one in 2D."""
    return replace(default(), mirror_last=False)


@register("order0")
def order_0() -> AugmentationConfig:
    """nnU-Net's with segmentations resampled by nearest neighbour (and in a cascade every label changed, not every other)."""
    previous_stage = PreviousStageTransform(operator_label_probability=1.0, removal_label_probability=1.0)
    return replace(default(), spatial=Spatial(segmentation_order=0), previous_stage=previous_stage)


@register("order0NoMirroring")
def order_0_no_mirroring() -> AugmentationConfig:
    """order0 without mirroring."""
    return replace(order_0(), mirror_axes=())


@register("order0OnlyMirror01")
def order_0_only_mirror_01() -> AugmentationConfig:
    """order0 with mirroring along the first two axes, the first one in 2D."""
    return replace(order_0(), mirror_last=False)


@register("noDummy2D")
def no_dummy_2d() -> AugmentationConfig:
    """nnU-Net's, anisotropic patches rotated in 3D as well."""
    return replace(default(), spatial=Spatial(dummy_2d=False))


@register("independentScale")
def independent_scale() -> AugmentationConfig:
    """nnU-Net's with a scale for each axis."""
    return replace(default(), spatial=Spatial(scale_axis_probability=1.0))


@register("DA5")
def da5() -> AugmentationConfig:
    """nnU-Net's strong augmentation: quarter turns, median filter, blank rectangles, local brightness and gamma, sharpening."""
    inverted = Gamma(probability=0.1, invert=True)
    return AugmentationConfig(
        spatial=Spatial(
            rotation_probability=0.4,
            rotation_axis_probability=0.5,
            scale=(0.7, 1.43),
            scale_axis_probability=1.0,
            margin_scale=0.7,
        ),
        turn_probability=0.5,
        transpose_probability=0.5,
        order=(
            ("median", "blur"),
            "noise",
            "additiveBrightness",
            ("contrast", "freeContrast"),
            "lowResolution",
            "invertedGamma",
            "secondInvertedGamma",
            "blankRectangles",
            "brightnessGradient",
            "localGamma",
            "sharpening",
        ),
        median=Median(),
        blur=Blur(probability=0.2, sigma=(0.3, 1.5), per_axis=False),
        noise=Noise(probability=0.1),
        additive_brightness=AdditiveBrightness(probability=0.1, sigma=0.5, channel_probability=0.5),
        contrast=Contrast(probability=0.2, factor=(0.5, 2.0), channel_probability=0.5),
        free_contrast=Contrast(probability=0.2, factor=(0.5, 2.0), preserve_range=False, channel_probability=0.5),
        low_resolution=LowResolution(probability=0.15, scale=(0.25, 1.0)),
        inverted_gamma=inverted,
        second_inverted_gamma=inverted,
        blank_rectangles=BlankRectangles(),
        brightness_gradient=BrightnessGradient(),
        local_gamma=LocalGamma(),
        sharpening=Sharpening(),
    )


@register("DA5Order0")
def da5_order_0() -> AugmentationConfig:
    """DA5 with images and segmentations resampled by nearest neighbour."""
    return replace(da5(), spatial=replace(da5().spatial, image_order=0, segmentation_order=0))


@register("DA5SegmentationOrder0")
def da5_segmentation_order_0() -> AugmentationConfig:
    """DA5 with segmentations resampled by nearest neighbour."""
    return replace(da5(), spatial=replace(da5().spatial, segmentation_order=0))


@register("DA5OnlyMirror01")
def da5_only_mirror_01() -> AugmentationConfig:
    """DA5 with mirroring along the first two axes, the first one in 2D."""
    return replace(da5(), mirror_last=False)
