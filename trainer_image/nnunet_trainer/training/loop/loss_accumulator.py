"""The losses of an epoch's iterations: their mean, and what is done about one that is no number."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from ..components import making
from ..ranks import distributed
from ..session.session import Session

PATIENCE = 25
"""With a gradient scaler so many losses in a row may be no numbers: it skips those steps."""


class LossAccumulator:
    """This rank's shares of losses that nobody has looked at yet: each look waits for the GPU.

    An epoch's mean is the same to the last bit however often it was looked at, saved and gone on from: what is kept is the loss of
    each iteration, not a sum.

    Args:
        session: takes the losses.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.skipped = 0
        """Of this epoch."""
        self._in_a_row = 0
        self._waiting: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """That of the iteration that was done just now."""
        self._waiting.append(loss)

    def look(self) -> None:
        """Read what has come since the last look.

        Raises:
            BadData: the images hold NaN or infinite values.
            BadConfiguration: they do not: the training diverged.
        """
        if not self._waiting:
            return
        session, values = self.session, torch.stack(self._waiting).tolist()
        self._waiting.clear()
        for iteration, value in enumerate(values, session.iteration - len(values)):
            if math.isfinite(value):
                self._in_a_row = 0
            else:
                self._not_finite(iteration, value)
            session.loss_shares.append(value if math.isfinite(value) else math.nan)

    def gather(self) -> None:
        """Add up the shares of all ranks, iteration by iteration. Every rank calls this, and gets the same.

        Raises:
            BadData, BadConfiguration: as `look`.
        """
        self.look()
        session, ranks = self.session, self.session.ranks
        count = len(session.loss_shares)  # of every rank
        if not count:
            return
        # Each rank's shares have places of their own: what an all-reduce adds up in some order is added up here in one.
        table = [0.0] * (count * ranks.world_size)
        table[ranks.rank :: ranks.world_size] = session.loss_shares
        table = distributed.total(table)
        session.losses += [math.fsum(table[i : i + ranks.world_size]) for i in range(0, len(table), ranks.world_size)]
        session.loss_shares.clear()

    def mean(self) -> float:
        """Of this epoch's iterations that were gathered; one whose step was skipped counts as the mean of the others."""
        finite = [loss for loss in self.session.losses if math.isfinite(loss)]
        return math.fsum(finite) / len(finite) if finite else 0.0

    def _not_finite(self, iteration: int, loss: float) -> None:
        session = self.session
        where = f"epoch {session.epoch}, iteration {iteration}, fold {session.setup.fold}"
        # The sampler is keyed by place: it gives the same patches again.
        batch = session.sampler.batch(session.epoch, iteration)
        pairs = [(batch.cases[row], patch) for rows, data, _ in batch.parts() for row, patch in zip(rows, data, strict=True)]
        bad = sorted({case for case, patch in pairs if not np.isfinite(patch).all()})
        if bad:
            raise BadData(
                "NotFinite",
                f"The loss is {loss} at {where}: the preprocessed images of {', '.join(bad)} hold values that are no numbers.",
                hint="Run nnunet-trainer verify, mend the images, preprocess again.",
            )
        self._in_a_row, self.skipped = self._in_a_row + 1, self.skipped + 1
        if session.precision.scaler is not None and self._in_a_row < PATIENCE:
            return
        often = f" for the {PATIENCE}th time in a row" if session.precision.scaler is not None else ""
        cases = sorted(set(batch.cases))
        name, at_first = session.recipe.loss.name, session.epoch == iteration == 0
        whose, hints = "", [] if at_first else ["lower recipe.optimizer.learningRate", "add recipe.warmUpEpochs"]
        if plugin := making.of_plugin("loss", name):
            whose = f" The loss {name} ({making.place('loss', name)}) is of the plug-in {plugin}."
            hints.insert(0, "look at the loss: a division by zero, the logarithm or the root of 0? Mend it, and set spec.rerun")
        if session.precision.name != "fp32":
            hints.append("set recipe.precision to fp32" + (" or bf16" if session.precision.name == "fp16" else ""))
        hint = "; or ".join(hints or ["look at images, labels and recipe: nothing was trained yet"])
        raise BadConfiguration(
            "LossNotFinite",
            f"The loss is {loss} at {where}{often}{'' if at_first else ': the training diverged'} (learning rate "
            f"{session.optimizer.param_groups[0]['lr']:g}, {session.precision.name}; patches of {', '.join(cases[:5])}).{whose}",
            hint=f"{hint[0].upper()}{hint[1:]}.",
        )
