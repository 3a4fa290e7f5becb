"""How much goes through a network at once, and where sums are kept: by the memory that there is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nnunet_trainer.contract.control_groups import memory_limit
from nnunet_trainer.contract.faults import means_gpu_out_of_memory

from .window import FEATURES, SlidingWindow

LIVE_MAPS = 6
"""Feature maps at full resolution that are in memory at once, about: input, convolution, norm, the skip connection and its copy."""
LIVE_OUTPUTS = 3
"""The network's outputs that are in memory at once: of the batch, a copy that is mirrored back, and their sum."""
CPU_VOXELS = 2**18
GPU_VOXELS = 2**21
MOST_TOGETHER = 64
NO_MEMORY = ("can't allocate memory", "not enough memory")
"""How torch says that main memory has no room; it has no error of its own for that."""


def widest_features(architecture: Mapping[str, Any]) -> int:
    """Channels of a network's feature maps at full resolution; a guess where its `arch_kwargs` do not say."""
    features = architecture.get("arch_kwargs", {}).get("features_per_stage", FEATURES)
    return int(features[0] if isinstance(features, Sequence) else features)


def automatic_batch(window: SlidingWindow, device: torch.device, channels: int = 2) -> int:
    """Tiles and mirrored copies that go through the network together.

    On a CPU, torch computes small convolutions of one image several times slower than of two; beyond some 10^5 voxels more
    bring nothing. A GPU is filled by all copies of a tile, or of several small ones, as far as its memory allows.

    Args:
        window: the tiles.
        device: where the network is.
        channels: of the network's output.
    """
    voxels = math.prod(window.patch_size)
    copy = (LIVE_MAPS * window.features + LIVE_OUTPUTS * channels) * voxels * (4 if device.type == "cpu" else 2)
    if device.type == "cpu":
        wanted, room = max(2, CPU_VOXELS // voxels), memory_limit() / 4
    elif device.type == "cuda":
        wanted, room = len(window.flips) * max(1, GPU_VOXELS // voxels), torch.cuda.mem_get_info(device)[0] / 2
    else:
        return 1
    return int(max(1, min(wanted, MOST_TOGETHER, room // copy)))


def sums_device(values: int, device: torch.device) -> torch.device:
    """The GPU when so many float32 values fit into half of what is free there, else main memory."""
    if device.type == "cuda" and 4 * values < torch.cuda.mem_get_info(device)[0] / 2:
        return device
    return torch.device("cpu")


def means_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a GPU, or the machine's, has no room for a tensor."""
    return means_gpu_out_of_memory(error) or (isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY))
