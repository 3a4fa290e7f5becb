"""Whether a cascade needs a low-resolution stage, and at which spacing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..planner_presets import Planner
from .target_spacing import shown


def plan_lowres(
    kind: Planner,
    fullres: dict[str, Any],
    full: np.ndarray,
    median: np.ndarray,
    cases: int,
    configuration: Callable[..., dict[str, Any]],
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """The same images at a spacing at which a patch covers enough of them; None where fullres does or where it gains too little.

    Args:
        kind: the planner.
        fullres: 3d_fullres as planned.
        full: its spacing, transposed.
        median: the median shape at it.
        cases: for training.
        configuration: plans a configuration from its name, spacing, median shape and the dataset's voxels.
        say: receives a line for each decision.
    """
    covered = np.prod(fullres["patch_size"], dtype=np.float64)
    voxels = np.prod(median, dtype=np.float64)
    spacing, lowres, steps = full.copy(), None, 0
    while covered / voxels < kind.lowres_creation_threshold:
        # The finer axes first, until none is more than twice as fine as the coarsest.
        finer = max(spacing) / spacing > 2
        spacing[finer if np.any(finer) else slice(None)] *= kind.lowres_spacing_step
        voxels = np.prod(full / spacing * median, dtype=np.float64)
        shape = tuple(round(float(n)) for n in full / spacing * median)
        lowres = configuration("3d_lowres", spacing.copy(), shape, float(np.prod(voxels) * cases))
        covered = np.prod(lowres["patch_size"], dtype=np.int64)
        steps += 1
    share = float(np.prod(fullres["patch_size"]) / np.prod(median))
    if lowres is None:
        say(f"no 3d_lowres: a 3d_fullres patch covers {100 * share:.0f} % of a median image (limit 25 %)")
        return None
    gain = float(np.prod(median, dtype=np.float64) / voxels)
    if gain < 2:
        say(f"no 3d_lowres: it would have 1/{gain:.2f} of the voxels only (limit 1/2)")
        return None
    say(f"3d_lowres at spacing {shown(spacing)} after {steps} steps: 3d_fullres covers {100 * share:.1f} % of a median image")
    return lowres
