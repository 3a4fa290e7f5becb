"""The losses of an epoch's iterations: their sum, and what is done about one that is no number."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from ..session.session import Session

PATIENCE = 25
"""With a gradient scaler so many losses in a row may be no numbers: it skips those steps."""


class LossAccumulator:
    """LossAccumulator of this rank that nobody has looked at yet: each look waits for the GPU.

    Args:
        session: takes the sum.
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
        """Add up what has come since the last look. A skipped step counts as the mean of the others.

        Raises:
            BadData: the images hold NaN or infinite values.
            BadConfiguration: they do not: the training diverged.
        """
        if not self._waiting:
            return
        session, values = self.session, torch.stack(self._waiting).tolist()
        self._waiting.clear()
        before = session.iteration - len(values)
        finite = [value for value in values if math.isfinite(value)]
        for iteration, value in enumerate(values, before):
            if math.isfinite(value):
                self._in_a_row = 0
            else:
                self._not_finite(iteration, value)
        mean = sum(finite) / len(finite) if finite else session.loss_sum / max(1, before)
        session.loss_sum += sum(finite) + mean * (len(values) - len(finite))

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
        raise BadConfiguration(
            "LossNotFinite",
            f"The loss is {loss} at {where}{often}: the training diverged (learning rate "
            f"{session.optimizer.param_groups[0]['lr']:g}, {session.precision.name}; patches of {', '.join(cases[:5])}).",
            hint="Lower recipe.optimizer.learningRate, add recipe.warmUpEpochs, or set recipe.precision to fp32 or bf16.",
        )
