"""Segmentation losses by name. All built-in ones are registered when this is imported."""

from ..registries import LOSSES
from . import compound, cross_entropy, dice, matthews

__all__ = ["LOSSES", "compound", "cross_entropy", "dice", "matthews"]
