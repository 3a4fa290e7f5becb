"""How fast a training is, and where the time of its steps goes, in words."""

from __future__ import annotations

import resource

import torch

from .epoch_statistics import EpochStatistics

LEAST_SHARE = 0.005
"""Of a step's time; what takes less is left out of the line."""


def peak_memory(device: torch.device) -> int:
    """Bytes that this process held at most: of the GPU's memory where it trains on one, else of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def line(statistics: EpochStatistics, peak: int, device: torch.device) -> str:
    """`41.2 patches/s: backward 44%, forward and loss 36%, waiting for data 12% …; peak GPU memory 7.9 GiB`."""
    whole = sum(statistics.seconds.values())
    shares = {phase: seconds / whole for phase, seconds in statistics.seconds.items()} if whole else {}
    most_first = sorted(shares.items(), key=lambda item: -item[1])
    where = ", ".join(f"{phase} {share:.0%}" for phase, share in most_first if share >= LEAST_SHARE)
    kind = "GPU memory" if device.type == "cuda" else "memory"
    return f"{statistics.patches_per_second:.3g} patches/s: {where}; peak {kind} {peak / 2**30:.1f} GiB"


def table(statistics: EpochStatistics) -> list[str]:
    """A line a phase, in their order within a step: milliseconds of a step, and the share."""
    whole, steps = sum(statistics.seconds.values()), max(1, statistics.steps)
    rows = [
        f"{phase:24} {1000 * seconds / steps:10.2f} ms {seconds / whole if whole else 0:6.1%}"
        for phase, seconds in statistics.seconds.items()
    ]
    return [*rows, f"{'a whole step':24} {1000 * whole / steps:10.2f} ms"]
