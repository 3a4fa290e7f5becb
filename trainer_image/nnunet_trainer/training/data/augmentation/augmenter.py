"""One batch through an augmentation: (b, c, *initial patch) in, (b, c, *patch) and the loss's targets out, on the same device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from nnunet_trainer.dataset.labels import Region
from nnunet_trainer.training.data.batch import Allocate, Batch, Enlarged
from nnunet_trainer.training.data.patch_geometry import Geometry, geometry
from nnunet_trainer.training.data.randomness import SampleKey
from nnunet_trainer.training.data.spatial_placement import STREAM, Placements

from .config import AugmentationConfig
from .functional import apply
from .functional.channels import Channels, channels_of
from .functional.elastic import displacements
from .functional.orientation import turned
from .functional.parts import slabs
from .functional.previous_stage import previous_stage_channels
from .interpolation.images import image_sampler
from .interpolation.label_meetings import Meetings
from .interpolation.labels import label_sampler
from .interpolation.sampling_grid import centre_crop, places
from .part_sizes import CACHED_VOXELS, GPU_VOXELS
from .plan import Planner, Resampled
from .sets import none
from .targets import at_scales, remove_outside, to_regions
from .transforms.intensity import IntensityTransform
from .upload import uploaded


@dataclass(frozen=True, kw_only=True)
class Augmenter:
    """An augmentation for one network.

    Args:
        config: what is done, how often, how strongly.
        patch_size: what the network sees; `initial_patch_size` says what to cut out for it.
        deep_supervision_scales: per output the fraction of the patch along each axis; None: one output.
        regions: foreground regions, for region-based training.
        ignore_label: becomes the last region.
        mask_channels: image channels that are 0 outside the image (`use_mask_for_norm`).
        previous_stage_labels: cascade: foreground labels; `seg` then has the previous stage's segmentation as channel 1.
    """

    config: AugmentationConfig
    patch_size: tuple[int, ...]
    deep_supervision_scales: Sequence[Sequence[float]] | None = None
    regions: Sequence[Region] | None = None
    ignore_label: int | None = None
    mask_channels: Sequence[bool] = ()
    previous_stage_labels: Sequence[int] = ()
    geometry: Geometry = field(init=False)
    transforms: tuple[IntensityTransform, ...] = field(init=False)

    def __post_init__(self) -> None:
        axes = self.config.mirror_axes
        if axes is None and not self.config.mirror_last:
            axes = tuple(range(len(self.patch_size) - 1))
        object.__setattr__(self, "patch_size", tuple(int(n) for n in self.patch_size))
        object.__setattr__(self, "transforms", self.config.intensity)
        object.__setattr__(self, "geometry", geometry(self.patch_size, self.config.spatial, mirror_axes=axes))

    def planner(self, device_type: str = "cpu") -> Planner:
        """What draws a batch's plan.

        Args:
            device_type: where the batch is augmented.
        """
        return Planner(
            config=self.config,
            transforms=self.transforms,
            patch_size=self.patch_size,
            geometry=self.geometry,
            previous_stage_labels=tuple(self.previous_stage_labels),
            most_voxels=CACHED_VOXELS if device_type == "cpu" else GPU_VOXELS,
        )

    @property
    def placements(self) -> Placements:
        """What each sample draws of rotation, scaling and deformation."""
        return self.planner().placements

    @property
    def initial_patch_size(self) -> tuple[int, ...]:
        """What the sampler is to cut out."""
        return self.geometry.initial_patch_size

    @torch.no_grad()
    def __call__(self, data: torch.Tensor, seg: torch.Tensor, keys: Sequence[SampleKey]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Augment a batch.

        Args:
            data: (b, c, *initial) float32.
            seg: (b, s, *initial) integers, -1 outside the image.
            keys: of each sample; they decide all that is random.

        Returns:
            data (b, c, *patch), and the targets (b, 1 or regions, *scaled patch), one per deep-supervision output.
        """
        return self.augment(self.divided(data, seg, keys))

    @torch.no_grad()
    def augment(
        self, batch: Batch, layout: torch.memory_format = torch.contiguous_format, allocate: Allocate = np.empty
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Augment a batch of tensors, whose memory may be used for it. A GPU is given work, and not waited for.

        Args:
            batch: with its plan; without one it is drawn here, on a CPU.
            layout: of data in memory.
            allocate: on a CPU makes the memory of data and targets: `(shape, dtype)`.

        Returns:
            data (b, c, *patch), and the targets (b, 1 or regions, *scaled patch), one per deep-supervision output.
        """
        plan = self.planner()(batch.mapped(torch.Tensor.numpy)) if batch.plan is None else batch.plan
        plan = uploaded(plan, batch.data.device)
        images, labels = (channels_of(each, batch.rows, plan.rows, len(batch.keys)) for each in (batch.data, batch.seg))
        if batch.enlarged is not None:
            self._resample(batch.enlarged, plan.resampled, images, labels)
        for change, rows in plan.turned:
            for each in (images, labels):
                each.change_samples(rows, partial(turned, change=change))
        for some in plan.changed:
            images.change_channels(some.channels, some.rows, partial(apply, self.transforms[some.transform], numbers=some.numbers))
        data = images.mirrored(plan.mirrored, layout, allocate)
        seg = labels.mirrored(plan.mirrored, torch.contiguous_format, allocate)
        # nnU-Net's trainer without augmentation does not mask either.
        masked = [channel for channel, masks in enumerate(self.mask_channels) if masks]
        if masked and (self.config.spatial.active or self.transforms):
            outside = seg[:, 0] < 0
            for channel in masked:
                data[:, channel].masked_fill_(outside, 0)
        seg = remove_outside(seg)
        if self.previous_stage_labels:
            data, seg = previous_stage_channels(data, seg, self.previous_stage_labels, plan.operations)
        if self.regions is not None:
            seg = to_regions(seg, [*self.regions, *([] if self.ignore_label is None else [self.ignore_label])])
        return data.contiguous(memory_format=layout), at_scales(seg, self.deep_supervision_scales, allocate)

    def divided(self, data: torch.Tensor, seg: torch.Tensor, keys: Sequence[SampleKey]) -> Batch:
        """Patches with their margin as the sampler would have read them. Copies: what follows works in place."""
        placements = self.placements
        wide = [row for row, key in enumerate(keys) if placements.drawn(key.generator(STREAM)) is not None]
        rows = [row for row in range(len(keys)) if row not in wide]
        initial = tuple(data.shape[2:])
        enlarged = Enlarged(wide, data[wide], seg[wide], (0,) * len(initial), initial) if wide else None
        middle = [centre_crop(each[rows], self.patch_size).contiguous() for each in (data, seg)]
        return Batch(middle[0], middle[1], rows, list(keys), [], enlarged)

    def _resample(self, wide: Enlarged, resampled: Sequence[Resampled], images: Channels, labels: Channels) -> None:
        flat, patch, spatial = self.geometry.dummy_2d, self.patch_size, self.config.spatial
        image, seg, start, initial, size = wide.data, wide.seg, wide.start, wide.initial, tuple(wide.data.shape[2:])
        if flat:
            image, seg, patch = image.flatten(1, 2), seg.flatten(1, 2), patch[1:]
            start, initial, size = start[1:], initial[1:], size[1:]
        meetings = Meetings(spatial.segmentation_order)
        for some in resampled:
            here = slice(some.first, some.first + len(some.matrices))
            moved, parts = _moved(some, patch), slabs(patch, len(some.matrices), image.device)
            # Slabs are copied to where they belong: they have to be settled by then.
            later = meetings if len(parts) == 1 else None
            samplers = image_sampler(image[here], spatial.image_order), label_sampler(seg[here], spatial.segmentation_order, later)
            for slab in parts:
                where = places(some.matrices, patch, initial, moved, (start, size), slab)
                for sampler, result in zip(samplers, (images, labels), strict=True):
                    result.write(some.rows, sampler(where), 2 + flat, slab)
        meetings.settle()


def _moved(some: Resampled, patch: tuple[int, ...]) -> torch.Tensor | None:
    """How elastic deformation moves the voxels of some samples, (n, d, *patch); None where it moves none."""
    if some.moved is None:
        return None
    device = some.matrices.device
    still = torch.zeros(len(patch), *patch, device=device)
    return torch.stack([still if numbers is None else displacements(numbers, device) for numbers in some.moved])


def validation_augmenter(
    patch_size: Sequence[int],
    *,
    deep_supervision_scales: Sequence[Sequence[float]] | None = None,
    regions: Sequence[Region] | None = None,
    ignore_label: int | None = None,
    previous_stage_labels: Sequence[int] = (),
) -> Augmenter:
    """What validation patches get: no augmentation, the same targets."""
    return Augmenter(
        config=none(),
        patch_size=tuple(patch_size),
        deep_supervision_scales=deep_supervision_scales,
        regions=regions,
        ignore_label=ignore_label,
        previous_stage_labels=previous_stage_labels,
    )
