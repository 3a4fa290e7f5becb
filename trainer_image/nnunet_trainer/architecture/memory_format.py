"""torch's names of how tensors lie in memory, by the dimensions of a patch."""

from __future__ import annotations

import torch


def channels_last_format(dimensions: int) -> torch.memory_format:
    """Where channels lie last: of tensors (b, c, *patch) with a patch of 2 or 3 dimensions."""
    return torch.channels_last if dimensions == 2 else torch.channels_last_3d
