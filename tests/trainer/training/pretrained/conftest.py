"""Small networks and their checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.checkpoints import checkpoint
from torch import nn

from trainer.architecture.plans import plain, residual

KINDS = {"plain": plain, "residual": residual}


def build(
    kind: str = "plain", dimension: int = 3, *, channels: int = 1, heads: int = 3, seed: int = 0, **changes: Any
) -> nn.Module:
    """A U-Net of three stages with weights of its own; biases too, which begin as zeros."""
    torch.manual_seed(seed)
    network = architecture.build(KINDS[kind](dimension, **changes), channels, heads, True)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    return network


def shallow(dimension: int = 3) -> dict[str, Any]:
    """Changes that make two stages of the three, the finest ones."""
    return {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "kernel_sizes": [[3] * dimension] * 2,
        "strides": [[1] * dimension, [2] * dimension],
        "n_conv_per_stage": [2, 2],
        "n_conv_per_stage_decoder": [2],
    }


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all that a network holds, under all keys."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """A network as a checkpoint; with labels, as nnU-Net writes them."""

    def save(network: nn.Module, labels: dict[str, Any] | None = None, **more: Any) -> Path:
        content: dict[str, Any] = {"network_weights": network.state_dict()}
        if labels is not None:
            content["init_args"] = {"dataset_json": {"labels": labels, **more}}
        checkpoint.save(tmp_path / "source.pth", content)
        return tmp_path / "source.pth"

    return save
