"""What decides between a large patch and a large batch, and along which axis a patch shrinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np

from nnunet_trainer.extensions import Range, Registry

from ..architectures.feature_maps import generic_unet_size
from ..architectures.unet import ResidualEncoderUNet
from .facts import Candidate, ConfigurationFacts
from .memory_estimates import first_convolutions
from .steps import call, fail

SHRUNK_AXES: Registry[Callable[..., int]] = Registry("planner step")
"""Functions `(configuration, patch, **parameters) -> axis`; the patch is voxels along (z,) y, x."""

PATCH_AND_BATCH: Registry[Callable[..., tuple[Candidate, int]]] = Registry("planner step")
"""Functions `(configuration, **parameters) -> (candidate, batch size)`.

`configuration.first()` is what to begin with, `configuration.shrunk(candidate, fits)` the first smaller one that fits.
"""


def patch_and_batch(configuration: ConfigurationFacts) -> tuple[Candidate, int]:
    """The patch with its network, and the batch.

    Raises:
        BadConfiguration: a step answers something else than it should, or comes to no end.
    """
    step = configuration.planner.patch_and_batch
    found = call("patchAndBatch", step, configuration)
    try:
        candidate, batch = found
        if isinstance(candidate, Candidate) and int(batch) == batch and batch >= 1 and not isinstance(batch, bool):
            return candidate, int(batch)
    except (TypeError, ValueError):
        pass
    raise fail("patchAndBatch", step, found, "a Candidate and a batch size of at least 1")


@SHRUNK_AXES.register("LargestShareOfMedian")
def largest_share_of_median(configuration: ConfigurationFacts, patch: Sequence[int]) -> int:
    """The axis along which the patch covers most of the median image: nnU-Net's."""
    return int(np.argsort([n / m for n, m in zip(patch, configuration.median_shape, strict=True)])[-1])


@SHRUNK_AXES.register("LongestInMillimetres")
def longest_in_millimetres(configuration: ConfigurationFacts, patch: Sequence[int]) -> int:
    """The axis along which the patch is longest in mm, the last of equal ones: v1's ExperimentPlannerIso."""
    return int(np.argsort([n * s for n, s in zip(patch, configuration.spacing, strict=True)], kind="stable")[-1])


@SHRUNK_AXES.register("MostVoxels")
def most_voxels(configuration: ConfigurationFacts, patch: Sequence[int]) -> int:
    """The axis of most voxels, where all are equal the coarsest, and the last of equal ones: v1's isotropic patches in voxels."""
    return int(np.argsort(configuration.spacing if len(set(patch)) == 1 else patch, kind="stable")[-1])


@PATCH_AND_BATCH.register("PatchBeforeBatch")
def patch_before_batch(configuration: ConfigurationFacts) -> tuple[Candidate, int]:
    """The largest patch of which a least batch fits, then as many as fit: nnU-Net v2's."""
    reference, batch = configuration.reference, configuration.reference_batch
    residual = isinstance(configuration.planner.network, ResidualEncoderUNet)

    def fits(candidate: Candidate) -> bool:
        # The plain planner compares a batch of two with the reference, the residual ones one reference batch: this differs in 2-D.
        return (candidate.estimate if residual else candidate.estimate / batch * 2) <= reference

    candidate = configuration.shrunk(configuration.first(), fits)
    wanted = round(reference / candidate.estimate * batch)
    return candidate, _batch(configuration, candidate, wanted)


@PATCH_AND_BATCH.register("BatchBeforePatch")
def batch_before_patch(
    configuration: ConfigurationFacts, *, batch3d: Annotated[int, Range(1, 4096)] = 8, batch2d: Annotated[int, Range(1, 4096)] = 48
) -> tuple[Candidate, int]:
    """A batch of this size (fewer where the dataset is too small for it), and the largest patch that fits so often."""
    reference, of = configuration.reference, configuration.reference_batch
    wanted = batch2d if configuration.two else batch3d

    def fits(candidate: Candidate) -> bool:
        return candidate.estimate / of * wanted <= reference

    candidate = configuration.shrunk(configuration.first(), fits)
    return candidate, _batch(configuration, candidate, wanted)


@PATCH_AND_BATCH.register("V1")
def v1(configuration: ConfigurationFacts) -> tuple[Candidate, int]:
    """v1's v21 planners: a patch that fits as two, and a batch that is rounded down; of slices an even one.

    The median image counts in whole voxels. The first patch is measured as v1 does: of slices with a network of 30 features at its
    first stage, for FabiansUNet before it is padded for pooling.
    """
    configuration = replace(configuration, median_shape=[round(float(n)) for n in configuration.median_shape])
    kind, reference = configuration.planner, configuration.reference
    first = configuration.first()
    if configuration.two and kind.memory_estimate.name == "GenericUNet":
        first = _with_30_features(configuration, first)
    elif not configuration.two and kind.memory_estimate.name == "FabiansUNet":
        first = replace(first, estimate=configuration.estimate(configuration.first_patch(), first.architecture))
    candidate = configuration.shrunk(first, lambda candidate: candidate.estimate <= reference)
    fits = reference / candidate.estimate
    cap = configuration.most_patches(candidate.patch_size)
    if configuration.two:
        wanted, least = math.floor(fits) * configuration.reference_batch, 1
    else:
        wanted, least = math.floor(max(fits, 1) * configuration.reference_batch), kind.min_batch_size
        cap = max(cap, least)
    batch = max(1, min(wanted, cap))
    _note(configuration, batch, wanted, cap, least)
    return candidate, batch


def _with_30_features(configuration: ConfigurationFacts, candidate: Candidate) -> Candidate:
    given, kind = candidate.architecture["arch_kwargs"], configuration.planner
    estimate = generic_unet_size(
        candidate.patch_size,
        given["strides"],
        [min(kind.max_features_2d, 30 * 2**stage) for stage in range(candidate.topology.stages)],
        convolutions=first_convolutions(given),
        channels=len(configuration.dataset.channels),
        outputs=configuration.dataset.outputs,
    )
    return replace(candidate, estimate=estimate)


def _batch(configuration: ConfigurationFacts, candidate: Candidate, wanted: int) -> int:
    cap, least = configuration.most_patches(candidate.patch_size), configuration.planner.min_batch_size
    size = max(min(wanted, cap), least)
    _note(configuration, size, wanted, cap, least)
    return size


def _note(configuration: ConfigurationFacts, size: int, wanted: int, cap: int, least: int) -> None:
    share = f"{100 * configuration.planner.max_dataset_covered:g} % of the dataset"
    configuration.notes.append(f"batch {size}: the memory holds {wanted}, {share} are {cap} patches, the least is {least}")
