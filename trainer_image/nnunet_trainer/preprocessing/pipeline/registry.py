"""The registry of preprocessing steps, and what a step is told of its case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.cropping import as_segmentation
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.extensions import Registry
from nnunet_trainer.planning.plans import Configuration

from ..resampling.by_plans import resampled

PREPROCESSING_STEPS: Registry[Callable[..., np.ndarray | None]] = Registry("preprocessing step")
"""Functions `(images, case, **parameters)` that change float32 images (c, z, y, x) in place, or return others of that shape.

`case` is a `CaseState`. The same steps prepare training and prediction, so none sees a label: what a case looks like when it
comes to be predicted is all there is. A parameter `channels` (indices, None for all) is checked against the dataset's. What a
signature cannot say of parameters an attribute `fault` of the function can: `(**parameters) -> str | None`, when it is planned.
"""


@dataclass(kw_only=True)
class CaseState:
    """A case that is being preprocessed.

    Attributes:
        configuration: of the plans.
        dataset_json: of the model's dataset.
        spacing: mm along the axes of the images (z, y, x), which change when they are resampled.
        segmentation: integers (1, z, y, x), −1 outside; it is resampled when all steps are done. No step looks at it.
        properties: what the way back needs.
        stepwise: whether the plans name their steps. nnU-Net's own preprocessing takes its nonzero mask from the label.
    """

    configuration: Configuration
    dataset_json: dict[str, Any]
    spacing: list[float]
    segmentation: np.ndarray | None
    properties: dict[str, Any]
    stepwise: bool
    original_spacing: list[float] = field(init=False)
    shape: tuple[int, ...] = field(init=False, default=())
    """(z, y, x) of the images now."""
    _inside: np.ndarray | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.original_spacing = list(self.spacing)

    @property
    def channels(self) -> list[str]:
        """The names of the channels."""
        return [str(name) for name in channel_names(self.dataset_json).values()]

    @property
    def intensities(self) -> dict[str, dict[str, float]]:
        """The dataset's foreground_intensity_properties_per_channel."""
        return self.configuration.plans.foreground_intensity_properties

    @property
    def inside(self) -> np.ndarray:
        """Where the cropped image was not zero at first, holes filled: bool (z, y, x), as large as the images are now."""
        assert self._inside is not None, "Crop comes first"
        if self._inside.shape != self.shape:
            self._inside = self.resampled_labels(as_segmentation(self._inside))[0] >= 0
        return self._inside

    @inside.setter
    def inside(self, region: np.ndarray) -> None:
        self._inside = region

    def resampled_labels(self, labels: np.ndarray) -> np.ndarray:
        """Labels (1, z, y, x) of the cropped case as large as the images are now, as the plans resample a segmentation."""
        return resampled(self.configuration, "seg", labels, self.shape, self.original_spacing, self.spacing)


def chosen(images: np.ndarray, channels: Sequence[int] | None) -> list[np.ndarray]:
    """Views (z, y, x) of the channels that a step works on.

    Raises:
        BadConfiguration: there is no such channel.
    """
    for channel in channels or ():
        if channel >= len(images):
            found = f"A preprocessing step names channel {channel}; the images have {len(images)}, from 0 on."
            raise BadConfiguration("InvalidPlans", found)
    return [images[channel] for channel in (range(len(images)) if channels is None else channels)]
