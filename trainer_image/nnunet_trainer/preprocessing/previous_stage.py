"""The previous stage's segmentations of preprocessed cases, as the second stage of a cascade reads them: `case.b2nd`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadData

from . import integrity
from .blosc2_arrays import UNREADABLE, by, cannot_write, open_array, write_array

ENDINGS = (".b2nd", ".npy", ".npz")
"""Today's, and those that nnU-Net writes beside its older data."""


def has_previous_stage(folder: Path, case: str) -> bool:
    """Whether a folder holds the previous stage's segmentation of a case, whole: the one that `PreprocessedFolder` would read."""
    found = previous_stage_file(folder, case)
    return found is not None and integrity.is_whole(found)


def previous_stage_file(folder: Path, case: str) -> Path | None:
    """The previous stage's segmentation of a case, whole or not."""
    return next((path for ending in ENDINGS if (path := folder / f"{case}{ending}").exists()), None)


def open_previous_stage(folder: Path, case: str, shape: tuple[int, ...]) -> Any:
    """The previous stage's segmentation of a case, of which nothing is read yet.

    Raises:
        BadData: it is missing, damaged, or of another shape than the preprocessed case.
    """
    path = previous_stage_file(folder, case)
    if path is None:
        hint = "Run the previous stage's final validation first: it predicts what this stage needs."
        raise BadData("MissingPreviousStage", f"{folder} has no segmentation of case {case!r}.", hint=hint)
    try:
        found = _open(path)
    except UNREADABLE as error:
        raise damaged_previous_stage(path, str(error)) from error
    if tuple(found.shape) != shape:
        message = f"{path} has shape {by(found.shape)}, the preprocessed case {by(shape)}: it was predicted for other data."
        raise BadData("PreviousStageMismatch", message, hint=_predict_again(path))
    return found


def write_previous_stage(folder: Path, case: str, segmentation: np.ndarray, patch_size: Sequence[int]) -> None:
    """Write a segmentation (z, y, x), at the next stage's shape, as `case.b2nd` for the cascade; beside, then named."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if segmentation.max(initial=0) < 255 else np.uint16
    beside = folder / f".partial-{os.getpid()}-{case}.b2nd"
    try:
        write_array(beside, segmentation.astype(kind), patch_size)
        os.replace(beside, folder / f"{case}.b2nd")
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise cannot_write(folder, case, error) from error


def damaged_previous_stage(path: Path, why: str) -> BadData:
    """What to say of a segmentation that cannot be read."""
    why = integrity.fault(path) or f"it cannot be read: {why.rstrip('.')}"
    return BadData(
        "MissingPreviousStage", f"{path}, the previous stage's segmentation, is damaged: {why}.", hint=_predict_again(path)
    )


def _predict_again(path: Path) -> str:
    """What makes a previous stage's segmentation anew: a final validation leaves alone what is whole."""
    again = "train the previous stage again with --continue: its final validation predicts what is missing"
    return f"{again[0].upper()}{again[1:]}." if integrity.fault(path) else f"Remove {path}, then {again}."


def can_be_unpacked(path: Path) -> bool:
    """Whether all of its voxels can be read."""
    try:
        _open(path)[:]
    except UNREADABLE:
        return False
    return True


def _open(path: Path) -> Any:
    found = open_array(path) if path.suffix == ".b2nd" else np.load(path, mmap_mode="r")
    return found["seg"] if path.suffix == ".npz" else found
