"""Weights from another training: what is loaded, what is adapted, what begins anew, and a report of it.

`load` is the way in; `policies` (contract.work_order.PretrainedPolicies) says what becomes of what does not fit as it is.
"""

from .loading import load
from .report import LoadReport
from .tensors import HEADS

__all__ = ["HEADS", "LoadReport", "load"]
