"""One batch through an augmentation: (b, c, *initial patch) in, (b, c, *patch) and the loss's targets out, on the same device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nnunet_trainer.training.randomness import SampleKey

from .config import AugmentationConfig, Spatial
from .geometry import Geometry, geometry
from .intensity import Context
from .previous_stage import previous_stage_channels
from .spatial import affine_matrix, centre_crop, places, sample_image, sample_segmentation
from .targets import Region, at_scales, remove_outside, to_regions

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

    def __post_init__(self) -> None:
        spatial, axes = self.config.spatial, self.config.mirror_axes
        if axes is None and not self.config.mirror_last:
            axes = tuple(range(len(self.patch_size) - 1))
        found = geometry(
            self.patch_size,
            rotate=spatial is not None,
            allow_dummy_2d=spatial.dummy_2d if spatial else True,
            mirror_axes=axes,
        )
        object.__setattr__(self, "patch_size", tuple(int(n) for n in self.patch_size))
        object.__setattr__(self, "geometry", found)

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
        generators = [key.generator("augmentation") for key in keys]
        data, seg = self._spatial(data, seg, generators)
        self._intensity(data, keys, generators)
        self._mirror(data, seg, generators)
        # nnU-Net's trainer without augmentation does not mask either.
        masked = [channel for channel, masks in enumerate(self.mask_channels) if masks]
        if masked and (self.config.spatial or self.config.intensity):
            outside = seg[:, 0] < 0
            for channel in masked:
                data[:, channel].masked_fill_(outside, 0)
        seg = remove_outside(seg)
        if self.previous_stage_labels:
            data, seg = previous_stage_channels(data, seg, self.previous_stage_labels, self.config.previous_stage, keys)
        if self.regions is not None:
            seg = to_regions(seg, [*self.regions, *([] if self.ignore_label is None else [self.ignore_label])])
        return data, at_scales(seg, self.deep_supervision_scales)

    def _spatial(
        self, data: torch.Tensor, seg: torch.Tensor, generators: Sequence[np.random.Generator]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        spatial = self.config.spatial
        drawn = [self._draw_matrix(spatial, rng) if spatial else None for rng in generators]
        # Copies: the sampler's batch is not changed, and what follows works in place.
        cropped = centre_crop(data, self.patch_size).clone(memory_format=torch.contiguous_format)
        cropped_seg = centre_crop(seg, self.patch_size).clone(memory_format=torch.contiguous_format)
        chosen = [i for i, matrix in enumerate(drawn) if matrix is not None]
        if spatial is None:
            return cropped, cropped_seg
        for some in _groups(chosen, data[0, 0].numel(), data.device):
            rows = torch.tensor(some, device=data.device)
            matrices = torch.tensor(np.stack([drawn[i] for i in some]), dtype=torch.float32).to(data.device, non_blocking=True)
            image, labels, patch = data.index_select(0, rows), seg.index_select(0, rows), self.patch_size
            if self.geometry.dummy_2d:
                image, labels, patch = image.flatten(1, 2), labels.flatten(1, 2), patch[1:]
            where = places(matrices, patch, image.shape[2:])
            cropped[rows] = sample_image(image, where, spatial.image_order).view(-1, *cropped.shape[1:])
            cropped_seg[rows] = sample_segmentation(labels, where, spatial.segmentation_order).view(-1, *cropped_seg.shape[1:])
        return cropped, cropped_seg

    def _draw_matrix(self, spatial: Spatial, rng: np.random.Generator) -> np.ndarray | None:
        d = len(self.patch_size) - self.geometry.dummy_2d
        rotates, scales = rng.random() < spatial.rotation_probability, rng.random() < spatial.scale_probability
        angles, scale = rng.uniform(-self.geometry.rotation, self.geometry.rotation, d), rng.uniform(*spatial.scale)
        if not rotates and not scales:
            return None
        return affine_matrix(angles if rotates else [0.0] * d, [scale if scales else 1.0] * d)

    def _intensity(self, data: torch.Tensor, keys: Sequence[SampleKey], generators: Sequence[np.random.Generator]) -> None:
        """Work on `data` in place."""
        gates = [rng.random(len(self.config.intensity)) for rng in generators]
        channels, ndim = data.shape[1], data.ndim - 2
        flat = data.view(-1, *data.shape[2:])
        for place, transform in enumerate(self.config.intensity):
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

    def _mirror(self, data: torch.Tensor, seg: torch.Tensor, generators: Sequence[np.random.Generator]) -> None:
        """Work in place; samples that are flipped alike are flipped together."""
        axes = self.geometry.mirror_axes
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for sample, rng in enumerate(generators):
            flips = rng.random(len(axes)) < self.config.mirror_probability
            groups[tuple(axis + 2 for axis, flip in zip(axes, flips, strict=True) if flip)].append(sample)
        for flipped, samples in groups.items():
            if flipped:
                rows = torch.tensor(samples, device=data.device)
                data[rows] = data[rows].flip(flipped)
                seg[rows] = seg[rows].flip(flipped)


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
        config=AugmentationConfig(spatial=None, intensity=(), mirror_axes=(), previous_stage=None),
        patch_size=tuple(patch_size),
        deep_supervision_scales=deep_supervision_scales,
        regions=regions,
        ignore_label=ignore_label,
        previous_stage_labels=previous_stage_labels,
    )
