"""The two ends of a cascade: what one stage predicts for the next, and what the next one takes as channels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing.previous_stage import has_previous_stage, write_previous_stage
from nnunet_trainer.preprocessing.resampling import resampling
from nnunet_trainer.preprocessing.resampling.by_plans import resampling_of, target_spacing
from nnunet_trainer.preprocessing.resampling.by_slabs import parts

from .export import segmentation_by_heads
from .large_images import Goal


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

    def segmentations(self, logits: torch.Tensor, properties: dict[str, Any], labels: LabelManager) -> Iterator[np.ndarray]:
        """A case for each of them from its logits (heads, z, y, x), which are resampled one or two heads at a time."""
        for each in self.following:
            yield for_next_stage(logits, properties, self.plans, self.configuration, each, labels)

    def goals(self, shape: Sequence[int], properties: dict[str, Any]) -> list[Goal] | None:
        """The same, of logits of a shape (z, y, x) that come plane after plane; None where their resampling has no parts."""
        found = []
        for each in self.following:
            wanted, own = _at_next_stage(properties, self.plans, self.configuration, each)
            made_of = parts(*resampling_of(self.configuration, "probabilities"), shape, wanted, own, own)
            if made_of is None:
                return None
            found.append(Goal(wanted, made_of))
        return found

    def write(self, case: str, segmentations: Iterable[np.ndarray]) -> None:
        """Write a case for each of them.

        Raises:
            StorageFault: it cannot be written.
        """
        for each, segmentation in zip(self.following, segmentations, strict=True):
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
    resample = resampling.by_name(*resampling_of(configuration, "probabilities"))
    shape, own = _at_next_stage(properties, plans, configuration, following)
    return segmentation_by_heads(array, shape, lambda head: resample(head, shape, own, own), labels)


def _at_next_stage(
    properties: dict[str, Any], plans: Plans, configuration: Configuration, following: Configuration
) -> tuple[tuple[int, ...], list[float]]:
    """The shape of a case at the next stage, and the spacing of the configuration's own logits.

    nnU-Net gives its own spacing as the target's too: it decides whether slices are resampled apart.
    """
    spacing = [float(properties["spacing"][axis]) for axis in plans.transpose_forward]
    cropped = properties["shape_after_cropping_and_before_resampling"]
    shape = resampling.compute_new_shape(cropped, spacing, target_spacing(following, spacing))
    return tuple(int(size) for size in shape), target_spacing(configuration, spacing)
