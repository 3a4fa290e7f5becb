"""Training one fold: `train(TrainingSetup) -> TrainingResult`."""

from __future__ import annotations

from typing import Any

__all__ = ["TrainingResult", "TrainingSetup", "train"]


def __getattr__(name: str) -> Any:
    # torch is imported only when someone trains, not for the modules here that need none (recipe, presets).
    if name == "train":
        from .loop.loop import train

        return train
    if name in ("TrainingResult", "TrainingSetup"):
        from .loop import setup

        return getattr(setup, name)
    raise AttributeError(name)
