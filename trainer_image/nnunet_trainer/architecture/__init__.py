"""Networks, built from the `architecture` of a plans configuration.

Module names and state_dict keys are nnU-Net's own, the duplicate ones too, so that weights go both ways.
"""

from .registry import NETWORKS, begin, build, differing_weights

__all__ = ["NETWORKS", "begin", "build", "differing_weights"]
