"""The two ends of a cascade: what one stage predicts for the next, and what the next one takes as channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing.case import target_spacing
from nnunet_trainer.preprocessing.resampling import resampling
from nnunet_trainer.preprocessing.storage import has_previous_stage, write_previous_stage

from .export import segmentation_by_heads


def with_previous_stage(image: np.ndarray, previous: np.ndarray, labels: LabelManager) -> np.ndarray:
    """An image (c, z, y, x) and one channel more for each foreground label of the previous stage's segmentation (z, y, x)."""
    found = labels.foreground_labels
    joined = np.empty((len(image) + len(found), *image.shape[1:]), np.float32)
    joined[: len(image)] = image
    for channel, label in zip(joined[len(image) :], found, strict=True):
        np.equal(previous, label, out=channel)
    return joined


class NextStages:
    """The configurations that take a configuration's segmentations as an input, and the folder where they look for them.

    Args:
        folder: `predicted_next_stage` of the model's folder; below it one folder a configuration.
        plans: of the model.
        configuration: of the model.

    Raises:
        BadConfiguration: the plans lack one of them.
    """

    def __init__(self, folder: Path, plans: Plans, configuration: Configuration) -> None:
        self.folder, self.plans, self.configuration = folder, plans, configuration
        self.following = [plans.configuration(name) for name in configuration.next_stages]

    def done(self, case: str) -> bool:
        """Whether a case is predicted for each of them."""
        return all(has_previous_stage(self.folder / each.name, case) for each in self.following)

    def write(self, case: str, logits: torch.Tensor, properties: dict[str, Any], labels: LabelManager) -> None:
        """Predict a case for each of them from its logits (heads, z, y, x), which are resampled one or two heads at a time.

        Raises:
            StorageFault: it cannot be written.
        """
        for each in self.following:
            segmentation = for_next_stage(logits, properties, self.plans, self.configuration, each, labels)
            write_previous_stage(self.folder / each.name, case, segmentation, each.patch_size)


def for_next_stage(
    logits: torch.Tensor | np.ndarray,
    properties: dict[str, Any],
    plans: Plans,
    configuration: Configuration,
    following: Configuration,
    labels: LabelManager,
) -> np.ndarray:
    """The segmentation (z, y, x) of a preprocessed case at the shape that the next stage's preprocessing gives it.

    The shape follows from the properties and the plans: the next stage's data need not be there.

    Args:
        logits: float32 (heads, z, y, x), at the configuration's spacing.
        properties: of preprocessing.
        plans: of the model.
        configuration: of the model.
        following: the next stage.
        labels: of the dataset.
    """
    array = logits if isinstance(logits, np.ndarray) else logits.cpu().numpy()
    spacing = [float(properties["spacing"][axis]) for axis in plans.transpose_forward]
    cropped = properties["shape_after_cropping_and_before_resampling"]
    shape = resampling.compute_new_shape(cropped, spacing, target_spacing(following, spacing))
    own, content = target_spacing(configuration, spacing), configuration.content
    resample = resampling.by_name(
        content.get("resampling_fn_probabilities", "resample_data_or_seg_to_shape"),
        content.get("resampling_fn_probabilities_kwargs", {}),
    )
    # nnU-Net gives its own spacing as the target's too: it decides whether slices are resampled apart.
    return segmentation_by_heads(array, _sizes(shape), lambda head: resample(head, shape, own, own), labels)


def _sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)
