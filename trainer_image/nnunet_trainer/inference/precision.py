"""Number formats that a network runs in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from nnunet_trainer.contract.precision import PRECISIONS, PrecisionName


def resolved(name: PrecisionName, device: torch.device) -> PrecisionName:
    """What `auto` is on a device: fp16 on CUDA and fp32 elsewhere, as nnU-Net."""
    return name if name != "auto" else "fp16" if device.type == "cuda" else "fp32"


def autocast(name: PrecisionName, device: torch.device) -> AbstractContextManager[Any]:
    """Where a network runs in that format; its weights stay float32."""
    kind = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[resolved(name, device)]
    return nullcontext() if kind is None else torch.autocast(device.type, kind)


def of_recipe(recipe: object, device: torch.device) -> PrecisionName:
    """In which a model predicts that was trained by that recipe: in its own on CUDA, in fp32 on a CPU, which is never less exact.

    Args:
        recipe: as our checkpoints hold it; None for nnU-Net's.
        device: to predict on.
    """
    name = recipe.get("precision") if isinstance(recipe, dict) else None
    return name if device.type == "cuda" and name in PRECISIONS else "auto"
