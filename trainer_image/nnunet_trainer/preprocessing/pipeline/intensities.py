"""Steps that change intensities, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import FromFingerprint, Range
from nnunet_trainer.fingerprint.histogram_landmarks import FIELD, PERCENTILES, landmarks_of

from .registry import PREPROCESSING_STEPS, CaseState, chosen

Channels = tuple[Annotated[int, Range(0)], ...] | None
"""Indices; None for all."""
Percent = Annotated[float, Range(0, 100)]


@PREPROCESSING_STEPS.register("ClipPercentiles")
def clip_percentiles(
    images: np.ndarray,
    case: CaseState,
    *,
    channels: Channels = None,
    low: Percent = 0.5,
    high: Percent = 99.5,
    of: Literal["NonzeroRegion", "Image"] = "NonzeroRegion",
) -> None:
    """Clip each channel to two percentiles of this image, of its nonzero region or of all voxels."""
    if fault := _clip_fault(low=low, high=high):
        raise BadConfiguration("InvalidPlans", f"ClipPercentiles: {fault}.")
    for image in chosen(images, channels):
        values = image[case.inside] if of == "NonzeroRegion" else image.flatten()
        if values.size:
            limits = np.percentile(values, (low, high), overwrite_input=True)
            np.clip(image, *limits.astype(np.float32), out=image)


def _clip_fault(*, low: float = 0.5, high: float = 99.5, **others: object) -> str | None:
    return f"low is {low:g} and high {high:g}; low < high was expected" if low >= high else None


clip_percentiles.fault = _clip_fault  # type: ignore[attr-defined]


@PREPROCESSING_STEPS.register("MatchHistogram")
def match_histogram(
    images: np.ndarray,
    case: CaseState,
    *,
    channels: Channels = None,
    landmarks: Annotated[dict[str, tuple[float, ...]] | None, FromFingerprint(FIELD)] = None,
) -> None:
    """Map each channel's percentiles to the dataset's mean ones, linearly in between (Nyúl, Udupa and Zhang, 2000).

    `landmarks` has the percentiles, and by channel what they are mapped to; the extractor HistogramLandmarks finds them.
    """
    landmarks = landmarks or {}
    percentiles = landmarks.get(PERCENTILES, ())
    for channel, image in zip(range(len(images)) if channels is None else channels, chosen(images, channels), strict=True):
        standard = landmarks.get(str(channel), ())
        if len(standard) != len(percentiles) or len(standard) < 2:
            found = (
                f"MatchHistogram: landmarks has {len(percentiles)} percentiles, and {len(standard)} values of channel {channel}."
            )
            raise BadConfiguration("InvalidPlans", found, hint="Extract the fingerprint by HistogramLandmarks, and plan anew.")
        own = landmarks_of(image, case.inside, percentiles)
        if own is not None:
            for plane in image:
                plane[...] = _mapped(plane, own, np.asarray(standard))


match_histogram.another_scale = True  # type: ignore[attr-defined]


def _mapped(values: np.ndarray, own: np.ndarray, standard: Sequence[float] | np.ndarray) -> np.ndarray:
    """Linear between landmarks; beyond them, as between the two that are next."""
    own, keep = np.unique(own, return_index=True)
    goal = np.asarray(standard, np.float64)[keep]
    mapped = np.interp(values, own, goal)
    for end, beyond in ((0, values < own[0]), (-1, values > own[-1])):
        inner = 1 if end == 0 else -2
        slope = (goal[inner] - goal[end]) / (own[inner] - own[end])
        mapped[beyond] = goal[end] + (values[beyond] - own[end]) * slope
    return mapped
