"""The planners by name: what nnU-Net v2's and v1's are made of, and how one derives another."""

from . import v1, v2
from .planner import Planner
from .registry import PLANNERS, derive, known, planner

__all__ = ["PLANNERS", "Planner", "derive", "known", "planner", "v1", "v2"]
