"""One iteration: batch in, loss out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from . import scores
from .augmentation import Augmenter
from .sampling import Batch, PatchSampler
from .session import Session, channels_last

Prepared = tuple[Tensor, list[Tensor], list[str]]
"""Patches (b, c, *patch), the targets of each output, and the cases they came from."""


def batches(session: Session, sampler: PatchSampler, augmenter: Augmenter, iterations: int, start: int = 0) -> Iterator[Prepared]:
    """The batches of this epoch, from iteration `start` on; read in threads, augmented where the network is."""
    device, layout = session.ranks.device, channels_last(session.configuration)

    def augmented(batch: Batch) -> Prepared:
        data, targets = augmenter(batch.data.to(device, non_blocking=True), batch.seg.to(device, non_blocking=True), batch.keys)
        return data.contiguous(memory_format=layout), targets, batch.cases

    on_gpu = device.type == "cuda"
    made = sampler.epoch(
        session.epoch,
        iterations,
        start=start,
        transform=Batch.pin_memory if on_gpu else augmented,
        workers=session.workers,
    )
    for item in made:
        yield augmented(item) if isinstance(item, Batch) else item


def _outputs(session: Session, data: Tensor) -> list[Tensor]:
    result = session.runner(data)
    return list(result) if isinstance(result, list | tuple) else [result]


def train_step(session: Session, data: Tensor, targets: list[Tensor]) -> Tensor:
    """Forward, backward, step; returns this rank's share of the loss."""
    session.optimizer.zero_grad(set_to_none=True)
    with session.precision.autocast():
        loss = session.criterion(_outputs(session, data), targets)
    session.precision.step(loss, session.network.parameters(), session.optimizer, session.recipe.gradient_clip)
    return loss.detach()


@torch.no_grad()
def validation_step(session: Session, data: Tensor, targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """This rank's share of the loss, and its counts for the pseudo-Dice, (3, classes)."""
    with session.precision.autocast():
        outputs = _outputs(session, data)
        loss = session.criterion(outputs, targets)
    labels = session.labels
    found = scores.counts(outputs[0], targets[0], regions=labels.has_regions, ignore_label=labels.ignore_label)
    return loss.detach(), found


def check_finite(session: Session, loss: float, data: Tensor, cases: list[str]) -> None:
    """Stop when the loss is no number, and say why.

    Raises:
        BadData: the images hold NaN or infinite values.
        BadConfiguration: they do not: the training diverged.
    """
    if loss == loss and abs(loss) != float("inf"):
        return
    where = f"epoch {session.epoch}, iteration {session.iteration}"
    finite = data.isfinite().flatten(1).all(1).tolist()
    bad = sorted({case for case, good in zip(cases, finite, strict=True) if not good})
    if bad:
        raise BadData(
            "NotFinite",
            f"The loss is {loss} at {where}: the preprocessed images of {', '.join(bad)} hold values that are no numbers.",
            hint="Run nnunet-trainer verify, mend the images, preprocess again.",
        )
    raise BadConfiguration(
        "LossNotFinite",
        f"The loss is {loss} at {where}, fold {session.setup.fold}: the training diverged "
        f"(learning rate {session.optimizer.param_groups[0]['lr']:g}, {session.precision.name}).",
        hint="Lower recipe.optimizer.learningRate, add recipe.warmUpEpochs, or set recipe.precision to fp32 or bf16.",
    )
