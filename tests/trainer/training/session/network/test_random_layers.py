"""Which networks need a seed for each step."""

import pytest
from nnunet_trainer.architecture.transformer import Block
from nnunet_trainer.training.session.network.random_layers import draws_random_numbers
from torch import nn


class OfAPlugIn(nn.Module):
    """May draw anything."""


OfAPlugIn.__module__ = "their_layers"
BLOCK = {"width": 12, "heads": 2, "hidden": 8, "scale": None, "normalized_heads": False}


@pytest.mark.parametrize(
    ("layer", "draws"),
    [
        (nn.Conv3d(1, 1, 3), False),
        (nn.InstanceNorm3d(2), False),
        (nn.Dropout3d(0.0), False),
        (nn.Dropout3d(0.2), True),
        (nn.Dropout2d(0.2), True),
        (nn.RReLU(), True),
        (nn.MultiheadAttention(4, 2), False),
        (nn.MultiheadAttention(4, 2, dropout=0.1), True),
        (Block(**BLOCK, drop=0.0), False),
        (Block(**BLOCK, drop=0.1), True),
        (OfAPlugIn(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_that_draw(layer, draws):
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ModuleList([layer]))
    assert draws_random_numbers(network) == draws
