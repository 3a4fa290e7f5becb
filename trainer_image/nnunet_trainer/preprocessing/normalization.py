"""Intensity normalization, by the names that plans hold. All of them work on float32 (z, y, x) in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData, unknown_name
from nnunet_trainer.dataset.values import rgb_fault

EPSILON = 1e-8
Properties = dict[str, float]
Scheme = Callable[[np.ndarray, np.ndarray, bool, Properties], None]


def ct(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """Clip to the dataset's 0.5 and 99.5 percentiles of foreground, then its mean and standard deviation."""
    missing = [key for key in ("percentile_00_5", "percentile_99_5", "mean", "std") if key not in properties]
    if missing:
        raise BadConfiguration(
            "InvalidPlans", f"CTNormalization needs {missing[0]} in foreground_intensity_properties_per_channel."
        )
    np.clip(image, properties["percentile_00_5"], properties["percentile_99_5"], out=image)
    image -= properties["mean"]
    image /= max(properties["std"], EPSILON)


def zscore(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """The image's own mean and standard deviation; with a mask both are taken, and applied, only where seg ≥ 0."""
    if use_mask:
        mask = seg >= 0
        inside = image[mask]
        if inside.size:
            image[mask] = (inside - inside.mean()) / max(inside.std(), EPSILON)
        return
    mean, std = image.mean(), image.std()
    image -= mean
    image /= max(std, EPSILON)


def none(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """Nothing."""


def rescale_to_0_1(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """The image's own range to 0 … 1."""
    image -= image.min()
    image /= max(image.max(), np.float32(EPSILON))


def rgb_to_0_1(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """0 … 255 to 0 … 1."""
    if fault := rgb_fault(image):
        raise BadData("InvalidCases", f"{fault}.")
    image /= np.float32(255)


SCHEMES: dict[str, Scheme] = {
    "CTNormalization": ct,
    "ZScoreNormalization": zscore,
    "NoNormalization": none,
    "RescaleTo01Normalization": rescale_to_0_1,
    "RGBTo01Normalization": rgb_to_0_1,
}


def normalize(
    data: np.ndarray, seg: np.ndarray, schemes: list[str], use_mask: list[bool], properties: dict[str, Properties]
) -> None:
    """Normalize (c, z, y, x) float32 in place, each channel by its scheme; those of further channels are not read, as in nnU-Net.

    Raises:
        BadConfiguration: a scheme that there is not, or fewer schemes than channels.
    """
    if len(schemes) < len(data) or len(use_mask) < len(data):
        raise BadConfiguration(
            "InvalidPlans",
            f"The images have {len(data)} channels, the plans {len(schemes)} normalization schemes, {len(use_mask)} masks.",
        )
    for channel, (image, name, mask) in enumerate(zip(data, schemes, use_mask, strict=False)):
        if name not in SCHEMES:
            raise BadConfiguration("InvalidPlans", unknown_name("normalization scheme", name, SCHEMES))
        SCHEMES[name](image, seg[0], mask, properties.get(str(channel)) or {})
