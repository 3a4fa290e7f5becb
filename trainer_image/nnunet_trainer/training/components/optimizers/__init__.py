"""Optimizers by name. Their defaults are nnU-Net's; all built-in ones are registered when this is imported."""

from ..registries import OPTIMIZERS
from . import adam, adan, ranger, sgd

__all__ = ["OPTIMIZERS", "adam", "adan", "ranger", "sgd"]
