"""nnU-Net's own folders, found by its environment variables: `-d 4 -c 3d_fullres -p nnUNetPlans` in the place of paths."""

from .choice import add_option, chosen
from .folders import PREPROCESSED, RAW, RESULTS, DatasetFolders

__all__ = ["PREPROCESSED", "RAW", "RESULTS", "DatasetFolders", "add_option", "chosen"]
