"""From images to what training reads: transposed, cropped, normalized, resampled, with the places of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset import preprocess_dataset as preprocess_dataset


def __getattr__(name: str) -> Any:
    if name == "preprocess_dataset":
        from .dataset import preprocess_dataset

        return preprocess_dataset
    raise AttributeError(name)
