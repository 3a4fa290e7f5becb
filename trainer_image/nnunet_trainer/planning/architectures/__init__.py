"""What planners and trainings know of a network without building it: its arguments for a topology, its memory, its outputs."""

from . import mednext, primus, unet
from .architecture import ARCHITECTURES, Architecture, Reference, class_name, estimate_of, of_network, output_strides

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Reference",
    "class_name",
    "estimate_of",
    "mednext",
    "of_network",
    "output_strides",
    "primus",
    "unet",
]
