"""Number formats of a step: fp32, fp16 with a gradient scaler, bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.precision import PrecisionName
from nnunet_trainer.inference.precision import autocast, resolved

from ...ranks.gradients import GradientExchange
from ..step_phases import BACKWARD, EXCHANGE, OPTIMIZER


class Precision:
    """How a loss becomes a step of the optimizer.

    Args:
        name: auto is fp16 on CUDA and fp32 elsewhere, as nnU-Net.
        device: where the network is.

    Raises:
        BadConfiguration: fp16 on a CPU.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        name = resolved(name, device)
        if name == "fp16" and device.type != "cuda":
            raise BadConfiguration("InvalidRecipe", "recipe.precision: fp16 needs a GPU.", hint="Use fp32, bf16 or auto.")
        self.name = name
        self._device = device
        self.scaler = torch.amp.GradScaler("cuda") if name == "fp16" else None
        self.norm: Tensor | None = None
        """Of the last step's gradients before they were clipped, where there is a limit."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Where the network and the loss run."""
        return autocast(self.name, self._device)

    def step(
        self,
        loss: Tensor,
        parameters: Iterable[torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        exchange: GradientExchange,
        enter: Callable[[str], None],
    ) -> None:
        """Backward and the sum over ranks, clip, step.

        Args:
            loss: this rank's share.
            parameters: all of the network's.
            optimizer: holds them.
            clip: the largest norm of all gradients, None for no limit.
            exchange: sums gradients over ranks.
            enter: told of each phase.
        """
        parameters = [p for p in parameters if p.requires_grad]
        enter(BACKWARD)
        exchange.begin()
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        enter(EXCHANGE)
        exchange.finish()
        enter(OPTIMIZER)
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if clip is not None:
            self.norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
