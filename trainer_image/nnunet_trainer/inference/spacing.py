"""Whether an image's spacing is one that a model was trained for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nnunet_trainer.planning.plans import Configuration, Plans

FAR = 2.0
"""Times as coarse, or as fine, as the training's median: less is what datasets vary by."""
BEYOND = 1.1
"""Within the training's own range, and this much beyond it, nothing is far."""
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
    forward = plans.transpose_forward
    median = plans.content.get("original_median_spacing_after_transp") or configuration.spacing
    usual = [float(size) for size in median][-len(configuration.spacing) :]
    axes = list(forward)[-len(usual) :]
    far = []
    for axis, middle in zip(axes, usual, strict=True):
        size = float(spacing[axis])
        seen = [each[axis] for each in trained or () if len(each) == len(spacing)]
        if middle <= 0 or (seen and min(seen) / BEYOND <= size <= max(seen) * BEYOND):
            continue
        if max(size / middle, middle / size) > FAR:
            how = f"{size / middle:.3g} times as coarse" if size > middle else f"{middle / size:.3g} times as fine"
            seen_range = f", {min(seen):.4g} to {max(seen):.4g}" if seen else ""
            far.append(f"{how} along {'zyx'[axis]} ({size:.4g} mm; in the training {middle:.4g}{seen_range})")
    if not far:
        return None
    return f"the spacing is far from the training's: {', '.join(far)}. Is the file's spacing in mm?"
