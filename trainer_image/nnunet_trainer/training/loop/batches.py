"""The batches of an epoch, as the network and the loss take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..data.augmentation.augmenter import Augmenter
from ..data.batch import Batch, rank_slots
from ..data.randomness import SampleKey
from ..data.sampling import PatchSampler
from ..session.batch_preparation import Prepared, preparation
from ..session.session import Session


def batches(
    session: Session,
    sampler: PatchSampler,
    augmenter: Augmenter,
    iterations: int,
    start: int = 0,
    watched: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> Iterator[Prepared]:
    """The batches of this epoch, from iteration `start` on; made ahead by the session's loader, augmented where the network is.

    Each is good until the next one is asked for.

    Args:
        session: of the training.
        sampler: draws them.
        augmenter: changes them.
        iterations: of a whole epoch.
        start: the first one.
        watched: passes on what the loader has made, and may look at how long that took.
    """
    augmented = preparation(augmenter, session.configuration, session.recipe, session.labels, session.ranks.device)
    if session.recipe.sampling.fixed_batch:
        fixed = augmented(noise(session))
        yield from watched(fixed for _ in range(start, iterations))
        return
    for item in watched(session.loader.batches(sampler.purpose, session.epoch, iterations, start)):
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
    data = torch.rand(shape, generator=generator)
    return session.augmenter.divided(data, seg, keys).mapped(torch.Tensor.numpy)
