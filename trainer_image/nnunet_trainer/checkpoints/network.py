"""Which network a checkpoint's weights are of, and the nnU-Net class whose name a checkpoint of ours bears."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from nnunet_trainer.contract import catalogue
from nnunet_trainer.contract.catalogue.networks import PRIMUS_SIZES
from nnunet_trainer.contract.catalogue.trainers import DEFAULT, Trainers
from nnunet_trainer.extensions import schema
from nnunet_trainer.planning.architectures import class_name
from nnunet_trainer.planning.architectures.primus import ARGUMENTS as PRIMUS_ARGUMENTS
from nnunet_trainer.planning.network_changes import NetworkChanges, changed
from nnunet_trainer.trainer_presets.v2 import V2

from .checkpoint import EXTRA

SAMPLED = 64
_PRIMUS_TRAINERS = {
    "Primus": "nnUNet_Primus_{}_Trainer",
    "PrimusV2": "nnUNet_PrimusV2{}_Trainer",
    "PrimusV3": "nnUNet_PrimusV3{}_Trainer",
}


def of_checkpoint(content: dict[str, Any], architecture: dict[str, Any], patch_size: Sequence[int]) -> dict[str, Any]:
    """The architecture that a checkpoint's weights are of.

    nnU-Net's own trainers change the network without saying so in the plans: nnUNetTrainerBN, those of Primus. Ours say so.

    Args:
        content: the checkpoint.
        architecture: of the plans in it or beside it.
        patch_size: of the same configuration.
    """
    name = content.get("trainer_name")
    if EXTRA in content or name not in V2:
        return architecture
    return changed(architecture, _changes_by(name), patch_size)


def nnunet_trainer(architecture: dict[str, Any]) -> str:
    """The nnU-Net class that builds this network: its predictor refuses names it does not know.

    A Primus of a size that was not published has none; nnU-Net's default class then says that it cannot build it.
    """
    pattern, kwargs = _PRIMUS_TRAINERS.get(class_name(architecture)), architecture["arch_kwargs"]
    if pattern is None:
        return DEFAULT
    given = {key: value for key, value in kwargs.items() if key != "input_shape"}
    for size, (width, depth, heads) in PRIMUS_SIZES.items():
        if given == {"embed_dim": width, "eva_depth": depth, "eva_numheads": heads, **PRIMUS_ARGUMENTS}:
            return pattern.format(size)
    return DEFAULT


def _changes_by(trainer: str) -> NetworkChanges:
    """What one of nnU-Net's trainers changes in the network. Its components play no part, so the packaged catalogue is enough."""
    known = catalogue.packaged()
    recipe = Trainers(presets=V2, shape=known.content["recipe"], find=known.parameters).recipe(trainer)
    found = schema.build(NetworkChanges, recipe["network"], _no_component)
    assert isinstance(found, NetworkChanges)
    return found


def _no_component(kind: str, name: str) -> Any:
    raise LookupError(f"the {kind} {name} in a recipe's network")


def weights_digest(networks: Iterable[torch.nn.Module]) -> str:
    """Tells weights from others: sha256 over the first values of each tensor of each network."""
    sha256 = hashlib.sha256()
    for network in networks:
        for name, value in network.state_dict().items():
            sha256.update(name.encode())
            sha256.update(value.flatten()[:SAMPLED].cpu().numpy().tobytes())
    return sha256.hexdigest()
