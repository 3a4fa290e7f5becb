"""Whether an image's spacing is one that a model was trained for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_trainer.planning.plans import Configuration, Plans

FAR = 2.0
"""Times as coarse, or as fine, as the training's median: less is what datasets vary by."""
BEYOND = 1.1
"""Within the training's own range, and this much beyond it, nothing is far."""
UNIT = 300.0
"""Times as coarse, or as fine, along every axis: not of another scanner, but in another unit (µm and m are 1,000 times off)."""
FINGERPRINT = "dataset_fingerprint.json"


def training_spacings(model: Path) -> list[list[float]] | None:
    """Spacings (z, y, x in the file's axes) of the training cases, from the fingerprint in a model's folder; None without one."""
    try:
        found = json.loads((model / FINGERPRINT).read_text(encoding="utf-8"))["spacings"]
        return [[float(size) for size in each] for each in found] or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unlike_training(
    spacing: Sequence[float], plans: Plans, configuration: Configuration, trained: Sequence[Sequence[float]] | None = None
) -> str | None:
    """What is to be said of a spacing that is far from the training's; None for one that is not.

    It is far along an axis where it is more than `FAR` times as coarse or as fine as the training's median (without one: the
    configuration's target), unless a training case had such a spacing. Between the slices of a 2-D configuration, nothing is far:
    that spacing is never used.

    Args:
        spacing: mm along z, y, x in the file's axes; positive.
        plans: of the model.
        configuration: of the model.
        trained: `training_spacings`.
    """
    far = [axis for axis in _axes(spacing, plans, configuration, trained) if axis.is_far]
    if not far:
        return None
    return f"the spacing is far from the training's: {', '.join(map(str, far))}. Is the file's spacing in mm?"


def unit_fault(
    spacing: Sequence[float], plans: Plans, configuration: Configuration, trained: Sequence[Sequence[float]] | None = None
) -> str | None:
    """What is wrong with a spacing that is in another unit than the training's; None for one that is not. As `unlike_training`."""
    axes = _axes(spacing, plans, configuration, trained)
    for unit, scale in (("µm", 1.0), ("m", -1.0)):
        if axes and all(axis.is_far and (axis.size / axis.usual) ** scale > UNIT for axis in axes):
            return f"the spacing is in {unit}, as it seems: {', '.join(map(str, axes))}"
    return None


@dataclass(frozen=True, slots=True)
class _Axis:
    """An image's spacing along one axis, the training's median, and its range, where it is known."""

    name: str
    size: float
    usual: float
    seen: tuple[float, ...]

    @property
    def is_far(self) -> bool:
        if self.seen and min(self.seen) / BEYOND <= self.size <= max(self.seen) * BEYOND:
            return False
        return max(self.size / self.usual, self.usual / self.size) > FAR

    def __str__(self) -> str:
        coarser = self.size > self.usual
        how = f"{self.size / self.usual:.3g} times as coarse" if coarser else f"{self.usual / self.size:.3g} times as fine"
        seen = f", {min(self.seen):.4g} to {max(self.seen):.4g}" if self.seen else ""
        return f"{how} along {self.name} ({self.size:.4g} mm; in the training {self.usual:.4g}{seen})"


def _axes(
    spacing: Sequence[float], plans: Plans, configuration: Configuration, trained: Sequence[Sequence[float]] | None
) -> list[_Axis]:
    """Those that are resampled."""
    median = plans.content.get("original_median_spacing_after_transp") or configuration.spacing
    usual = [float(size) for size in median][-len(configuration.spacing) :]
    axes = list(plans.transpose_forward)[-len(usual) :]
    like = [each for each in trained or () if len(each) == len(spacing)]
    pairs = [(axis, middle) for axis, middle in zip(axes, usual, strict=True) if middle > 0]
    return [_Axis("zyx"[axis], float(spacing[axis]), middle, tuple(each[axis] for each in like)) for axis, middle in pairs]
