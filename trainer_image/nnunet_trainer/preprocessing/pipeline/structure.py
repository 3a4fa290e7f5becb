"""The steps that every preprocessing has: nnU-Net's."""

from __future__ import annotations

import numpy as np

from nnunet_trainer.dataset.cropping import as_segmentation, nonzero_region, slices

from ..normalization import normalize as normalize_channels
from ..resampling.by_plans import resampled, resampled_shape, target_spacing
from .registry import PREPROCESSING_STEPS, CaseState


@PREPROCESSING_STEPS.register("Crop")
def crop(images: np.ndarray, case: CaseState) -> np.ndarray:
    """To the box around what is not zero; what is zero outside is marked as such (−1) in the segmentation."""
    inside, box = nonzero_region(images)
    index = (slice(None), *slices(box))
    if case.segmentation is None:
        case.segmentation = as_segmentation(inside)
    else:
        case.segmentation = case.segmentation[index]
        case.segmentation[0][(case.segmentation[0] == 0) & ~inside] = -1
    if case.stepwise:
        case.inside = inside
    case.properties["bbox_used_for_cropping"] = box
    images = images[index]
    case.properties["shape_after_cropping_and_before_resampling"] = tuple(images.shape[1:])
    return images


@PREPROCESSING_STEPS.register("Normalize")
def normalize(images: np.ndarray, case: CaseState) -> None:
    """Each channel by the scheme that the plans name."""
    segmentation = as_segmentation(case.inside) if case.stepwise else case.segmentation
    assert segmentation is not None
    plans = case.configuration
    normalize_channels(images, segmentation, plans.normalization_schemes, plans.use_mask_for_norm, case.intensities)


@PREPROCESSING_STEPS.register("Resample")
def resample(images: np.ndarray, case: CaseState, *, keep_first_axis: bool = False) -> np.ndarray:
    """To the configuration's spacing; keepFirstAxis keeps the case's own along the first axis, as 2d always does."""
    # `target_spacing` reads keepFirstAxis too: the way back needs it.
    target = target_spacing(case.configuration, case.spacing)
    shape = resampled_shape(images.shape, case.spacing, target)
    images = resampled(case.configuration, "data", images, shape, case.spacing, target)
    case.spacing = target
    return np.ascontiguousarray(images, np.float32)
