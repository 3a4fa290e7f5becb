"""Prediction of an image of any size, tile by tile as nnU-Net does: tiles overlap, Gaussian weights, mirrored copies averaged."""

from .batch import automatic_batch, widest_features
from .logits import DIVERGED, about_case, predict_logits, require_numbers
from .slabs import Slab, TilesHook, finished_slabs
from .window import SlidingWindow, axis_weights, tile_starts

__all__ = [
    "DIVERGED",
    "Slab",
    "SlidingWindow",
    "TilesHook",
    "about_case",
    "automatic_batch",
    "axis_weights",
    "finished_slabs",
    "predict_logits",
    "require_numbers",
    "tile_starts",
    "widest_features",
]
