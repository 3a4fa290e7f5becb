"""Early signs of trouble: what is wrong with a training, since when, and what to change.

Each check is a function of what is known after an epoch. It answers with what it found, or None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..recipes.recipe import Recipe
from .epoch_statistics import EpochStatistics

UNSEEN_EPOCHS, UNSEEN_PATCHES = 3, 100
"""So many epochs, with so many patches at least, must lack a class."""
ZERO_EPOCHS, ZERO_EPOCHS_SHORT = 30, 5
"""So many epochs in a row, or a fifth of a short training's but at least the second, must find nothing of a class."""
FALLING_EPOCHS, RECENT = 10, 5
"""From so many epochs on, the mean of the recent ones must be below the first one's loss."""
STARVED, FED, STARVED_EPOCHS = 0.3, 0.2, 2
"""Shares of the time without data at which a GPU begins to starve, and at which it no longer does."""
CLIPPED, FREE, CLIPPED_EPOCHS = 0.95, 0.8, 3
"""Shares of clipped steps, likewise."""
SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. Two are the same trouble when `what` is the same; `text` is asked for when it begins."""

    what: tuple[Any, ...]
    text: Callable[[], str]


@dataclass(kw_only=True)
class DiagnosticContext:
    """All that the signs look at.

    Args:
        logging: nnU-Net's lists, one value an epoch.
        recipe: of the training.
        names: of the foreground classes.
        holding: how many training cases hold a class, and how many there are; may take seconds.
        pretrained: whether the weights came from elsewhere.
        on_gpu: whether a GPU trains.
        workers: processes that prepare batches.
        cores: of this rank.
    """

    logging: Mapping[str, Sequence[Any]]
    recipe: Recipe
    names: Sequence[str]
    holding: Callable[[int], tuple[int, int]]
    pretrained: bool = False
    on_gpu: bool = False
    workers: int = 1
    cores: int = 1
    statistics: list[EpochStatistics] = field(default_factory=list)
    """Of the last epochs that this process has trained."""
    active: Mapping[str, Finding] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Finished ones."""
        return len(self.logging["train_losses"])


def validation_loss(known: DiagnosticContext) -> Finding | None:
    """The validation loss is no number."""
    if known.recipe.validation_iterations == 0:
        return None
    losses = known.logging["val_losses"]
    since = _trailing(losses, lambda loss: not math.isfinite(loss))
    if since is None:
        return None
    return Finding(
        (since,),
        lambda: (
            f"The validation loss is {losses[-1]} since epoch {since}. Run nnunet-trainer verify on the images, or lower "
            "recipe.optimizer.learningRate."
        ),
    )


def skipped_steps(known: DiagnosticContext) -> Finding | None:
    """The loss was no number in some steps."""
    if not known.statistics or not known.statistics[-1].skipped:
        return None
    epoch, count = known.epochs - 1, known.statistics[-1].skipped
    return Finding(
        (),
        lambda: (
            f"The loss was no number in {count} {'steps' if count > 1 else 'step'} of epoch {epoch}: 16-bit numbers ran over. "
            "They are skipped. If that goes on, set recipe.precision to bf16 or lower recipe.optimizer.learningRate."
        ),
    )


def unseen_classes(known: DiagnosticContext) -> Finding | None:
    """No patch shows a class."""
    window = known.statistics[-UNSEEN_EPOCHS:]
    while len(window) < len(known.statistics) and sum(f.patches for f in window) < UNSEEN_PATCHES:
        window = known.statistics[-len(window) - 1 :]
    if len(window) < UNSEEN_EPOCHS or sum(f.patches for f in window) < UNSEEN_PATCHES:
        return None
    missing = tuple(i for i in range(len(known.names)) if not any(f.seen[i] for f in window))
    if not missing:
        return None
    since = known.epochs - len(window)

    def text() -> str:
        counts = {i: known.holding(i) for i in missing}
        nowhere = [i for i in missing if not counts[i][0]]
        said = [f"No patch since epoch {since} showed {_names(known, missing)}."]
        if nowhere:
            said.append(
                f"No training case of this fold holds {_names(known, nowhere)}: mend the labels, or choose another fold or split."
            )
        rare = [i for i in missing if counts[i][0]]
        if rare:
            held = ", ".join(f"{known.names[i]} {counts[i][0]}" for i in rare[:SHOWN_NAMES])
            said.append(
                f"Of {counts[rare[0]][1]} training cases so many hold it: {held}. Raise recipe.sampling.oversampleForeground "
                f"({known.recipe.sampling.oversample_foreground:g}) or recipe.iterationsPerEpoch."
            )
        return " ".join(said)

    return Finding(missing, text)


def unlearnt_classes(known: DiagnosticContext) -> Finding | None:
    """The pseudo-Dice of a class stays 0."""
    needed = max(ZERO_EPOCHS_SHORT, min(ZERO_EPOCHS, known.recipe.epochs // 5))
    found: dict[int, int] = {}
    for i in range(len(known.names)):
        # An epoch in which nothing was to be found and nothing was found (NaN) says nothing.
        scores = [(epoch, dice[i]) for epoch, dice in enumerate(known.logging["dice_per_class_or_region"]) if dice[i] == dice[i]]
        start = _trailing([dice for _, dice in scores], lambda dice: dice == 0)
        if start is not None and len(scores) - start >= needed:
            found[i] = scores[start][0]
    if not found:
        return None
    return Finding(
        tuple(found.items()),
        lambda: (
            f"The pseudo-Dice of {_names(known, list(found))} is 0 since epoch {min(found.values())}: nothing of it is found. "
            "Look at its labels; if they are right, raise recipe.sampling.oversampleForeground "
            f"({known.recipe.sampling.oversample_foreground:g}), or plan a finer spacing for small structures."
        ),
    )


def loss_that_does_not_fall(known: DiagnosticContext) -> Finding | None:
    """The training loss is where it began."""
    losses = known.logging["train_losses"]
    if len(losses) < FALLING_EPOCHS:
        return None
    # Weights from elsewhere may begin where there is nothing more to gain.
    limit = losses[0] + (0.05 if known.pretrained else -0.01)
    recent = [sum(losses[max(0, i - RECENT + 1) : i + 1]) / min(i + 1, RECENT) for i in range(len(losses))]
    since = _trailing(recent, lambda mean: mean >= limit)
    if since is None or len(losses) - since < RECENT:
        return None
    return Finding(
        (since,),
        lambda: (
            f"The training loss does not fall: {losses[0]:.3g} in epoch 0, {recent[-1]:.3g} in the last {RECENT}, no lower since "
            f"epoch {since}. Look at some cases and their labels; change recipe.optimizer.learningRate, by a factor of 10 at first"
            f"{', or freeze less' if known.recipe.freezing.patterns else ''}."
        ),
    )


def exploding_loss(known: DiagnosticContext) -> Finding | None:
    """The training loss jumped far above all that it was."""
    losses = known.logging["train_losses"]
    calm, since = list[float](), None
    for epoch, loss in enumerate(losses):
        if calm and loss > max(calm) + max(1.0, max(calm) - min(calm)):
            since = epoch if since is None else since
        else:
            since = None
            calm.append(loss)
    if since is None:
        return None
    return Finding(
        (since,),
        lambda: (
            f"The training loss explodes: {losses[since]:.3g} in epoch {since}, never above {max(calm):.3g} before. Lower "
            f"recipe.optimizer.learningRate (now {known.logging['lrs'][-1]:.3g}), add recipe.warmUpEpochs, or set "
            "recipe.gradientClip."
        ),
    )


def clipped_gradients(known: DiagnosticContext) -> Finding | None:
    """Nearly every step's gradients are clipped."""
    if not _lasts(known, "clipped gradients", CLIPPED, FREE, CLIPPED_EPOCHS, [f.clipped for f in known.statistics]):
        return None
    since, norm = known.epochs - CLIPPED_EPOCHS, known.statistics[-1].gradient_norm or 0.0
    return Finding(
        (),
        lambda: (
            f"The gradients of nearly every step since epoch {since} are clipped: their norm is {norm:.3g} on average, "
            f"recipe.gradientClip {known.recipe.gradient_clip:g}. Lower recipe.optimizer.learningRate, or raise the clip."
        ),
    )


def starving_gpu(known: DiagnosticContext) -> Finding | None:
    """The GPU waits for data."""
    if not known.on_gpu:
        return None
    # The first epoch of a process opens the cases and compiles the network.
    if not _lasts(known, "starving GPU", STARVED, FED, STARVED_EPOCHS, [f.waiting for f in known.statistics[1:]]):
        return None
    since, share = known.epochs - STARVED_EPOCHS, known.statistics[-1].waiting
    more = (
        "Ask for more cores (spec.template.resources: cpu), and look at how fast the scratch disk reads."
        if known.workers >= known.cores - 1
        else f"Raise --workers up to {known.cores - 1}."
    )
    return Finding(
        (),
        lambda: (
            f"The GPU waits for data {share:.0%} of the time since epoch {since}; processes that read: {known.workers}, cores: "
            f"{known.cores}. {more}"
        ),
    )


CHECKS: Mapping[str, Callable[[DiagnosticContext], Finding | None]] = {
    "validation loss": validation_loss,
    "skipped steps": skipped_steps,
    "unseen classes": unseen_classes,
    "unlearnt classes": unlearnt_classes,
    "loss that does not fall": loss_that_does_not_fall,
    "exploding loss": exploding_loss,
    "clipped gradients": clipped_gradients,
    "starving GPU": starving_gpu,
}


def _lasts(known: DiagnosticContext, name: str, begins: float, ends: float, epochs: int, shares: Sequence[float]) -> bool:
    """Whether a share was high for some epochs, or was so and has not become low."""
    if name in known.active:
        return bool(shares) and shares[-1] >= ends
    return len(shares) >= epochs and min(shares[-epochs:]) >= begins


def _trailing(values: Sequence[float], holds: Callable[[float], bool]) -> int | None:
    """The first index from which on it holds for all; None when it does not for the last."""
    since = None
    for index in range(len(values) - 1, -1, -1):
        if not holds(values[index]):
            break
        since = index
    return since


def _names(known: DiagnosticContext, classes: Sequence[int]) -> str:
    shown = ", ".join(known.names[i] for i in classes[:SHOWN_NAMES])
    return shown + (f" and {len(classes) - SHOWN_NAMES} more" if len(classes) > SHOWN_NAMES else "")
