"""Which axis is resampled on its own."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_trainer.planning.plans.names import ANISOTROPY


def separate_axis(
    spacing: Sequence[float], new_spacing: Sequence[float], force: bool | None = None, threshold: float = ANISOTROPY
) -> int | None:
    """The one axis of low resolution that is resampled on its own, by the old spacing first, then the new; None for none."""
    for candidate in (spacing,) if force else (spacing, new_spacing):
        if force is False:
            return None
        largest = max(candidate)
        if force or largest / min(candidate) > threshold:
            axes = [axis for axis, s in enumerate(candidate) if largest / s == 1]
            return axes[0] if len(axes) == 1 else None
    return None
