"""From a fingerprint to plans: pure functions of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .planners.experiment import plan as plan
    from .plans import Configuration as Configuration
    from .plans import Plans as Plans

_PLACES = {"plan": "planners.experiment", "Plans": "plans", "Configuration": "plans"}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `preprocessing` needs plans but no planner.
    if name in _PLACES:
        import importlib

        return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    raise AttributeError(name)
