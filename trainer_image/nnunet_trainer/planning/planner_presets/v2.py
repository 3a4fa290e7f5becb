"""nnU-Net v2's planners."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnunet_trainer.extensions import Choice

from .planner import Planner, changed
from .registry import add

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


PRESETS: dict[str, Planner] = {
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
            resampling=Choice(name="no_resampling_hack"),
            shares_data=False,
        ),
        Planner(
            name="nnUNetPlanner_torchres",
            plans_name="nnUNetPlans_torchres",
            resampling=Choice(name="resample_torch_fornnunet"),
            separate_z=False,
        ),
        *(
            _residual(
                f"nnUNetPlannerResEncL_{suffix}",
                f"nnUNetResEncUNetLPlans_{suffix}",
                24,
                2_100_000_000,
                380_000_000,
                resampling=Choice(name="resample_torch_fornnunet"),
                separate_z=separate,
                shares_data=False,
            )
            for suffix, separate in (("torchres", False), ("torchres_sepz", True))
        ),
    )
}

OTHERS = {
    "MedNeXtPlanner": (
        changed(
            Planner(),
            name="MedNeXtPlanner",
            plans_name="nnUNetPlans_MedNeXt",
            architecture="MedNeXt",
            max_features_3d=512,
            max_pooling=4,
        ),
        "MedNeXt of size S with kernel 3 (parameters.architecture: {name: MedNeXt, size: L, kernel: 5}), for 8 GB",
    ),
    "PrimusPlanner": (
        changed(
            Planner(),
            name="PrimusPlanner",
            plans_name="nnUNetPlans_Primus",
            architecture="Primus",
            pooling="EveryAxis",
        ),
        "Primus of size M in 3D (parameters.architecture: {name: Primus, size: S}), for 8 GB",
    ),
}
"""Of networks that nnU-Net's own planners do not plan for."""

for _planner in PRESETS.values():
    _plain = "plain convolutions" if not _planner.residual else "residual encoder"
    add(_planner, f"nnU-Net v2: {_plain}, for {_planner.reference_gb:g} GB; plans {_planner.plans_name}.")
for _planner, _about in OTHERS.values():
    add(_planner, f"{_about}; plans {_planner.plans_name}.")
