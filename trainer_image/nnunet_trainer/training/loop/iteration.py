"""One iteration: batch in, loss out."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.randomness import SampleKey
from ..session.optimization.criterion import outputs
from ..session.session import Session
from ..session.step_phases import FORWARD
from .validation import pseudo_dice


def train_step(session: Session, data: Tensor, targets: list[Tensor]) -> Tensor:
    """Forward, backward, step; returns this rank's share of the loss."""
    if session.draws:
        # Dropout and stochastic depth draw from the global generator: by its place an iteration draws the same after a resumption.
        place = SampleKey(session.setup.seed, session.setup.fold, session.epoch, session.iteration, session.ranks.rank)
        torch.manual_seed(place.torch_seed("network"))
    session.enter(FORWARD)
    session.optimizer.zero_grad(set_to_none=True)
    with session.precision.autocast():
        if session.joint_loss is not None:
            loss = session.joint_loss(data, targets)
        else:
            loss = session.criterion(outputs(session.runner(data)), targets)
    clip, parameters = session.recipe.gradient_clip, session.network.parameters()
    session.precision.step(loss, parameters, session.optimizer, clip, session.exchange, session.enter)
    return loss.detach()


@torch.no_grad()
def validation_step(session: Session, data: Tensor, targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """This rank's share of the loss, and its counts for the pseudo-Dice, (3, classes)."""
    with session.precision.autocast():
        found = outputs(session.runner(data))
        loss = session.criterion(found, targets)
    labels = session.labels
    counted = pseudo_dice.counts(found[0], targets[0], regions=labels.has_regions, ignore_label=labels.ignore_label)
    return loss.detach(), counted
