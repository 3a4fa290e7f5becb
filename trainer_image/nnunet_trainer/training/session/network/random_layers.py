"""Whether a network draws random numbers while it trains: only then must each step begin with a seed of its own."""

from __future__ import annotations

from torch import nn

from nnunet_trainer.architecture.transformer import Block

KNOWN = ("torch.nn.", "nnunet_trainer.")
"""Modules whose layers are looked at one by one; those of plug-ins may do anything."""


def draws_random_numbers(network: nn.Module) -> bool:
    """Whether any of its layers does, or may: dropout, stochastic depth, and whatever a plug-in brought."""
    return any(_draws(layer) for layer in network.modules())


def _draws(layer: nn.Module) -> bool:
    if not type(layer).__module__.startswith(KNOWN):
        return True
    match layer:
        case nn.modules.dropout._DropoutNd():
            return layer.p > 0
        case nn.MultiheadAttention() | nn.RNNBase():
            return layer.dropout > 0
        case nn.RReLU() | nn.FractionalMaxPool2d() | nn.FractionalMaxPool3d():
            return True
        case Block():
            return layer.drop > 0
    return False
