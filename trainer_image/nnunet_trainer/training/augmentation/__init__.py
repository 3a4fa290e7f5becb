"""nnU-Net v2's augmentation, batched in torch, on whatever device the batch lies. Sets of transforms are found by name."""

from .augmenter import Augmenter, validation_augmenter
from .config import AUGMENTATIONS, AugmentationConfig, augmentation_set, set_names
from .geometry import Geometry, geometry

__all__ = [
    "AUGMENTATIONS",
    "AugmentationConfig",
    "Augmenter",
    "Geometry",
    "augmentation_set",
    "geometry",
    "set_names",
    "validation_augmenter",
]
