"""The batches of an epoch, as the network and the loss take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
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
    device = session.ranks.device
    augmented = preparation(augmenter, session.configuration, session.recipe, session.labels, device)
    if device.type == "cuda":
        augmented = replace(augmented, layout=session.layout.format(session.configuration.dimensions))
    if session.recipe.sampling.fixed_batch:
        fixed = augmented(noise(session, augmenter))
        yield from watched(fixed for _ in range(start, iterations))
        return
    made = session.loader.batches(sampler.purpose, session.epoch, iterations, start)
    if device.type == "cuda":
        for upcoming in watched(ahead(made, augmented, device, lambda: session.loader.ready)):
            yield upcoming.taken()
        return
    for item in watched(made):
        yield augmented(item) if isinstance(item, Batch) else item


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A batch that a stream of its own augments.

    Attributes:
        prepared: in memory of that stream.
        done: passed when it is ready.
    """

    prepared: Prepared
    done: torch.cuda.Event

    def taken(self) -> Prepared:
        """For the current stream, whose further work waits until it is ready."""
        torch.cuda.current_stream(self.prepared[0].device).wait_event(self.done)
        return self.prepared


def ahead(
    made: Iterator[Batch], augmented: Callable[[Batch], Prepared], device: torch.device, ready: Callable[[], bool]
) -> Iterator[Upcoming]:
    """Batches of the loader, uploaded and augmented by a stream of their own, one ahead: beside the step of the one before.

    Args:
        made: as the loader reads them; asked for the next one, it takes the memory of the last one back when all that this stream
            was given before is done.
        augmented: gives the GPU work, and does not wait for it.
        device: the GPU.
        ready: whether the loader's next one is. If it is late, the step of the batch before is not kept waiting with it.
    """
    stream = _stream(device)

    def begun(steps: torch.cuda.Event) -> Upcoming | None:
        with torch.cuda.stream(stream):
            batch = next(made, None)
            if batch is None:
                return None
            # What was dropped until here is this stream's to use again, but the steps may be in the GPU's queue that look at it.
            # `record_stream` is no way: however far that queue reaches, it would keep the batch of each of its steps.
            stream.wait_event(steps)
            return Upcoming(augmented(batch), stream.record_event())

    current = begun(torch.cuda.current_stream(device).record_event())
    while current is not None:
        # Of all batches but this one, which is held until the next one is begun.
        steps, soon = torch.cuda.current_stream(device).record_event(), ready()
        following = begun(steps) if soon else None
        yield current
        current = following if soon else begun(steps)


@lru_cache(maxsize=1)
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for a whole training: whether its work is done says so of all batches that were ever given to it."""
    return torch.cuda.Stream(device)


def noise(session: Session, augmenter: Augmenter) -> Batch:
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
    return augmenter.divided(data, seg, keys).mapped(torch.Tensor.numpy)
