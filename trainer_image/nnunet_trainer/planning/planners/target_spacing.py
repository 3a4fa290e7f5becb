"""The spacing that 3d_fullres is resampled to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Registry

from .facts import DatasetFacts
from .steps import call, numbers

TARGET_SPACING_RULES: Registry[Callable[..., Sequence[float]]] = Registry("planner step")
"""Functions `(dataset, **parameters) -> millimetres along the file's z, y, x`."""


def fullres_spacing(dataset: DatasetFacts, wanted: Sequence[float] | None) -> np.ndarray:
    """Millimetres along the file's z, y, x.

    Args:
        dataset: what is planned for.
        wanted: instead of what the planner would choose.

    Raises:
        BadConfiguration: `wanted` is not three positive numbers.
    """
    if wanted is not None:
        if len(wanted) != 3 or not all(isinstance(s, (int, float)) and s > 0 for s in wanted):
            raise BadConfiguration(
                "InvalidTargetSpacing", f"The target spacing is {list(wanted)}, expected three positive numbers."
            )
        dataset.say(f"target spacing {shown(wanted)}: as asked for")
        return np.array([float(s) for s in wanted])
    step = dataset.planner.target_spacing_rule
    found = call("targetSpacingRule", step, dataset)
    return np.array([float(s) for s in numbers(found, 3, "targetSpacingRule", step, "mm along z, y, x")])


@TARGET_SPACING_RULES.register("Percentile")
def percentile(dataset: DatasetFacts) -> Sequence[float]:
    """targetSpacingPercentile of the spacings; of an axis that is anisotropic in mm and voxels, anisotropicSpacingPercentile.

    nnU-Net v2's rule, and that of v1's v21 planners. Such an axis stays coarser than the others.
    """
    return _with_anisotropic_axis(dataset, min, lambda lower, coarsest: lower if lower >= coarsest else coarsest + 1e-5)


@TARGET_SPACING_RULES.register("PlainPercentile")
def plain_percentile(dataset: DatasetFacts) -> Sequence[float]:
    """targetSpacingPercentile of the spacings along every axis: v1's ExperimentPlanner."""
    target = _median(dataset)[0]
    _say_percentile(dataset, target)
    return target


@TARGET_SPACING_RULES.register("AtLeastTripleOfOthers")
def at_least_triple_of_others(dataset: DatasetFacts) -> Sequence[float]:
    """As Percentile, but an anisotropic axis stays at least anisotropyThreshold times as coarse as the others: v1's v22 and v23."""
    ratio = dataset.planner.anisotropy_threshold
    return _with_anisotropic_axis(dataset, min, lambda lower, coarsest: max(ratio * coarsest, lower))


@TARGET_SPACING_RULES.register("AnisotropicAgainstLongest")
def anisotropic_against_longest(dataset: DatasetFacts) -> Sequence[float]:
    """As Percentile, but the voxels along the axis are compared with the longest other one, and the percentile counts as it is.

    v1's ExperimentPlannerTargetSpacingForAnisoAxis.
    """
    return _with_anisotropic_axis(dataset, max, lambda lower, coarsest: lower)


@TARGET_SPACING_RULES.register("Fixed")
def fixed(dataset: DatasetFacts, *, spacing: list[float]) -> Sequence[float]:
    """A spacing in mm along the file's z, y, x, whatever the dataset has: v1's customTargetSpacing."""
    dataset.say(f"target spacing {shown(spacing)}: the planner's own")
    return spacing


def _with_anisotropic_axis(
    dataset: DatasetFacts, compared: Callable[[Iterable[float]], float], lowered: Callable[[float, float], float]
) -> Sequence[float]:
    """targetSpacingPercentile of the spacings along every axis, but for one that is anisotropic in mm and in voxels.

    Args:
        compared: which of the other axes' voxels, shortest or longest, the axis has far fewer than.
        lowered: from the axis's anisotropicSpacingPercentile and the coarsest other spacing to its spacing.
    """
    kind = dataset.planner
    target, size, worst, others = _median(dataset)
    coarsest, voxels = max(target[a] for a in others), compared(size[a] for a in others)
    ratio = kind.anisotropy_threshold
    if target[worst] > ratio * coarsest and size[worst] * ratio < voxels:
        lower = lowered(np.percentile(dataset.spacings[:, worst], kind.anisotropic_spacing_percentile), coarsest)
        _say_anisotropic(dataset, target, worst, f"also in voxels: {size[worst]:g} of {voxels:g}", lower)
        target[worst] = lower
    else:
        _say_percentile(dataset, target)
    return target


def _median(dataset: DatasetFacts) -> tuple[np.ndarray, np.ndarray, int, list[int]]:
    """The percentile of the spacings, the median shape, the axis of the largest spacing, and the others."""
    target = np.percentile(dataset.spacings, dataset.planner.target_spacing_percentile, 0)
    worst = int(np.argmax(target))
    return target, np.percentile(dataset.shapes, 50, 0), worst, [a for a in range(3) if a != worst]


def _say_percentile(dataset: DatasetFacts, target: np.ndarray) -> None:
    percent = dataset.planner.target_spacing_percentile
    dataset.say(f"target spacing {shown(target)}: the {percent:g}th percentile of {len(dataset.spacings)} cases")


def _say_anisotropic(dataset: DatasetFacts, target: np.ndarray, worst: int, why: str, lower: float) -> None:
    dataset.say(
        f"target spacing {shown(target)} is anisotropic along axis {worst} ({why}): "
        f"{lower:g} there, the {dataset.planner.anisotropic_spacing_percentile:g}th percentile"
    )


def shown(numbers: Any) -> str:
    """Numbers as a planner's notes have them."""
    return "[" + ", ".join(f"{n:.5g}" for n in numbers) + "]"
