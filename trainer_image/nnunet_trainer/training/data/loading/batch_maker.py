"""What makes a batch: by its place in the training alone, so that any process may make it, and make it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..augmentation.plan import Planner
from ..batch import Allocate, Batch, check_labels
from ..sampling import PatchSampler


class Place(NamedTuple):
    """Of a batch: `purpose` is a sampler's."""

    purpose: str
    epoch: int
    iteration: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which batch follows which: each epoch's training iterations, then its validation iterations."""

    epochs: int
    training_iterations: int
    validation_iterations: int

    def after(self, place: Place) -> Place | None:
        """The next one; None after the last."""
        iterations = self.training_iterations if place.purpose == "train" else self.validation_iterations
        if place.iteration + 1 < iterations:
            return place._replace(iteration=place.iteration + 1)
        if place.purpose == "train" and self.validation_iterations:
            return Place("val", place.epoch, 0)
        return Place("train", place.epoch + 1, 0) if place.epoch + 1 < self.epochs else None


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Makes the batch of a place.

    Args:
        samplers: by purpose.
        highest_label: of dataset.json.
        preparations: by purpose what makes of the batch, and of what allocates memory, what is taken instead (augmentation on the
            CPU); None: nothing.
        planners: by purpose what draws its augmentation; None: whoever augments draws it.
    """

    samplers: Mapping[str, PatchSampler]
    highest_label: int
    preparations: Mapping[str, Callable[[Batch, Allocate], Any]] | None = None
    planners: Mapping[str, Planner] | None = None

    def __call__(self, place: Place, allocate: Allocate = np.empty) -> Any:
        """Make it, in memory from `allocate`.

        Raises:
            BadData: a case cannot be read, or holds labels that dataset.json does not name.
        """
        prepare = None if self.preparations is None else self.preparations[place.purpose]
        batch = self.samplers[place.purpose].batch(place.epoch, place.iteration, np.empty if prepare else allocate)
        check_labels(batch, self.highest_label)
        if self.planners is not None:
            batch = replace(batch, plan=self.planners[place.purpose](batch))
        if prepare is not None:
            return prepare(batch, allocate)
        batch.begun.clear()  # generators are not worth their sending: another process draws the same
        return batch
