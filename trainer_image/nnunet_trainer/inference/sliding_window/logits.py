"""Logits of a whole image in memory, and what is no logit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.contract.precision import PrecisionName

from ..precision import resolved
from .slabs import Network, TilesHook, finished_slabs
from .window import SlidingWindow

DIVERGED = "Use a checkpoint from before the training diverged (checkpoint_best.pth may be one), or train again."


def predict_logits(
    network: Network,
    image: torch.Tensor,
    heads: int,
    window: SlidingWindow,
    device: torch.device | str = "cpu",
    on_tiles: TilesHook | None = None,
) -> torch.Tensor:
    """Logits of a whole image.

    Args:
        network: as for `finished_slabs`; so are the others.
        image: preprocessed, (c, z, y, x).
        heads: `LabelManager.num_segmentation_heads`.
        window: how to tile.
        device: where the network is.
        on_tiles: hears how far it is.

    Returns:
        float32 (heads, z, y, x) on the CPU.

    Raises:
        GpuOutOfMemory: not even one tile fits.
        MemoryError: the same, in main memory.
        BadConfiguration: what the network says of a finite image is no number (`LogitsNotFinite`).
    """
    (slab,) = finished_slabs(network, image, heads, window, device, on_tiles, whole=True)
    require_numbers(slab.values, window.precision, torch.device(device))
    return slab.values


def require_numbers(output: torch.Tensor, precision: PrecisionName, device: torch.device) -> None:
    """Raise when an output (channels, …) of the network is NaN or infinite: argmax would take it for a class, often background.

    Raises:
        BadConfiguration: it is (`LogitsNotFinite`).
    """
    least, most = torch.aminmax(output) if output.numel() else (torch.zeros(()), torch.zeros(()))
    if torch.isfinite(least) and torch.isfinite(most):
        return
    count = sum(int((~torch.isfinite(channel)).sum()) for channel in output)
    name = resolved(precision, device)
    message = f"The network's output is NaN or infinite at {count} of {output.numel()} values, in {name}; the image is finite."
    hint = f"Is a weight of the checkpoint NaN? {DIVERGED}"
    if name == "fp16":
        hint = f"fp16 overflows above 65504: predict in another precision (--precision bf16 or fp32). {hint}"
    raise BadConfiguration("LogitsNotFinite", message, hint=hint)


@contextmanager
def about_case(case: str) -> Iterator[None]:
    """Faults of the network's output, and of its size, name the case."""
    try:
        yield
    except (BadConfiguration, BadData) as fault:
        kind = BadData if isinstance(fault, BadData) else BadConfiguration
        raise kind(fault.reason, f"{case}: {fault.message}", hint=fault.hint, findings=fault.findings) from fault
