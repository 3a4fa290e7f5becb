"""What a batch has drawn of its augmentation, and what follows from that alone: by whoever reads its patches, in numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_trainer.training.data.batch import Batch
from nnunet_trainer.training.data.patch_geometry import Geometry
from nnunet_trainer.training.data.randomness import Generators, SampleKey
from nnunet_trainer.training.data.spatial_placement import STREAM, Placement, Placements

from .config import AugmentationConfig
from .part_sizes import CACHED_VOXELS
from .transforms import orientation
from .transforms.elastic import Displacements, displacements
from .transforms.intensity import Context, IntensityTransform
from .transforms.previous_stage import Operation, remove_component


@dataclass(frozen=True, slots=True)
class Resampled:
    """Some of a batch's enlarged samples, which are resampled together.

    Attributes:
        first: of them, among the enlarged ones.
        rows: their places in the batch, (n,).
        matrices: (n, d, d) float32.
        moved: how each is deformed; None where none is.
    """

    first: int
    rows: Any
    matrices: Any
    moved: list[Displacements | None] | None


@dataclass(frozen=True, slots=True)
class Changed:
    """Channels of a batch that a transform works on together.

    Attributes:
        transform: its place among the set's.
        channels: their places, counted over all samples' channels.
        rows: the same, (k,).
        numbers: the transform's.
    """

    transform: int
    channels: list[int]
    rows: Any
    numbers: Any


@dataclass(frozen=True, slots=True)
class AugmentationPlan:
    """Of one batch. Arrays are numpy's, and tensors once it is on the batch's device.

    Attributes:
        rows: places of the samples that are not resampled, (n,).
        resampled: the others.
        turned: quarter turns and exchanged axes, each with the places of its samples.
        changed: what is done to the image, in this order.
        mirrored: axes, with the places of the samples that are flipped along them.
        operations: cascade: of each sample what is done to the previous stage's segmentation.
    """

    rows: Any
    resampled: list[Resampled]
    turned: list[tuple[orientation.Turned, Any]]
    changed: list[Changed]
    mirrored: list[tuple[tuple[int, ...], Any]]
    operations: list[list[Operation]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planner:
    """Draws the plan of a batch, by the keys of its samples alone.

    Args:
        config: what is done, how often, how strongly.
        transforms: its intensity transforms, in order.
        patch_size: what the network sees.
        geometry: of the patch.
        previous_stage_labels: cascade: foreground labels.
        most_voxels: that are worked on together: on a CPU what stays in its cache, on a GPU what takes little of its memory.
    """

    config: AugmentationConfig
    transforms: tuple[IntensityTransform, ...]
    patch_size: tuple[int, ...]
    geometry: Geometry
    previous_stage_labels: Sequence[int] = ()
    most_voxels: int = CACHED_VOXELS

    @property
    def placements(self) -> Placements:
        """What each sample draws of rotation, scaling and deformation."""
        patch, own = self.patch_size, self.geometry
        return Placements(self.config.spatial, own.rotation, patch, own.initial_patch_size, own.dummy_2d)

    def __call__(self, batch: Batch) -> AugmentationPlan:
        """Draw it. In a cascade components are taken from the batch's labels, in place.

        Args:
            batch: of numpy arrays.
        """
        placements = self.placements
        begun = [batch.begun.pop(key, None) or placements.begun(key.generator(STREAM)) for key in batch.keys]
        drawn, generators = [each.placement for each in begun], [each.rng for each in begun]
        resampled = self._resampled(batch, drawn)
        turned = self._turned(generators)
        changed = self._changed(batch, generators)
        axes, probability = self.geometry.mirror_axes, self.config.mirror_probability
        flips = [rng.random(len(axes)) < probability for rng in generators]
        flipped = [tuple(axis for axis, flip in zip(axes, some, strict=True) if flip) for some in flips]
        return AugmentationPlan(
            rows=np.array(batch.rows, np.int64),
            resampled=resampled,
            turned=turned,
            changed=changed,
            mirrored=orientation.together(flipped, ()),
            operations=self._previous_stage(batch, drawn),
        )

    def _resampled(self, batch: Batch, drawn: Sequence[Placement | None]) -> list[Resampled]:
        wide = batch.enlarged
        if wide is None:
            return []
        patch, found = self.patch_size[int(self.geometry.dummy_2d) :], []
        for some in self._groups(range(len(wide.rows)), wide.data[0, 0].size):
            rows = [wide.rows[i] for i in some]
            placed = [(batch.keys[row], place) for row in rows if (place := drawn[row]) is not None]
            matrices = np.stack([place.matrix for _, place in placed]).astype(np.float32)
            moved = None
            if any(place.deformation is not None for _, place in placed):
                moved = [
                    None if place.deformation is None else displacements(place.deformation, patch, key.torch_seed("elastic"))
                    for key, place in placed
                ]
            found.append(Resampled(some[0], np.array(rows), matrices, moved))
        return found

    def _turned(self, generators: Sequence[np.random.Generator]) -> list[tuple[orientation.Turned, Any]]:
        quarter, transpose = self.config.turn_probability, self.config.transpose_probability
        axes, ndim = orientation.exchangeable(self.patch_size), len(self.patch_size)
        if not axes or not (quarter or transpose):
            return []
        drawn = [orientation.draw_turn(rng, axes, ndim, quarter, transpose) for rng in generators]
        return orientation.together(drawn, ((0, 0, 1), tuple(range(ndim))))

    def _changed(self, batch: Batch, generators: Sequence[np.random.Generator]) -> list[Changed]:
        if not self.transforms:
            return []
        own_generators = Generators(batch.keys, tuple(f"intensity/{place}" for place in range(len(self.transforms))))
        gates = [rng.random(len(self.transforms)) for rng in generators]
        channels, ndim, found = batch.data.shape[1], len(self.patch_size), []
        for place, transform in enumerate(self.transforms):
            rows: list[int] = []
            numbers: list[Any] = []
            names: list[tuple[SampleKey, int]] = []
            for sample, key in enumerate(batch.keys):
                if gates[sample][place] >= transform.probability:
                    continue
                for channel, drawn in enumerate(transform.draw(own_generators.of(place, sample), channels, ndim)):
                    if drawn is not None:
                        rows.append(sample * channels + channel)
                        numbers.append(drawn)
                        names.append((key, channel))
            for some in self._groups(range(len(rows)), math.prod(self.patch_size)):
                context = Context([names[i] for i in some], self.patch_size, self.geometry.dummy_2d)
                chosen = [rows[i] for i in some]
                own = transform.numbers([numbers[i] for i in some], context)
                found.append(Changed(place, chosen, np.array(chosen), own))
        return found

    def _previous_stage(self, batch: Batch, drawn: Sequence[Placement | None]) -> list[list[Operation]]:
        labels, transform = self.previous_stage_labels, self.config.previous_stage
        if not labels or transform is None:
            return []
        generators = [key.generator("previous stage") for key in batch.keys]
        operations = [transform.operations(len(labels), rng) for rng in generators]
        for rows, _, seg in batch.parts():
            for row, own in zip(rows, seg, strict=True):
                rng, placement = generators[row], drawn[row]
                for channel in transform.removed(len(labels), rng) if len(own) > 1 else ():
                    # A voxel of the patch covers so many of what is read.
                    covered = 1.0 if placement is None else abs(float(np.linalg.det(placement.matrix)))
                    limit = transform.removal_limit * covered * float(np.prod(self.patch_size))
                    remove_component(own[1], labels[channel], limit, rng, self.patch_size)
        return operations

    def _groups(self, items: Sequence[int], voxels: int) -> list[Sequence[int]]:
        """What is worked on together."""
        size = max(1, self.most_voxels // voxels)
        return [items[start : start + size] for start in range(0, len(items), size)]
