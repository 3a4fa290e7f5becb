"""What transforms do to tensors, in torch: no number is drawn here, and a GPU is never waited for."""

from . import filters, local
from .intensity import apply

__all__ = ["apply", "filters", "local"]
