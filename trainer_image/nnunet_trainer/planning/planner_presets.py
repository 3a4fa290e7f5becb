"""The planners' numbers. Each was tuned by nnU-Net's authors on a GPU of `reference_gb`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from nnunet_trainer.contract.catalogue.planners import Planners
from nnunet_trainer.contract.catalogue.shapes import Shape
from nnunet_trainer.contract.codec import camel


@dataclass(frozen=True, kw_only=True, slots=True)
class Planner:
    """Everything that can be changed about planning; a field is a parameter of the same name (camelCase in a manifest)."""

    name: str = "ExperimentPlanner"
    plans_name: str = "nnUNetPlans"
    residual: bool = False
    """Residual encoder (ResidualEncoderUNet) instead of plain convolutions."""
    reference_3d: float = 560_000_000
    """Feature map size, by `gpu_memory.conv_feature_map_size`, that fills the reference GPU at the reference batch; 3-D."""
    reference_2d: float = 85_000_000
    reference_gb: float = 8
    reference_batch_3d: int = 2
    reference_batch_2d: int = 12
    base_features: int = 32
    max_features_3d: int = 320
    max_features_2d: int = 512
    blocks_encoder: tuple[int, ...] = (2,) * 14
    """Convolutions (or residual blocks) of each encoder stage."""
    blocks_decoder: tuple[int, ...] = (2,) * 13
    min_edge_length: int = 4
    """Shortest edge of the smallest feature map."""
    max_pooling: int = 999_999
    """Most poolings of an axis."""
    min_batch_size: int = 2
    max_dataset_covered: float = 0.05
    """Most of the dataset's voxels that one batch may cover."""
    lowres_creation_threshold: float = 0.25
    """Below this share of the median image in a patch, 3d_lowres is planned."""
    lowres_spacing_step: float = 1.03
    anisotropy_threshold: float = 3
    target_spacing_percentile: float = 50
    anisotropic_spacing_percentile: float = 10
    """Of the worst axis, when it is anisotropic in spacing and in voxels."""
    suppress_transpose: bool = False
    resampling: str = "resample_data_or_seg_to_shape"
    """Name of the function for images, segmentations and probabilities."""
    separate_z: bool = True
    """Whether an axis of low resolution may be resampled on its own; only with `resample_torch_fornnunet`."""
    shares_data: bool = False
    """Whether 2d and 3d_fullres bear nnUNetPlans' data identifiers."""


_RESIDUAL = Planner(
    name="ResEncUNetPlanner",
    plans_name="nnUNetResEncUNetPlans",
    residual=True,
    reference_3d=680_000_000,
    reference_2d=135_000_000,
    blocks_encoder=(1, 3, 4, *(6,) * 10),
    blocks_decoder=(1,) * 12,
    shares_data=True,
)


def _residual(name: str, plans_name: str, gb: float, three: float, two: float, **changes: Any) -> Planner:
    return dataclasses.replace(
        _RESIDUAL,
        name=name,
        plans_name=plans_name,
        reference_gb=gb,
        reference_3d=three,
        reference_2d=two,
        max_dataset_covered=1,
        **changes,
    )


PLANNERS: dict[str, Planner] = {
    planner.name: planner
    for planner in (
        Planner(),
        _RESIDUAL,
        _residual("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", 8, 680_000_000, 135_000_000),
        _residual("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans", 24, 2_100_000_000, 380_000_000),
        _residual("nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans", 40, 3_600_000_000, 560_000_000),
        _residual(
            "nnUNetPlannerResEncL_noResampling",
            "nnUNetResEncUNetLPlans_noResampling",
            24,
            2_100_000_000,
            380_000_000,
            resampling="no_resampling_hack",
            shares_data=False,
        ),
        Planner(
            name="nnUNetPlanner_torchres",
            plans_name="nnUNetPlans_torchres",
            resampling="resample_torch_fornnunet",
            separate_z=False,
        ),
        *(
            _residual(
                f"nnUNetPlannerResEncL_{suffix}",
                f"nnUNetResEncUNetLPlans_{suffix}",
                24,
                2_100_000_000,
                380_000_000,
                resampling="resample_torch_fornnunet",
                separate_z=separate,
                shares_data=False,
            )
            for suffix, separate in (("torchres", False), ("torchres_sepz", True))
        ),
    )
}

FIXED = ("name", "plans_name")

_SHAPES: dict[str, Shape] = {
    "bool": {"type": "boolean"},
    "str": {"type": "text"},
    "int": {"type": "integer", "low": 1},
    "float": {"type": "number", "low": 0, "lowOpen": True},
    "tuple[int, ...]": {"type": "list", "items": {"type": "integer", "low": 1}, "atLeast": 1},
}
"""By a field's annotation."""

_LIMITS: dict[str, Shape] = {"target_spacing_percentile": {"high": 100}, "anisotropic_spacing_percentile": {"high": 100}}


def planner(name: str, parameters: dict[str, Any] | None = None) -> Planner:
    """A planner by nnU-Net's class name, with some of its numbers changed.

    Raises:
        BadConfiguration: no such planner, or parameter, or a value of another kind.
    """
    checked = known().check(name, parameters)
    fields = {camel(f.name): f.name for f in dataclasses.fields(Planner)}
    changes = {fields[key]: tuple(value) if isinstance(value, list) else value for key, value in checked.items()}
    return dataclasses.replace(PLANNERS[name], **changes)


def known() -> Planners:
    """All planners and their parameters, with the defaults of each."""
    fields = [f for f in dataclasses.fields(Planner) if f.name not in FIXED]
    return Planners(
        parameters={
            name: {camel(f.name): {**_shape(f), "default": _plain(getattr(base, f.name))} for f in fields}
            for name, base in PLANNERS.items()
        }
    )


def _shape(field: dataclasses.Field[Any]) -> Shape:
    return {**_SHAPES[str(field.type)], **_LIMITS.get(field.name, {})}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
