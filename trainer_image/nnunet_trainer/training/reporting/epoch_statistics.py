"""What the iterations of an epoch show beside their loss: which labels, gradients that were clipped, waiting for data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from nnunet_trainer.dataset.labels import LabelManager

from ..ranks import distributed
from ..session.session import Session
from ..session.step_phases import PREPARATION, WAITING

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochStatistics:
    """One epoch, over all ranks."""

    patches: int
    """Of all ranks."""
    steps: int = 1
    seen: tuple[bool, ...]
    """Of each foreground class, whether any patch showed it."""
    seconds: Mapping[str, float]
    """Of each phase of the steps, the mean over ranks."""
    clipped: float = 0.0
    """Share of the steps whose gradients were clipped."""
    gradient_norm: float | None = None
    """Mean of those that are numbers, before they were clipped."""
    skipped: int = 0
    """Steps whose loss was no number."""

    @property
    def patches_per_second(self) -> float:
        """Of all ranks together."""
        whole = sum(self.seconds.values())
        return self.patches / whole if whole else 0.0

    @property
    def waiting(self) -> float:
        """Share of the steps' whole time that the device spent without data."""
        whole = sum(self.seconds.values())
        return self.seconds.get(WAITING, 0.0) / whole if whole else 0.0


class StatisticsCollector:
    """Counts on the device, and waits for it only where someone else has waited."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._device = session.ranks.device
        self.begin()

    def begin(self) -> None:
        """A new epoch."""
        classes = len(self.session.labels.foreground_classes)
        self._seen = torch.zeros(classes, dtype=torch.bool, device=self._device)
        self._all_seen = False
        self._norms = torch.zeros(3, device=self._device)  # clipped, sum of norms, norms
        self._iterations = 0

    def waits(self, items: Iterator[T]) -> Iterator[T]:
        """The same items. On a GPU the time counts in which it had nothing to do, else the time until an item is there."""
        while True:
            self.session.enter(WAITING)
            try:
                item = next(items)
            except StopIteration:
                return
            self.session.enter(PREPARATION)
            yield item

    def step(self, targets: list[Tensor]) -> None:
        """One iteration is done, on these targets."""
        self._iterations += 1
        if not self._all_seen:
            self._seen |= shown(targets[0], self.session.labels)
        norm, limit = self.session.precision.norm, self.session.recipe.gradient_clip
        if norm is not None and limit is not None:
            good = norm.isfinite()
            self._norms += torch.stack([x.float() for x in (good & (norm > limit), norm.nan_to_num(0, 0, 0), good)])

    def look(self) -> None:
        """The device has done all that it was asked: read what costs a wait."""
        self.session.phases.look()
        self._all_seen = bool(self._seen.all())

    def end(self, skipped: int = 0) -> EpochStatistics:
        """The epoch's iterations are done. Every rank calls this.

        Args:
            skipped: steps of this rank whose loss was no number.
        """
        self.look()
        seconds, world = self.session.phases.take(), self.session.ranks.world_size
        own = [float(skipped), *self._norms.tolist(), *seconds.values(), *self._seen.double().tolist()]
        skips, clipped, norms, counted, *more = distributed.total(own)
        spent, seen = more[: len(seconds)], more[len(seconds) :]
        return EpochStatistics(
            patches=self._iterations * self.session.configuration.batch_size,
            steps=self._iterations,
            seen=tuple(ranks > 0 for ranks in seen),
            seconds={phase: both / world for phase, both in zip(seconds, spent, strict=True)},
            clipped=clipped / counted if counted else 0.0,
            gradient_norm=norms / counted if counted else None,
            skipped=round(skips),
        )


def shown(target: Tensor, labels: LabelManager) -> Tensor:
    """Which foreground classes a batch shows, (classes,) bool on its device, without waiting for it.

    Args:
        target: labels (b, 1, *patch), or masks (b, regions [+ ignore], *patch).
        labels: say which.
    """
    if labels.has_regions:
        return target[:, : len(labels.foreground_regions)].bool().flatten(2).any(2).any(0)
    highest = max([*labels.all_labels, labels.ignore_label or 0])
    found = torch.zeros(highest + 1, dtype=torch.bool, device=target.device)
    found.scatter_(0, target.flatten().long().clamp(0, highest), True)
    return found[torch.tensor(labels.foreground_labels, device="cpu").to(target.device, non_blocking=True)]
