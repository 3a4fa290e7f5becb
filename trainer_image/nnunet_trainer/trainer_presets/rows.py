"""Helpers for the tables of trainers: one row says the trainer it is based on, what it changes, and what it is for."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.catalogue.trainers import DEFAULT, Preset

__all__ = ["DEFAULT", "TOP10", "V1_DEFAULT", "Preset", "aliases", "epochs", "loss", "optimizer", "rate", "v1"]

V1_DEFAULT = "nnUNetTrainerV2"

TOP10 = {"percent": 10.0}


def epochs(base: str, *numbers: int) -> dict[str, Preset]:
    return {f"{base}_{n}epoch{'s' if n > 1 else ''}": (base, {"epochs": n}, f"{n} epochs instead of 1000") for n in numbers}


def aliases(base: str, *names: str) -> dict[str, Preset]:
    return {name: (base, {}, f"the same as {base}, for a folder of its own") for name in names}


def loss(name: str, **parameters: Any) -> dict[str, Any]:
    return {"loss": {"name": name, **parameters}}


def optimizer(name: str, **parameters: Any) -> dict[str, Any]:
    return {"optimizer": {"name": name, **parameters}}


def rate(learning_rate: float) -> dict[str, Any]:
    return {"optimizer": {"learningRate": learning_rate}}


def v1(suffix: str, changes: dict[str, Any], about: str, base: str = "") -> dict[str, Preset]:
    return {f"{V1_DEFAULT}_{suffix}": (f"{V1_DEFAULT}_{base}" if base else V1_DEFAULT, changes, f"v1: {about}")}
