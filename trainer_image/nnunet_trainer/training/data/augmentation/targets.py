"""From a segmentation to what the loss compares with: no -1, regions, one target per deep-supervision output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from nnunet_trainer.dataset.labels import Region
from nnunet_trainer.training.data.batch import Allocate

from .functional.separable import nearest_exact


def remove_outside(seg: torch.Tensor) -> torch.Tensor:
    """-1 (outside the image) becomes background."""
    return seg.clamp_(min=0)


def to_regions(seg: torch.Tensor, regions: Sequence[Region]) -> torch.Tensor:
    """Labels (b, 1, *patch) as one mask a region, (b, regions, *patch) bool. An ignore label is one more region, the last."""
    labels = seg[:, 0]
    masks = []
    for region in regions:
        members = [region] if isinstance(region, int) else list(region)
        mask = labels == members[0]
        for member in members[1:]:
            mask |= labels == member
        masks.append(mask)
    return torch.stack(masks, dim=1)


def at_scales(seg: torch.Tensor, scales: Sequence[Sequence[float]] | None, allocate: Allocate = np.empty) -> list[torch.Tensor]:
    """The target at each deep-supervision scale, by nearest-exact sampling.

    Args:
        seg: (b, 1 or regions, *patch); what has its size is not copied.
        scales: per output the fraction of the patch along each axis; None: at full resolution only.
        allocate: on a CPU makes the memory of the others.
    """
    results = []
    for scale in scales or [[1.0] * (seg.ndim - 2)]:
        target = seg
        for axis, factor in enumerate(scale, start=2):
            size = seg.shape[axis]
            reduced = round(size * factor)
            if reduced != size:
                target = _reduced(target, axis, reduced)
        if target is seg or seg.device.type != "cpu":
            results.append(target.contiguous())
        else:
            own = allocate(tuple(target.shape), target.numpy().dtype)
            own[...] = target.numpy()  # in half of the time of torch's copy
            results.append(torch.from_numpy(own))
    return results


def _reduced(x: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    """So many layers along an axis; a view where they are evenly spaced, so that all axes are then copied at once."""
    step, rest = divmod(x.shape[axis], count)
    if rest:
        return x.index_select(axis, nearest_exact(x.shape[axis], count, x.device))
    return x[(slice(None),) * axis + (slice(step // 2, None, step),)]
