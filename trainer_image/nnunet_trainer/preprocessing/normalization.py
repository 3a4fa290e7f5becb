"""Intensity normalization, by the names that plans hold. All of them work on float32 (z, y, x) in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData, unknown_name
from nnunet_trainer.dataset.values import rgb_fault
from nnunet_trainer.extensions import Component, Registry
from nnunet_trainer.extensions.calls import guarded
from nnunet_trainer.planning.plans import component_entries, normalization_schemes

EPSILON = 1e-8
Properties = dict[str, float]
Scheme = Callable[..., Any]

NORMALIZATIONS: Registry[Scheme] = Registry("normalization scheme")
"""Functions `(image, seg, use_mask, properties, **parameters)` that change an image (z, y, x) in place, or return another one.

`seg` is -1 outside the nonzero region; `properties` are the channel's foreground_intensity_properties_per_channel.
"""


@NORMALIZATIONS.register("CTNormalization")
def ct(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """Clip to the dataset's 0.5 and 99.5 percentiles of foreground, then its mean and standard deviation."""
    _need("CTNormalization", properties, "percentile_00_5", "percentile_99_5", "mean", "std")
    np.clip(image, properties["percentile_00_5"], properties["percentile_99_5"], out=image)
    image -= properties["mean"]
    image /= max(properties["std"], EPSILON)


@NORMALIZATIONS.register("CT2Normalization")
def ct2(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """Clip to the dataset's 0.5 and 99.5 percentiles of foreground, then the mean and deviation of this image within them: v1's."""
    _need("CT2Normalization", properties, "percentile_00_5", "percentile_99_5")
    low, high = properties["percentile_00_5"], properties["percentile_99_5"]
    inside = image[(image > low) & (image < high)]
    np.clip(image, low, high, out=image)
    mean, std = (inside.mean(), inside.std()) if inside.size else (image.mean(), image.std())
    image -= mean
    image /= max(std, EPSILON)


def _need(scheme: str, properties: Properties, *keys: str) -> None:
    missing = [key for key in keys if key not in properties]
    if missing:
        raise BadConfiguration("InvalidPlans", f"{scheme} needs {missing[0]} in foreground_intensity_properties_per_channel.")


@NORMALIZATIONS.register("ZScoreNormalization")
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


@NORMALIZATIONS.register("NoNormalization")
def none(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """Nothing."""


@NORMALIZATIONS.register("RescaleTo01Normalization")
def rescale_to_0_1(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """The image's own range to 0 … 1."""
    image -= image.min()
    image /= max(image.max(), np.float32(EPSILON))


@NORMALIZATIONS.register("RGBTo01Normalization")
def rgb_to_0_1(image: np.ndarray, seg: np.ndarray, use_mask: bool, properties: Properties) -> None:
    """0 … 255 to 0 … 1."""
    if fault := rgb_fault(image):
        raise BadData("InvalidCases", f"{fault}.")
    image /= np.float32(255)


def normalize(
    data: np.ndarray, seg: np.ndarray, schemes: Sequence[Any], use_mask: list[bool], properties: dict[str, Properties]
) -> None:
    """Normalize (c, z, y, x) float32 in place, each channel by its scheme; those of further channels are not read, as in nnU-Net.

    Args:
        data: the channels.
        seg: (1, z, y, x), -1 outside the nonzero region.
        schemes: as plans hold them (`planning.plans.normalization_schemes`).
        use_mask: whether each is taken inside the nonzero region alone.
        properties: by channel, foreground_intensity_properties_per_channel.

    Raises:
        BadConfiguration: a scheme that there is not, a wrong parameter, or fewer schemes than channels.
    """
    if len(schemes) < len(data) or len(use_mask) < len(data):
        raise BadConfiguration(
            "InvalidPlans",
            f"The images have {len(data)} channels, the plans {len(schemes)} normalization schemes, {len(use_mask)} masks.",
        )
    for channel, (image, held, mask) in enumerate(zip(data, schemes, use_mask, strict=False)):
        if (name := component_entries.name_of(held)) not in NORMALIZATIONS:
            raise BadConfiguration("InvalidPlans", unknown_name("normalization scheme", name, NORMALIZATIONS))
        if found := normalization_schemes.faults([held]):
            raise BadConfiguration("InvalidPlans", f"{found[0]}.")
        scheme, parameters = component_entries.resolved("normalization", held)
        given = (image, seg[0], mask, properties.get(str(channel)) or {})
        if scheme.plugin is None:
            scheme.make(*given, **parameters)
        else:
            what = f"The normalization scheme {scheme.name} ({scheme.place}), with channel {channel},"
            _take(scheme, guarded(what, scheme.make, *given, **parameters), image, channel)


def _take(scheme: Component[Scheme], returned: Any, image: np.ndarray, channel: int) -> None:
    """What a plug-in's scheme has made of a channel, once it is seen to be an image of that shape."""
    if returned is not None and returned is not image:
        if np.shape(returned) != image.shape:
            raise BadConfiguration(
                "PluginResult",
                f"The normalization scheme {scheme.name} ({scheme.place}) made {np.shape(returned)} of channel {channel}, "
                f"whose shape is {image.shape}.",
                hint="Change the image in place, or return one of its shape.",
            )
        image[...] = returned
    if not np.isfinite(image).all():
        raise BadConfiguration(
            "PluginResult",
            f"The normalization scheme {scheme.name} ({scheme.place}) made NaN or infinity of channel {channel}.",
            hint="Mend the plug-in: a deviation of zero, the logarithm of a negative number?",
        )
