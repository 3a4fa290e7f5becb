"""One iteration: batch in, loss out."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.randomness import SampleKey
from ..session.session import Session
from ..session.step_phases import FORWARD
from . import pseudo_dice


def _outputs(session: Session, data: Tensor) -> list[Tensor]:
    result = session.runner(data)
    return list(result) if isinstance(result, list | tuple) else [result]


def train_step(session: Session, data: Tensor, targets: list[Tensor]) -> Tensor:
    """Forward, backward, step; returns this rank's share of the loss."""
    # Dropout and stochastic depth draw from the global generator: by its place an iteration draws the same after a resumption.
    place = SampleKey(session.setup.seed, session.setup.fold, session.epoch, session.iteration, session.ranks.rank)
    torch.manual_seed(place.torch_generator("network").initial_seed())
    session.enter(FORWARD)
    session.optimizer.zero_grad(set_to_none=True)
    with session.precision.autocast():
        loss = session.criterion(_outputs(session, data), targets)
    clip, parameters = session.recipe.gradient_clip, session.network.parameters()
    session.precision.step(loss, parameters, session.optimizer, clip, session.exchange, session.enter)
    return loss.detach()


@torch.no_grad()
def validation_step(session: Session, data: Tensor, targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """This rank's share of the loss, and its counts for the pseudo-Dice, (3, classes)."""
    with session.precision.autocast():
        outputs = _outputs(session, data)
        loss = session.criterion(outputs, targets)
    labels = session.labels
    found = pseudo_dice.counts(outputs[0], targets[0], regions=labels.has_regions, ignore_label=labels.ignore_label)
    return loss.detach(), found
