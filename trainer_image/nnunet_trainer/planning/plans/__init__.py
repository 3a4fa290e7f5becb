"""plans.json, and all that stands in it: read in every format that nnU-Net wrote, checked, compared, patched."""

from .plans import PREPROCESSING_FIELDS, Configuration, Plans

__all__ = ["PREPROCESSING_FIELDS", "Configuration", "Plans"]
