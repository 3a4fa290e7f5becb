"""The trainers of Primus, as `v2`. The plans' memory estimate is their U-Net's; plans by PrimusPlanner are Primus's own."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.catalogue.networks import PRIMUS_SIZES

from .rows import Preset, rate

_ABOUT = "3D only, patch a multiple of 8; PrimusPlanner plans for it"
_FIRST = "nnUNet_Primus_S_Trainer"

_TRAINING: dict[str, Any] = {
    "optimizer": {"name": "AdamW", "learningRate": 3e-4, "weightDecay": 5e-2, "beta1": 0.9, "beta2": 0.98},
    "warmUpEpochs": 50,
    "gradientClip": 1.0,
    "deepSupervision": False,
}


def _network(name: str, size: str) -> dict[str, Any]:
    width, depth, heads = PRIMUS_SIZES[size]
    return {"network": {"network": name, "archKwargs": {"embed_dim": width, "eva_depth": depth, "eva_numheads": heads}}}


PRIMUS: dict[str, Preset] = {
    _FIRST: ("nnUNetTrainer", _TRAINING | _network("Primus", "S"), f"a transformer, size S ({_ABOUT})"),
    **{
        f"nnUNet_Primus_{size}_Trainer": (_FIRST, _network("Primus", size), f"a transformer, size {size} ({_ABOUT})")
        for size in ("B", "M", "L")
    },
    "nnUNet_Primus_M_Trainer_BS8": ("nnUNet_Primus_M_Trainer", {"batchSize": 8}, "Primus M, batch 8"),
    "nnUNet_Primus_M_Trainer_BS8_2e4": (
        "nnUNet_Primus_M_Trainer",
        {"batchSize": 8} | rate(2e-4),
        "Primus M, batch 8, learning rate 2e-4",
    ),
    **{
        f"nnUNet_PrimusV2{size}_Trainer": (
            _FIRST,
            _network("PrimusV2", size),
            f"Primus whose tokens come from residual blocks, size {size} ({_ABOUT})",
        )
        for size in PRIMUS_SIZES
    },
    **{
        f"nnUNet_PrimusV3{size}_Trainer": (
            _FIRST,
            _network("PrimusV3", size),
            f"Primus whose tokens come from residual blocks at every resolution, size {size} ({_ABOUT})",
        )
        for size in PRIMUS_SIZES
    },
    "nnUNet_Trainer_BS8": ("nnUNetTrainer", {"batchSize": 8}, "batch 8"),
}
