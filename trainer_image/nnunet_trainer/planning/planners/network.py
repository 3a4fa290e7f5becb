"""The network's convolutions, and a configuration as it stands in plans.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from nnunet_trainer.extensions import Range, Registry

from ..plans import resampling_functions
from ..plans.names import ANISOTROPY
from ..plans.normalization_schemes import Scheme
from .facts import Candidate, ConfigurationFacts

CONVOLUTIONS_PER_STAGE: Registry[Callable[..., tuple[Sequence[int], Sequence[int]]]] = Registry("planner step")
"""Functions `(configuration, stages, **parameters) -> (of each encoder stage, of each decoder stage)`."""


@CONVOLUTIONS_PER_STAGE.register("Listed")
def listed(configuration: ConfigurationFacts, stages: int) -> tuple[Sequence[int], Sequence[int]]:
    """The first of blocksEncoder and blocksDecoder: nnU-Net's."""
    kind = configuration.planner
    return _filled(kind.blocks_encoder, stages), _filled(kind.blocks_decoder, stages - 1)


@CONVOLUTIONS_PER_STAGE.register("Same")
def same(
    configuration: ConfigurationFacts,
    stages: int,
    *,
    encoder: Annotated[int, Range(1, 64)] = 2,
    decoder: Annotated[int, Range(1, 64)] = 2,
) -> tuple[Sequence[int], Sequence[int]]:
    """So many at every stage."""
    return [encoder] * stages, [decoder] * (stages - 1)


def _filled(counts: Sequence[int], stages: int) -> list[int]:
    """A list that is too short goes on with its last number."""
    return [*counts, *(counts[-1],) * max(0, stages - len(counts))][:stages]


def describe(
    configuration: ConfigurationFacts,
    found: Candidate,
    batch: int,
    data_identifier: str,
    schemes: list[Scheme],
    masks: list[bool],
    preprocessor: Mapping[str, Any],
) -> dict[str, Any]:
    """A configuration as it stands in plans.json (without batch_dice); `preprocessor` is `preprocessing_steps.fields`."""
    kind = configuration.planner

    def resampling(is_seg: bool, order: int, order_z: int) -> dict[str, Any]:
        separate, options = None if kind.separate_z else False, {"is_seg": is_seg}
        match kind.resampling.name:
            case "resample_torch_fornnunet":
                options |= {"force_separate_z": separate, "memefficient_seg_resampling": False}
                options |= {"separate_z_anisotropy_threshold": ANISOTROPY} if kind.separate_z else {}
            case "resample_data_or_seg_to_shape":
                options |= {"order": order, "order_z": order_z, "force_separate_z": separate}
            case "no_resampling_hack":
                options = {}
        return {**options, **resampling_functions.arguments(kind.resampling)}

    return {
        "data_identifier": data_identifier,
        **preprocessor,
        "batch_size": batch,
        "patch_size": list(found.patch_size),
        "median_image_size_in_voxels": [n.item() if hasattr(n, "item") else n for n in configuration.median_shape],
        "spacing": [float(s) for s in configuration.spacing],
        "normalization_schemes": list(schemes),
        "use_mask_for_norm": list(masks),
        "resampling_fn_data": kind.resampling.name,
        "resampling_fn_seg": kind.resampling.name,
        "resampling_fn_data_kwargs": resampling(False, kind.order_data, kind.order_z_data),
        "resampling_fn_seg_kwargs": resampling(True, kind.order_seg, kind.order_z_seg),
        "resampling_fn_probabilities": kind.resampling.name,
        "resampling_fn_probabilities_kwargs": resampling(False, kind.order_probabilities, kind.order_z_probabilities),
        "architecture": found.architecture,
    }
