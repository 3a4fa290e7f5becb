"""Preprocessing as a series of named steps: what steps there are, and how those of plans are carried out on a case."""

from . import bias_field, intensities, structure
from .registry import PREPROCESSING_STEPS, CaseState
from .running import bytes_per_voxel, carry_out

__all__ = ["PREPROCESSING_STEPS", "CaseState", "bias_field", "bytes_per_voxel", "carry_out", "intensities", "structure"]
