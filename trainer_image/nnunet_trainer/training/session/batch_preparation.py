"""From a batch as it was read to what the network and the loss take; done where the network is, or on the CPU by whoever reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nnunet_trainer.architecture.memory_format import channels_last_format
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Configuration

from ..components.losses.deep_supervision import soft_targets
from ..data.augmentation.augmenter import Augmenter
from ..data.batch import Allocate, Batch
from ..recipes.recipe import Recipe
from .optimization.criterion import output_scales

Prepared = tuple[Tensor, list[Tensor]]
"""Patches (b, c, *patch), and the targets of each output."""


@dataclass(frozen=True, slots=True)
class BatchPreparation:
    """Augmentation and targets.

    Args:
        augmenter: of the purpose.
        device: where the network is.
        layout: of the patches in memory.
        soft: with soft deep supervision, makes the targets of those at full resolution.
    """

    augmenter: Augmenter
    device: torch.device
    layout: torch.memory_format
    soft: SoftTargets | None = None

    def __call__(self, batch: Batch, allocate: Allocate = np.empty) -> Prepared:
        """Of a batch of numpy arrays, whose memory may be used for it.

        Args:
            batch: as it was read.
            allocate: on a CPU makes the memory of what is large; not `numpy.empty`: of what is sent to another process.
        """
        if batch.plan is None:
            batch = replace(batch, plan=self.augmenter.planner(self.device.type)(batch))
        # What another process gets takes part in no graph here.
        with torch.inference_mode(allocate is not np.empty):
            moved = batch.mapped(lambda x: torch.from_numpy(x).to(self.device, non_blocking=True))
            data, targets = self.augmenter.augment(moved, self.layout, allocate)
            return data, targets if self.soft is None else self.soft(targets[0])


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """`soft_targets` with the numbers of a network."""

    scales: Sequence[Sequence[float]]
    heads: int
    regions: bool
    ignore_label: int | None

    def __call__(self, target: Tensor) -> list[Tensor]:
        """The target of each output."""
        return soft_targets(target, self.scales, self.heads, regions=self.regions, ignore_label=self.ignore_label)


def preparation(
    augmenter: Augmenter, configuration: Configuration, recipe: Recipe, labels: LabelManager, device: torch.device
) -> BatchPreparation:
    """What a training does to its batches."""
    soft = None
    if recipe.deep_supervision == "soft":
        scales = output_scales(configuration, recipe)
        assert scales is not None
        soft = SoftTargets(scales, labels.num_segmentation_heads, labels.has_regions, labels.ignore_label)
    return BatchPreparation(augmenter, device, channels_last_format(configuration.dimensions), soft)
