"""Patch, batch and network of one configuration: the largest that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..gpu_memory import conv_feature_map_size
from ..names import ANISOTROPY
from ..old_format import NETWORK_CLASSES, arguments
from ..planner_presets import Planner
from .topology import Topology, topology


@dataclass(slots=True)
class PlannedNetwork:
    """What was found. `notes` has a line for each decision."""

    patch_size: list[int]
    batch_size: int
    architecture: dict[str, Any]
    estimate: int
    notes: list[str] = field(default_factory=list)


def plan_network(
    kind: Planner,
    gpu_memory_gb: float,
    spacing: np.ndarray,
    median_shape: Sequence[float],
    dataset_voxels: float,
    num_outputs: int,
) -> PlannedNetwork:
    """Start from a patch of the median image's aspect, shrink it until it fits, and give what memory is left to the batch.

    Args:
        kind: the planner.
        gpu_memory_gb: to fill.
        spacing: (z,) y, x of the configuration.
        median_shape: at this spacing.
        dataset_voxels: of all images; a batch covers at most `max_dataset_covered` of them.
        num_outputs: labels, ignore included.
    """
    two = len(spacing) == 2
    aspect = 1 / np.array(spacing)
    edge = 2048**2 if two else 256**3
    initial = [round(float(n)) for n in aspect * (edge / np.prod(aspect)) ** (1 / len(spacing))]
    patch = [float(min(n, m)) for n, m in zip(initial, median_shape, strict=True)]
    shape = topology(spacing, patch, kind.min_edge_length, kind.max_pooling)
    reference = (kind.reference_2d if two else kind.reference_3d) * (gpu_memory_gb / kind.reference_gb)
    batch = kind.reference_batch_2d if two else kind.reference_batch_3d
    architecture = _architecture(kind, shape, two)
    estimate = conv_feature_map_size(shape.patch_size, architecture, num_outputs)
    notes = [f"first patch by the spacing {initial}, cut to the median image, padded for pooling: {shape.patch_size}"]

    steps = 0
    # The plain planner compares a batch of two with the reference, the residual ones one reference batch: this differs in 2-D.
    while (estimate if kind.residual else estimate / batch * 2) > reference:
        axis = int(np.argsort([n / m for n, m in zip(shape.patch_size, median_shape, strict=True)])[-1])
        # A smaller patch may pool less often: subtract the divisor of the smaller one, so that no valid size is skipped.
        smaller = list(shape.patch_size)
        smaller[axis] -= shape.divisor[axis]
        divisor = topology(spacing, smaller, kind.min_edge_length, kind.max_pooling).divisor
        smaller = list(shape.patch_size)
        smaller[axis] -= divisor[axis]
        shape = topology(spacing, smaller, kind.min_edge_length, kind.max_pooling)
        architecture = _architecture(kind, shape, two)
        estimate = conv_feature_map_size(shape.patch_size, architecture, num_outputs)
        steps += 1
    if steps:
        notes.append(f"patch {shape.patch_size} after {steps} steps: its estimate {estimate:,} fits the reference {reference:,.0f}")
    else:
        notes.append(f"patch {shape.patch_size} fits at once: its estimate {estimate:,} is below the reference {reference:,.0f}")
    poolings = [int(np.log2(d)) for d in shape.divisor]
    notes.append(f"{shape.stages} stages, {poolings} poolings, features {architecture['arch_kwargs']['features_per_stage']}")
    return PlannedNetwork(
        shape.patch_size,
        _batch_size(kind, reference / estimate * batch, dataset_voxels, shape.patch_size, notes),
        architecture,
        estimate,
        notes,
    )


def _batch_size(kind: Planner, fits: float, dataset_voxels: float, patch: list[int], notes: list[str]) -> int:
    wanted = round(fits)
    cap = round(float(dataset_voxels * kind.max_dataset_covered / np.prod(patch, dtype=np.float64)))
    size = max(min(wanted, cap), kind.min_batch_size)
    share = f"{100 * kind.max_dataset_covered:g} % of the dataset"
    notes.append(f"batch {size}: the memory holds {wanted}, {share} are {cap} patches, the least is {kind.min_batch_size}")
    return size


def _architecture(kind: Planner, shape: Topology, two: bool) -> dict[str, Any]:
    most = kind.max_features_2d if two else kind.max_features_3d
    encoder = list(kind.blocks_encoder[: shape.stages])
    return {
        "network_class_name": NETWORK_CLASSES["ResidualEncoderUNet" if kind.residual else "PlainConvUNet"],
        "arch_kwargs": arguments(
            dimensions=2 if two else 3,
            features=[min(most, kind.base_features * 2**i) for i in range(shape.stages)],
            kernel_sizes=shape.kernel_sizes,
            strides=shape.strides,
            blocks={"n_blocks_per_stage" if kind.residual else "n_conv_per_stage": encoder},
            decoder=list(kind.blocks_decoder[: shape.stages - 1]),
        ),
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def describe(
    kind: Planner,
    network: PlannedNetwork,
    data_identifier: str,
    median_shape: Sequence[float],
    spacing: np.ndarray,
    schemes: list[str],
    masks: list[bool],
) -> dict[str, Any]:
    """A configuration as it stands in plans.json (without batch_dice)."""

    def resampling(is_seg: bool, order: int) -> dict[str, Any]:
        if kind.resampling == "no_resampling_hack":
            return {}
        if kind.resampling == "resample_torch_fornnunet":
            options = {"is_seg": is_seg, "force_separate_z": None if kind.separate_z else False}
            options["memefficient_seg_resampling"] = False
            return {**options, "separate_z_anisotropy_threshold": ANISOTROPY} if kind.separate_z else options
        return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}

    return {
        "data_identifier": data_identifier,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": network.batch_size,
        "patch_size": list(network.patch_size),
        "median_image_size_in_voxels": [n.item() if hasattr(n, "item") else n for n in median_shape],
        "spacing": [float(s) for s in spacing],
        "normalization_schemes": list(schemes),
        "use_mask_for_norm": list(masks),
        "resampling_fn_data": kind.resampling,
        "resampling_fn_seg": kind.resampling,
        "resampling_fn_data_kwargs": resampling(False, 3),
        "resampling_fn_seg_kwargs": resampling(True, 1),
        "resampling_fn_probabilities": kind.resampling,
        "resampling_fn_probabilities_kwargs": resampling(False, 1),
        "architecture": network.architecture,
    }
