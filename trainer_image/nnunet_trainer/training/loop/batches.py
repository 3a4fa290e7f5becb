"""The batches of an epoch, as the network and the loss take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..components.losses.deep_supervision import soft_targets
from ..data.augmentation import Augmenter
from ..data.batch import Batch, rank_slots
from ..data.randomness import SampleKey
from ..data.sampling import PatchSampler
from ..session.criterion import output_scales
from ..session.preparation import channels_last
from ..session.session import Session
from .input_checks import check_labels

Prepared = tuple[Tensor, list[Tensor]]
"""Patches (b, c, *patch), and the targets of each output."""


def batches(
    session: Session,
    sampler: PatchSampler,
    augmenter: Augmenter,
    iterations: int,
    start: int = 0,
    watched: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> Iterator[Prepared]:
    """The batches of this epoch, from iteration `start` on; read in threads, augmented where the network is.

    Args:
        session: of the training.
        sampler: draws them.
        augmenter: changes them.
        iterations: of a whole epoch.
        start: the first one.
        watched: passes on what the threads have made, and may look at how long that took.
    """
    device, layout = session.ranks.device, channels_last(session.configuration)

    def augmented(batch: Batch) -> Prepared:
        data, targets = augmenter(batch.data.to(device, non_blocking=True), batch.seg.to(device, non_blocking=True), batch.keys)
        return data.contiguous(memory_format=layout), softened(session, targets)

    if session.recipe.sampling.fixed_batch:
        fixed = augmented(noise(session))
        yield from watched(fixed for _ in range(start, iterations))
        return

    def read(batch: Batch) -> Batch | Prepared:
        check_labels(batch, session.labels)
        return batch.pin_memory() if on_gpu else augmented(batch)

    on_gpu = device.type == "cuda"
    made = sampler.epoch(
        session.epoch,
        iterations,
        start=start,
        transform=read,
        workers=session.workers,
    )
    for item in watched(made):
        yield augmented(item) if isinstance(item, Batch) else item


def noise(session: Session) -> Batch:
    """A batch of noise with random labels, always the same."""
    setup, ranks, configuration = session.setup, session.ranks, session.configuration
    slots = rank_slots(configuration.batch_size, ranks.rank, ranks.world_size)
    keys = [SampleKey(setup.seed, setup.fold, 0, 0, slot, "noise") for slot in slots]
    generator = keys[0].torch_generator("noise")
    stages = 2 if configuration.previous_stage else 1
    channels = configuration.num_input_channels(setup.dataset_json) - (stages - 1) * len(session.labels.foreground_labels)
    shape = (len(slots), channels, *configuration.patch_size)
    labels = torch.tensor(session.labels.all_labels, dtype=torch.int16)
    seg = labels[torch.randint(len(labels), (len(slots), stages, *configuration.patch_size), generator=generator)]
    return Batch(data=torch.rand(shape, generator=generator), seg=seg, cases=["noise"] * len(slots), keys=keys)


def softened(session: Session, targets: list[Tensor]) -> list[Tensor]:
    """The target of each output; with soft deep supervision it is made here from that at full resolution."""
    recipe, labels = session.recipe, session.labels
    if recipe.deep_supervision != "soft":
        return targets
    scales = output_scales(session.configuration, recipe)
    assert scales is not None
    return soft_targets(
        targets[0], scales, labels.num_segmentation_heads, regions=labels.has_regions, ignore_label=labels.ignore_label
    )
