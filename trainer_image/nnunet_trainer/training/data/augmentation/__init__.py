"""nnU-Net v2's augmentation: drawn in numpy where patches are read, done in torch on whatever device the batch lies.

Sets of transforms are found by name. No torch is imported here: workers that read draw too.
"""

from nnunet_trainer.training.data.patch_geometry import Geometry, geometry
from nnunet_trainer.training.data.spatial_placement import Spatial

from . import sets, sets_v1
from .config import AUGMENTATIONS, AugmentationConfig, augmentation_set, register, set_names

__all__ = [
    "AUGMENTATIONS",
    "AugmentationConfig",
    "Geometry",
    "Spatial",
    "augmentation_set",
    "geometry",
    "register",
    "set_names",
    "sets",
    "sets_v1",
]
