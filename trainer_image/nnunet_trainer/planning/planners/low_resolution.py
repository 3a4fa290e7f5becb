"""Whether a cascade needs a low-resolution stage, and at which spacing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_trainer.extensions import Registry

from .facts import DatasetFacts, endless
from .steps import call, fail
from .target_spacing import shown

SPACING_LIMIT = 2_000
"""So many spacings are tried at most: 1.01 to this power is more than any image is long."""


@dataclass(frozen=True, kw_only=True)
class FullResolution:
    """3d_fullres as planned, and how another spacing is planned.

    Attributes:
        dataset: what is planned for.
        patch_size: voxels along z, y, x.
        spacing: mm, transposed.
        median_shape: voxels at it.
        plan: a configuration, as it stands in plans, from its spacing (mm), its median shape and the dataset's voxels.
        tried: the spacings that were tried, in order.
    """

    dataset: DatasetFacts
    patch_size: list[int]
    spacing: np.ndarray
    median_shape: np.ndarray
    plan: Callable[[np.ndarray, Any, float], dict[str, Any]]
    tried: list[str] = field(default_factory=list)

    def at(self, spacing: np.ndarray) -> dict[str, Any]:
        """3d_lowres at another spacing.

        Raises:
            BadConfiguration: too many spacings were tried.
        """
        if len(self.tried) > SPACING_LIMIT:
            raise endless(self.dataset.planner.name, "3d_lowres", "spacings", self.tried)
        self.tried.append(shown(spacing))
        voxels = np.prod(self.spacing / spacing * self.median_shape, dtype=np.float64)
        shape = tuple(round(float(n)) for n in self.spacing / spacing * self.median_shape)
        return self.plan(spacing.copy(), shape, float(np.prod(voxels) * self.dataset.cases))


LOW_RESOLUTION: Registry[Callable[..., dict[str, Any] | None]] = Registry("planner step")
"""Functions `(fullres, **parameters) -> fullres.at(spacing)`, or None for no 3d_lowres."""


def plan_lowres(fullres: FullResolution) -> dict[str, Any] | None:
    """3d_lowres as the planner decides it, or None."""
    step = fullres.dataset.planner.low_resolution
    found = call("lowResolution", step, fullres)
    if found is not None and not (isinstance(found, dict) and "patch_size" in found):
        raise fail("lowResolution", step, found, "what fullres.at(spacing) makes, or None,")
    return found


@LOW_RESOLUTION.register("PatchCoversQuarter")
def patch_covers_quarter(fullres: FullResolution) -> dict[str, Any] | None:
    """A spacing at which a patch covers lowresCreationThreshold of the median image, unless it halves the voxels too little.

    None where a 3d_fullres patch covers as much. The spacing grows by lowresSpacingStep: 1.03 in nnU-Net v2, 1.01 in v1.
    """
    kind, say, full, median = fullres.dataset.planner, fullres.dataset.say, fullres.spacing, fullres.median_shape
    covered = np.prod(fullres.patch_size, dtype=np.float64)
    voxels = np.prod(median, dtype=np.float64)
    spacing, lowres = full.copy(), None
    while covered / voxels < kind.lowres_creation_threshold:
        # The finer axes first, until none is more than twice as fine as the coarsest.
        finer = max(spacing) / spacing > 2
        spacing[finer if np.any(finer) else slice(None)] *= kind.lowres_spacing_step
        voxels = np.prod(full / spacing * median, dtype=np.float64)
        lowres = fullres.at(spacing)
        covered = np.prod(lowres["patch_size"], dtype=np.int64)
    share = float(np.prod(fullres.patch_size) / np.prod(median))
    if lowres is None:
        say(f"no 3d_lowres: a 3d_fullres patch covers {100 * share:.0f} % of a median image (limit 25 %)")
        return None
    gain = float(np.prod(median, dtype=np.float64) / voxels)
    if gain < 2:
        say(f"no 3d_lowres: it would have 1/{gain:.2f} of the voxels only (limit 1/2)")
        return None
    steps = len(fullres.tried)
    say(f"3d_lowres at spacing {shown(spacing)} after {steps} steps: 3d_fullres covers {100 * share:.1f} % of a median image")
    return lowres


@LOW_RESOLUTION.register("Never")
def never(fullres: FullResolution) -> dict[str, Any] | None:
    """No 3d_lowres, and no cascade."""
    fullres.dataset.say("no 3d_lowres: the planner makes none")
    return None
