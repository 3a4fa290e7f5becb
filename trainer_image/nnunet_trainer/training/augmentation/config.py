"""An augmentation as data: which transforms, how often, how strong; and the sets of them that have names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name

from .intensity import Blur, Brightness, Contrast, Gamma, IntensityTransform, LowResolution, Noise


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

    `spatial` None: patches are cut out as they are. `mirror_axes` None: all axes; empty: none (prediction does not mirror either).
    """

    spatial: Spatial | None = field(default_factory=Spatial)
    intensity: tuple[IntensityTransform, ...] = field(default_factory=_default_intensity)
    mirror_axes: tuple[int, ...] | None = None
    mirror_probability: float = 0.5


def _order0() -> AugmentationConfig:
    return AugmentationConfig(spatial=Spatial(segmentation_order=0))


_SETS: dict[str, Callable[[], AugmentationConfig]] = {
    "default": AugmentationConfig,
    "none": lambda: AugmentationConfig(spatial=None, intensity=(), mirror_axes=()),
    "noMirroring": lambda: AugmentationConfig(mirror_axes=()),
    "onlyMirror01": lambda: AugmentationConfig(mirror_axes=(0, 1)),
    "order0": _order0,
    "order0NoMirroring": lambda: replace(_order0(), mirror_axes=()),
    "order0OnlyMirror01": lambda: replace(_order0(), mirror_axes=(0, 1)),
    "noDummy2D": lambda: AugmentationConfig(spatial=Spatial(dummy_2d=False)),
}


def register(name: str, make: Callable[[], AugmentationConfig]) -> None:
    """Give a set a name.

    Raises:
        BadConfiguration: the name is taken.
    """
    if name in _SETS:
        taken, new = _SETS[name], make
        places = " and ".join(f"{f.__module__}.{f.__qualname__}" for f in (taken, new))
        raise BadConfiguration("NameTaken", f"Two augmentation sets are named {name!r}: {places}.")
    _SETS[name] = make


def set_names() -> list[str]:
    """All names, sorted."""
    return sorted(_SETS)


def augmentation_set(name: str) -> AugmentationConfig:
    """A set by name.

    Raises:
        BadConfiguration: no such set.
    """
    if name not in _SETS:
        raise BadConfiguration("UnknownAugmentation", unknown_name("augmentation set", name, _SETS))
    return _SETS[name]()
