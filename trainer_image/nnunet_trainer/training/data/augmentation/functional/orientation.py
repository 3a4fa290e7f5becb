"""What moves voxels without resampling."""

from __future__ import annotations

import torch

from ..transforms.orientation import Turned


def turned(x: torch.Tensor, change: Turned) -> torch.Tensor:
    """Turn (n, channels, *patch) and exchange its axes."""
    (quarters, first, second), order = change
    return x.rot90(quarters, (first + 2, second + 2)).permute(0, 1, *(axis + 2 for axis in order))
