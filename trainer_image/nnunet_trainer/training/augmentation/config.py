"""An augmentation as data: which transforms, how often, how strong; and the sets of them that have names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nnunet_trainer.extensions import Registry

from .intensity import Blur, Brightness, Contrast, Gamma, IntensityTransform, LowResolution, Noise
from .previous_stage import PreviousStage


@dataclass(frozen=True, kw_only=True, slots=True)
class Spatial:
    """Rotation and scaling about the patch's centre, drawn independently of each other.

    The angle's range follows from the patch (`geometry`). A scale above 1 makes things smaller. Orders: 1 linear, 0 nearest.
    """

    rotation_probability: float = 0.2
    scale_probability: float = 0.2
    scale: tuple[float, float] = (0.7, 1.4)
    image_order: int = 1
    segmentation_order: int = 1
    dummy_2d: bool = True


def _default_intensity() -> tuple[IntensityTransform, ...]:
    return (
        Noise(probability=0.1),
        Blur(probability=0.2),
        Brightness(probability=0.15),
        Contrast(probability=0.15),
        LowResolution(probability=0.25),
        Gamma(probability=0.1, invert=True),
        Gamma(probability=0.3),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig:
    """Spatial transform, then the intensity transforms in order, then mirroring each axis with probability ½.

    `spatial` None: patches are cut out as they are. `mirror_axes` None: all axes, or all but the last without `mirror_last`; empty:
    none (prediction does not mirror either). `previous_stage` counts in a cascade; None: its segmentation is left as it is.
    """

    spatial: Spatial | None = field(default_factory=Spatial)
    intensity: tuple[IntensityTransform, ...] = field(default_factory=_default_intensity)
    mirror_axes: tuple[int, ...] | None = None
    mirror_last: bool = True
    mirror_probability: float = 0.5
    previous_stage: PreviousStage | None = field(default_factory=PreviousStage)


def _order0() -> AugmentationConfig:
    return AugmentationConfig(spatial=Spatial(segmentation_order=0))


AUGMENTATIONS: Registry[Callable[[], AugmentationConfig]] = Registry("augmentation set")
"""Makers of sets by name; a plug-in may register its own."""


@AUGMENTATIONS.register("default")
def _default() -> AugmentationConfig:
    """nnU-Net's."""
    return AugmentationConfig()


@AUGMENTATIONS.register("none")
def _none() -> AugmentationConfig:
    """Patches as they are; prediction does not mirror either."""
    return AugmentationConfig(spatial=None, intensity=(), mirror_axes=(), previous_stage=None)


@AUGMENTATIONS.register("noMirroring")
def _no_mirroring() -> AugmentationConfig:
    """nnU-Net's without mirroring, for left and right that must be told apart."""
    return AugmentationConfig(mirror_axes=())


@AUGMENTATIONS.register("onlyMirror01")
def _only_mirror_01() -> AugmentationConfig:
    """nnU-Net's with mirroring along the first two axes, the first one in 2D."""
    return AugmentationConfig(mirror_last=False)


@AUGMENTATIONS.register("order0")
def _order0() -> AugmentationConfig:
    """nnU-Net's with segmentations resampled by nearest neighbour."""
    return AugmentationConfig(spatial=Spatial(segmentation_order=0))


@AUGMENTATIONS.register("order0NoMirroring")
def _order0_no_mirroring() -> AugmentationConfig:
    """order0 without mirroring."""
    return replace(_order0(), mirror_axes=())


@AUGMENTATIONS.register("order0OnlyMirror01")
def _order0_only_mirror_01() -> AugmentationConfig:
    """order0 with mirroring along the first two axes, the first one in 2D."""
    return replace(_order0(), mirror_last=False)


@AUGMENTATIONS.register("noDummy2D")
def _no_dummy_2d() -> AugmentationConfig:
    """nnU-Net's, anisotropic patches rotated in 3D as well."""
    return AugmentationConfig(spatial=Spatial(dummy_2d=False))


def set_names() -> list[str]:
    """All names, sorted."""
    return list(AUGMENTATIONS)


def augmentation_set(name: str) -> AugmentationConfig:
    """A set by name.

    Raises:
        BadConfiguration: no such set; the message has the nearest names and the list.
    """
    return AUGMENTATIONS[name].make()
