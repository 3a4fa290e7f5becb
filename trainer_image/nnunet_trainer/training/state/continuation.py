"""Going on from a finished training for more epochs, as a training of its own: nothing of the learning rate happens in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration

from ..ranks import distributed
from ..recipes.recipe import Recipe
from ..session.session import Session
from ..session.setup import ContinuedTraining
from . import resuming


def finished_epochs(path: Path, *, allow_pickle: bool = False) -> int:
    """How many epochs a finished training has, by its final checkpoint, ours or nnU-Net's.

    Args:
        path: the checkpoint.
        allow_pickle: execute what it contains.

    Raises:
        BadData: it is not there, or no whole checkpoint.
        BadConfiguration: it is not of the end of a training.
    """
    epochs, iteration = checkpoint.position(checkpoint.load(path, allow_pickle=allow_pickle))
    if iteration or epochs == 0 or path.name in (checkpoint.LATEST, checkpoint.PREVIOUS, checkpoint.BEST):
        raise BadConfiguration(
            "UnfinishedTraining",
            f"{path} is not of the end of a training: {epochs} epochs and {iteration} iterations.",
            hint=f"Let that training finish (--continue), and go on from its {checkpoint.FINAL}.",
        )
    return epochs


def extended(recipe: Recipe, continued: ContinuedTraining) -> Recipe:
    """The recipe of both trainings together: it has all of their epochs."""
    return replace(recipe, epochs=continued.all_epochs)


def begin(session: Session, continued: ContinuedTraining) -> None:
    """Take over weights, optimizer, history and epochs of the finished training. Every rank calls this.

    Its best checkpoint is its own: the best one of this training is of the epochs that follow.

    Raises:
        BadData: its checkpoint is not whole any more.
        BadConfiguration: it was trained with other plans, labels or another recipe; the findings name what differs.
    """
    path, allow_pickle = continued.checkpoint, session.setup.allow_pickle
    found = distributed.done_by_first(lambda: checkpoint.Found(path, checkpoint.load(path, allow_pickle=allow_pickle)), None)
    described = distributed.from_first(found and found.described())
    try:
        resuming.restore(session, found or described)
    except BadConfiguration as fault:
        fault.message = f"{continued.source} cannot be gone on from: {fault.message}"
        fault.hint = (
            "Go on with the plans, the labels and the recipe that it was trained with; to change them, begin a training with its "
            "weights (spec.pretrained, --pretrained)."
        )
        raise
    session.best_ema = session.resumed_from = session.pretrained = None


def describe(session: Session, continued: ContinuedTraining) -> str:
    """One sentence: what was gone on from, for how long, and from what to what the learning rate goes at the seam."""
    first, more, rates = continued.epochs, continued.additional_epochs, session.history.lists["lrs"]
    over = f"stretched over all {continued.all_epochs}" if continued.schedule == "Stretch" else f"restarted over these {more}"
    before = f"{rates[first - 1]:.4g} → " if len(rates) >= first else ""
    return (
        f"continues {continued.source}: {more} epochs after its {first}, {session.recipe.schedule.name} {over}, "
        f"learning rate {before}{session.learning_rate(first):.4g}"
    )
