"""The landmarks that histograms are matched by: percentiles of each image, and what they are on average on a common scale.

Nyúl, Udupa and Zhang: New variants of a method of MRI scale standardization, IEEE Transactions on Medical Imaging 19 (2000).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.cropping import nonzero_region, slices
from nnunet_trainer.extensions import Range

from .base_extractor import EXTRACTORS, DatasetFingerprintExtractor

FIELD = "histogram_landmarks"
"""In the fingerprint: the percentiles, and for each channel the values on the scale 0 to 100 that they are mapped to."""
PERCENTILES = "percentiles"
SCALE = 100.0


def landmarks_of(image: np.ndarray, inside: np.ndarray, percentiles: Sequence[float]) -> np.ndarray | None:
    """The percentiles of an image (z, y, x) within a region; None where it has less than two different values there."""
    values = image[inside]
    if values.size == 0:
        return None
    found = np.percentile(values, percentiles, overwrite_input=True).astype(np.float64)
    return found if found[0] < found[-1] else None


@EXTRACTORS.register("HistogramLandmarks")
class HistogramLandmarks(DatasetFingerprintExtractor):
    """nnU-Net's fingerprint, and the landmarks that the preprocessing step MatchHistogram maps each image's histogram to."""

    def __init__(
        self, *, percentiles: tuple[Annotated[float, Range(0, 100)], ...] = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
    ) -> None:
        if len(percentiles) < 2 or any(later <= earlier for earlier, later in itertools.pairwise(percentiles)):
            found = f"HistogramLandmarks: percentiles is {list(percentiles)}; two or more ascending numbers were expected."
            raise BadConfiguration("InvalidParameter", found)
        self.percentiles = percentiles

    def case(self, name: str, images: np.ndarray, seg: np.ndarray, spacing: Sequence[float]) -> Any:
        """Of each channel: its percentiles on a scale on which the first is 0 and the last 100; None for an image of one value."""
        inside, box = nonzero_region(images)
        found = [landmarks_of(image[slices(box)], inside, self.percentiles) for image in images]
        return [None if own is None else SCALE * (own - own[0]) / (own[-1] - own[0]) for own in found]

    def dataset(self, fingerprint: dict[str, Any], cases: Mapping[str, Any]) -> dict[str, Any]:
        """The mean of all cases."""
        landmarks: dict[str, Any] = {PERCENTILES: list(self.percentiles)}
        for channel, found in enumerate(zip(*cases.values(), strict=True)):
            known = [own for own in found if own is not None]
            if not known:
                raise BadConfiguration("InvalidParameter", f"HistogramLandmarks: channel {channel} has one value in every image.")
            landmarks[str(channel)] = np.mean(known, axis=0)
        return {**fingerprint, FIELD: landmarks}
