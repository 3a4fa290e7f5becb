"""dataset_fingerprint.json: what planning knows about a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .extraction import extract as extract


def __getattr__(name: str) -> Any:
    if name == "extract":
        from importlib import import_module

        return import_module(".extraction", __name__).extract
    raise AttributeError(name)
