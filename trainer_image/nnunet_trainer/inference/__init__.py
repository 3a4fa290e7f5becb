"""Prediction of whole images, and the final validation."""

from .export import segmentation_from_logits, write_segmentation
from .sliding_window import SlidingWindow, predict_logits
from .validation import validate

__all__ = ["SlidingWindow", "predict_logits", "segmentation_from_logits", "validate", "write_segmentation"]
