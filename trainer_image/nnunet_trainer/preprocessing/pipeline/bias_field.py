"""Bias field correction of MRI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.extensions import Range

from .intensities import Channels
from .registry import PREPROCESSING_STEPS, CaseState, chosen

LEAST = 8
"""Voxels along an axis that are left at least when an image is shrunk."""


@PREPROCESSING_STEPS.register("N4BiasFieldCorrection")
def n4_bias_field_correction(
    images: np.ndarray,
    case: CaseState,
    *,
    channels: Channels = None,
    shrink_factor: Annotated[int, Range(1, 32)] = 4,
    iterations: tuple[Annotated[int, Range(1, 1000)], ...] = (50, 50, 50, 50),
    convergence_threshold: Annotated[float, Range(0, 1, low_open=True)] = 0.001,
    control_points: Annotated[int, Range(4, 64)] = 4,
) -> None:
    """Divide MRI by its smooth bias field, estimated where the image is positive in the nonzero region (N4: Tustison et al., 2010).

    `iterations` are of each resolution of the field, coarse to fine; `shrinkFactor` is of the image that it is estimated on.
    """
    for image in chosen(images, channels):
        mask = case.inside & (image > 0)
        if mask.any():
            _correct(image, mask, case.spacing, shrink_factor, iterations, convergence_threshold, control_points)


def _correct(
    image: np.ndarray,
    mask: np.ndarray,
    spacing: Sequence[float],
    shrink_factor: int,
    iterations: Sequence[int],
    convergence_threshold: float,
    control_points: int,
) -> None:
    import SimpleITK as sitk

    thick = [axis for axis, size in enumerate(image.shape) if size > 1]
    if len(thick) < 2:
        raise BadData("InvalidCases", f"N4BiasFieldCorrection needs a plane at least; the image has shape {image.shape}.")
    flat = tuple(slice(None) if axis in thick else 0 for axis in range(3))  # N4 fits no field along a single slice
    image, mask = image[flat], mask[flat]

    def as_image(array: np.ndarray) -> sitk.Image:
        made = sitk.GetImageFromArray(np.ascontiguousarray(array))
        made.SetSpacing([spacing[axis] for axis in reversed(thick)])
        return made

    whole = as_image(image)
    factors = [max(1, min(shrink_factor, size // LEAST)) for size in reversed(image.shape)]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)  # cases are worked on side by side; and no sum depends on how many threads there are
    corrector.SetMaximumNumberOfIterations(list(iterations))
    corrector.SetConvergenceThreshold(convergence_threshold)
    corrector.SetNumberOfControlPoints([control_points] * len(thick))
    try:
        corrector.Execute(sitk.Shrink(whole, factors), sitk.Shrink(as_image(mask.astype(np.uint8)), factors))
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1]
        raise BadData("InvalidCases", f"N4BiasFieldCorrection fails on an image of shape {image.shape}: {said}") from error
    field = corrector.GetLogBiasFieldAsImage(whole)
    del whole
    for plane, logarithm in zip(image, sitk.GetArrayViewFromImage(field), strict=True):
        plane /= np.exp(logarithm)
