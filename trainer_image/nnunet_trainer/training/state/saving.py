"""A session as what a checkpoint holds."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.checkpoints.network import nnunet_trainer
from nnunet_trainer.extensions import provenance

from ..recipes import recipe as recipes
from ..session.session import Session


def content(session: Session) -> dict[str, Any]:
    """A session in nnU-Net's format, made of tensors and plain values only; our own state under one more key."""
    setup = session.setup
    return {
        "network_weights": session.network.state_dict(),
        "optimizer_state": session.optimizer.state_dict(),
        "grad_scaler_state": None if session.precision.scaler is None else session.precision.scaler.state_dict(),
        "logging": session.history.copied(),
        "_best_ema": session.best_ema,
        "current_epoch": session.epoch,
        "init_args": {
            "plans": session.plans.content,
            "configuration": setup.configuration,
            "fold": int(setup.fold) if setup.fold.isdecimal() else setup.fold,
            "dataset_json": setup.dataset_json,
            "device": torch.device(session.ranks.device.type),
        },
        "trainer_name": nnunet_trainer(session.configuration.architecture),
        "inference_allowed_mirroring_axes": session.mirror_axes,
        checkpoint.EXTRA: {
            "format": checkpoint.FORMAT,
            "version": checkpoint.version(),
            "trainer": setup.trainer,
            "recipe": recipes.write(setup.recipe),
            "seed": setup.seed,
            "memory_layout": session.layout.saved(),
            "iteration": session.iteration,
            "losses": list(session.losses),
            "loss_sum": math.fsum(filter(math.isfinite, session.losses)),  # read by versions before there was `losses`
            "continues": None if setup.continues is None else setup.continues.about(),
            **({"plugins": plugins} if (plugins := provenance.records(recipes.used(setup.recipe))) else {}),
            "pretrained": None if session.pretrained is None else asdict(session.pretrained),
        },
    }
