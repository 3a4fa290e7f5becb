"""The planners' numbers. Each was tuned by nnU-Net's authors on a GPU of `reference_gb`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Planner:
    """Everything that can be changed about planning; a field is a parameter of the same name (camelCase in a manifest)."""

    name: str = "ExperimentPlanner"
    plans_name: str = "nnUNetPlans"
    residual: bool = False
    """Residual encoder (ResidualEncoderUNet) instead of plain convolutions."""
    reference_3d: float = 560_000_000
    """Feature map size, by `memory.conv_feature_map_size`, that fills the reference GPU at the reference batch; 3-D."""
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
    )
}

FIXED = ("name", "plans_name")


def planner(name: str, parameters: dict[str, Any] | None = None) -> Planner:
    """A planner by nnU-Net's class name, with some of its numbers changed.

    Raises:
        BadConfiguration: no such planner, or parameter, or a value of another kind.
    """
    if name not in PLANNERS:
        raise BadConfiguration("UnknownPlanner", unknown_name("planner", name, PLANNERS))
    base = PLANNERS[name]
    fields = {f.name for f in dataclasses.fields(Planner)} - set(FIXED)
    changes: dict[str, Any] = {}
    for given, value in (parameters or {}).items():
        key = re.sub(r"(?<!^)(?<![A-Z_])([A-Z])", r"_\1", given).lower()
        key = re.sub(r"_?([23])_?d$", r"_\1d", key)
        if key not in fields:
            raise BadConfiguration("UnknownParameter", f"planner.parameters: {unknown_name('parameter', given, fields)}")
        changes[key] = _like(getattr(base, key), value, given)
    return dataclasses.replace(base, **changes)


def _like(default: Any, value: Any, name: str) -> Any:
    expected = {bool: "true or false", str: "a text", tuple: "a list of positive integers"}.get(type(default), "a positive number")
    if isinstance(default, (bool, str)):
        fits = isinstance(value, type(default))
    elif isinstance(default, tuple):
        fits = isinstance(value, (list, tuple)) and bool(value) and all(_positive(v) and isinstance(v, int) for v in value)
        value = tuple(value) if fits else value
    else:
        fits = _positive(value) and (
            isinstance(value, int) or isinstance(default, float) or name.lower().startswith(("ref", "max"))
        )
    if not fits:
        raise BadConfiguration("InvalidParameter", f"planner.parameters.{name} is {value!r}, expected {expected}.")
    return value


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
