"""One batch through an augmentation: (b, c, *initial patch) in, (b, c, *patch) and the loss's targets out, on the same device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nnunet_trainer.dataset.labels import Region
from nnunet_trainer.training.data.batch import Batch, Enlarged
from nnunet_trainer.training.data.patch_geometry import Geometry, geometry
from nnunet_trainer.training.data.randomness import SampleKey
from nnunet_trainer.training.data.spatial_placement import Placement, Placements

from .config import AugmentationConfig
from .interpolation.sampling_grid import centre_crop, places, sample_image, sample_segmentation
from .sets import none
from .targets import at_scales, remove_outside, to_regions
from .transforms import orientation
from .transforms.elastic import displacements
from .transforms.intensity import Context, IntensityTransform
from .transforms.previous_stage import previous_stage_channels

CACHED_VOXELS = 2**16
GPU_VOXELS = 2**25


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
    intensity: tuple[IntensityTransform, ...] = field(init=False)

    def __post_init__(self) -> None:
        axes = self.config.mirror_axes
        if axes is None and not self.config.mirror_last:
            axes = tuple(range(len(self.patch_size) - 1))
        object.__setattr__(self, "patch_size", tuple(int(n) for n in self.patch_size))
        object.__setattr__(self, "geometry", geometry(self.patch_size, self.config.spatial, mirror_axes=axes))
        object.__setattr__(self, "intensity", self.config.intensity)

    @property
    def placements(self) -> Placements:
        """What each sample draws of rotation, scaling and deformation."""
        patch, own = self.patch_size, self.geometry
        return Placements(self.config.spatial, own.rotation, patch, own.initial_patch_size, own.dummy_2d)

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
    def augment(self, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Augment a batch of tensors, whose memory may be used for it.

        Returns:
            data (b, c, *patch), and the targets (b, 1 or regions, *scaled patch), one per deep-supervision output.
        """
        keys = batch.keys
        generators = [key.generator("augmentation") for key in keys]
        data, seg = self._spatial(batch, generators)
        self._turn(data, seg, generators)
        self._intensity(data, keys, generators)
        axes = self.geometry.mirror_axes
        flips = [rng.random(len(axes)) < self.config.mirror_probability for rng in generators]
        orientation.mirror(data, seg, [tuple(axis for axis, flip in zip(axes, some, strict=True) if flip) for some in flips])
        # nnU-Net's trainer without augmentation does not mask either.
        masked = [channel for channel, masks in enumerate(self.mask_channels) if masks]
        if masked and (self.config.spatial.active or self.intensity):
            outside = seg[:, 0] < 0
            for channel in masked:
                data[:, channel].masked_fill_(outside, 0)
        seg = remove_outside(seg)
        if self.previous_stage_labels:
            data, seg = previous_stage_channels(data, seg, self.previous_stage_labels, self.config.previous_stage, keys)
        if self.regions is not None:
            seg = to_regions(seg, [*self.regions, *([] if self.ignore_label is None else [self.ignore_label])])
        return data, at_scales(seg, self.deep_supervision_scales)

    def divided(self, data: torch.Tensor, seg: torch.Tensor, keys: Sequence[SampleKey]) -> Batch:
        """Patches with their margin as the sampler would have read them. Copies: what follows works in place."""
        wide = [row for row, key in enumerate(keys) if self.placements.box(key) is not None]
        rows = [row for row in range(len(keys)) if row not in wide]
        initial = tuple(data.shape[2:])
        enlarged = Enlarged(wide, data[wide], seg[wide], (0,) * len(initial), initial) if wide else None
        middle = [centre_crop(each[rows], self.patch_size).contiguous() for each in (data, seg)]
        return Batch(middle[0], middle[1], rows, list(keys), [], enlarged)

    def _spatial(self, batch: Batch, generators: Sequence[np.random.Generator]) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = [self.placements.drawn(rng) for rng in generators]
        wide, flat, patch = batch.enlarged, self.geometry.dummy_2d, self.patch_size
        if wide is None:
            return batch.data, batch.seg
        device = batch.data.device
        data = batch.data.new_empty(len(drawn), *batch.data.shape[1:])
        seg = batch.seg.new_empty(len(drawn), *batch.seg.shape[1:])
        if batch.rows:
            rows = torch.tensor(batch.rows, device=device)
            data[rows], seg[rows] = batch.data, batch.seg
        image, labels, start, initial, size = wide.data, wide.seg, wide.start, wide.initial, tuple(wide.data.shape[2:])
        if flat:
            image, labels, patch = image.flatten(1, 2), labels.flatten(1, 2), patch[1:]
            start, initial, size = start[1:], initial[1:], size[1:]
        spatial = self.config.spatial
        for some in _groups(range(len(wide.rows)), wide.data[0, 0].numel(), device):
            chosen = [wide.rows[i] for i in some]
            placed = [(batch.keys[row], place) for row in chosen if (place := drawn[row]) is not None]
            matrices = torch.tensor(np.stack([place.matrix for _, place in placed]), dtype=torch.float32)
            moved = _moved(placed, patch, device)
            where = places(matrices.to(device, non_blocking=True), patch, initial, moved, (start, size))
            here, rows = slice(some[0], some[-1] + 1), torch.tensor(chosen, device=device)
            data[rows] = sample_image(image[here], where, spatial.image_order).view(-1, *data.shape[1:])
            seg[rows] = sample_segmentation(labels[here], where, spatial.segmentation_order).view(-1, *seg.shape[1:])
        return data, seg

    def _turn(self, data: torch.Tensor, seg: torch.Tensor, generators: Sequence[np.random.Generator]) -> None:
        quarter, transpose = self.config.turn_probability, self.config.transpose_probability
        axes = orientation.exchangeable(self.patch_size)
        if axes and (quarter or transpose):
            drawn = [orientation.draw_turn(rng, axes, len(self.patch_size), quarter, transpose) for rng in generators]
            orientation.turn(data, seg, drawn)

    def _intensity(self, data: torch.Tensor, keys: Sequence[SampleKey], generators: Sequence[np.random.Generator]) -> None:
        """Work on `data` in place."""
        gates = [rng.random(len(self.intensity)) for rng in generators]
        channels, ndim = data.shape[1], data.ndim - 2
        flat = data.view(-1, *data.shape[2:])
        for place, transform in enumerate(self.intensity):
            rows, numbers, names = [], [], []
            for sample, key in enumerate(keys):
                if gates[sample][place] >= transform.probability:
                    continue
                for channel, drawn in enumerate(transform.draw(key.generator(f"intensity/{place}"), channels, ndim)):
                    if drawn is not None:
                        rows.append(sample * channels + channel)
                        numbers.append(drawn)
                        names.append((key, channel))
            for some in _groups(range(len(rows)), flat[0].numel(), data.device):
                chosen = [rows[i] for i in some]
                context = Context([names[i] for i in some], self.geometry.dummy_2d)
                if len(chosen) == 1:
                    view = flat[chosen[0] : chosen[0] + 1]
                    view.copy_(transform.apply(view, [numbers[i] for i in some], context))
                else:
                    index = torch.tensor(chosen, device=data.device)
                    flat[index] = transform.apply(flat[index], [numbers[i] for i in some], context)


def _moved(placed: Sequence[tuple[SampleKey, Placement]], patch: tuple[int, ...], device: torch.device) -> torch.Tensor | None:
    """How elastic deformation moves the voxels of some samples, (n, d, *patch); None where it moves none."""
    if all(place.deformation is None for _, place in placed):
        return None
    moved = torch.zeros(len(placed), len(patch), *patch, device=device)
    for row, (key, place) in zip(moved, placed, strict=True):
        if place.deformation is not None:
            row.copy_(displacements(place.deformation, patch, key.torch_generator("elastic", device)))
    return moved


def _groups(items: Sequence[int], voxels: int, device: torch.device) -> list[Sequence[int]]:
    """What is worked on together: on a CPU what stays in its cache, on a GPU what takes little of its memory."""
    size = max(1, (CACHED_VOXELS if device.type == "cpu" else GPU_VOXELS) // voxels)
    return [items[start : start + size] for start in range(0, len(items), size)]


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
