"""The spacing that 3d_fullres is resampled to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration

from ..planner_presets import Planner


def fullres_spacing(
    kind: Planner, spacings: np.ndarray, shapes: np.ndarray, wanted: Sequence[float] | None, say: Callable[[str], None]
) -> np.ndarray:
    """Millimetres along the file's z, y, x.

    Args:
        kind: the planner.
        spacings: of each case, (n, 3).
        shapes: of each cropped case, (n, 3).
        wanted: instead of what the planner would choose.
        say: receives a line for each decision.

    Raises:
        BadConfiguration: `wanted` is not three positive numbers.
    """
    if wanted is not None:
        if len(wanted) != 3 or not all(isinstance(s, (int, float)) and s > 0 for s in wanted):
            raise BadConfiguration(
                "InvalidTargetSpacing", f"The target spacing is {list(wanted)}, expected three positive numbers."
            )
        say(f"target spacing {shown(wanted)}: as asked for")
        return np.array([float(s) for s in wanted])
    target = np.percentile(spacings, kind.target_spacing_percentile, 0)
    size = np.percentile(shapes, 50, 0)
    worst = int(np.argmax(target))
    others = [a for a in range(3) if a != worst]
    coarsest, shortest = max(target[a] for a in others), min(size[a] for a in others)
    ratio = kind.anisotropy_threshold
    if target[worst] > ratio * coarsest and size[worst] * ratio < shortest:
        lower = np.percentile(spacings[:, worst], kind.anisotropic_spacing_percentile)
        if lower < coarsest:
            lower = max(coarsest, lower) + 1e-5
        say(
            f"target spacing {shown(target)} is anisotropic along axis {worst} (also in voxels: {size[worst]:g} of {shortest:g}): "
            f"{lower:g} there, the {kind.anisotropic_spacing_percentile:g}th percentile"
        )
        target[worst] = lower
    else:
        say(f"target spacing {shown(target)}: the {kind.target_spacing_percentile:g}th percentile of {len(spacings)} cases")
    return target


def shown(numbers: Any) -> str:
    """Numbers as a planner's notes have them."""
    return "[" + ", ".join(f"{n:.5g}" for n in numbers) + "]"
