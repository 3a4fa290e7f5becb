"""nnU-Net v2's augmentation, batched in torch, on whatever device the batch lies. Sets of transforms are found by name."""

from . import sets, sets_v1
from .augmenter import Augmenter, validation_augmenter
from .config import AUGMENTATIONS, AugmentationConfig, augmentation_set, register, set_names
from .patch_geometry import Geometry, geometry
from .transforms.spatial_transform import Spatial

__all__ = [
    "AUGMENTATIONS",
    "AugmentationConfig",
    "Augmenter",
    "Geometry",
    "Spatial",
    "augmentation_set",
    "geometry",
    "register",
    "set_names",
    "sets",
    "sets_v1",
    "validation_augmenter",
]
