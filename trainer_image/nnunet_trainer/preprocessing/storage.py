"""Preprocessed cases on disk: `case.b2nd` (float32), `case_seg.b2nd` (int16), both (c, z, y, x) in Blosc2 blocks, and `case.pkl`.

All parts of a case are written beside, then named, the .pkl last. A case is whole when each of its parts is (`integrity`).
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadData

from . import integrity
from .blosc2_arrays import UNREADABLE, by, cannot_write, open_array, write_array
from .previous_stage import can_be_unpacked, damaged_previous_stage, open_previous_stage, previous_stage_file

SUFFIXES = (".b2nd", "_seg.b2nd", ".pkl")
MARKER = Path(".nnunet") / "preprocessing.json"
"""In a folder that was made here: its format, and the fields of the plans that decided its data."""


@dataclass(slots=True)
class StoredCase:
    """A preprocessed case. `data` and `seg` are read where they are sliced: `case.data[:, 3:19]` decompresses those blocks only.

    Attributes:
        data: float32 (c, z, y, x).
        seg: int16 (1, z, y, x).
        properties: spacing, class_locations, what the way back needs.
        previous: the previous stage's segmentation (z, y, x) in the cascade; None elsewhere.
    """

    data: Any
    seg: Any
    properties: dict[str, Any]
    previous: Any = None


class PreprocessedFolder:
    """A folder of preprocessed cases, ours or nnU-Net's (also its older .npz and .npy).

    Args:
        folder: the cases.
        previous_stage: in the cascade, the folder of the previous stage's segmentations (`predicted_next_stage/<configuration>`).

    Raises:
        BadData: there is no such folder, or it was made by another version of another format.
    """

    def __init__(self, folder: str | os.PathLike[str], previous_stage: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder)
        self.previous_stage = None if previous_stage is None else Path(previous_stage)
        if not self.folder.is_dir():
            raise BadData("MissingPreprocessedData", f"{self.folder} does not exist.", hint="Preprocess this configuration first.")
        read_marker(self.folder)

    @property
    def cases(self) -> list[str]:
        """Sorted names of all cases that have their files."""
        names = {path.name for path in self.folder.iterdir()}
        found = (name[: -len(".pkl")] for name in names if name.endswith(".pkl"))
        return sorted(c for c in found if {f"{c}.b2nd", f"{c}_seg.b2nd"} <= names or f"{c}.npz" in names)

    def open(self, case: str) -> StoredCase:
        """Open one case.

        Raises:
            BadData: it is not there, or not whole.
        """
        properties = self.properties(case)
        with self.reading(case):
            if (self.folder / f"{case}.b2nd").exists():
                data, seg = open_array(self.folder / f"{case}.b2nd"), open_array(self.folder / f"{case}_seg.b2nd")
            else:
                data, seg = self._array(case, "data", ""), self._array(case, "seg", "_seg")
        if tuple(data.shape[1:]) != tuple(seg.shape[1:]):
            shapes = f"its image has shape {by(data.shape[1:])}, its label {by(seg.shape[1:])}"
            message = f"{self.folder}: case {case} cannot be read: {shapes}. One of the two is another case's."
            raise BadData("InvalidPreprocessedData", message, hint=remedy(self.folder, case))
        shape, folder = tuple(data.shape[1:]), self.previous_stage
        previous = None if folder is None else open_previous_stage(folder, case, shape)
        return StoredCase(data, seg, properties, previous)

    @contextmanager
    def reading(self, case: str) -> Iterator[None]:
        """Around what unpacks a case's voxels: damaged ones are found out only there.

        Raises:
            BadData: they cannot be unpacked.
        """
        try:
            yield
        except UNREADABLE as error:
            damaged = [(path, why) for path in self._files(case) if (why := integrity.fault(path))]
            previous = None if self.previous_stage is None else previous_stage_file(self.previous_stage, case)
            if not damaged and previous is not None and not can_be_unpacked(previous):
                raise damaged_previous_stage(previous, str(error)) from error
            why = f"{damaged[0][0].name}: {damaged[0][1]}" if damaged else str(error).rstrip(".")
            message = f"{self.folder}: case {case} cannot be read: {why}."
            raise BadData("InvalidPreprocessedData", message, hint=remedy(self.folder, case)) from error

    def properties(self, case: str) -> dict[str, Any]:
        """A case's .pkl."""
        path = self.folder / f"{case}.pkl"
        try:
            found = read_properties(path)
            # Voxels alone are no training case, but can be predicted.
            if not found or not isinstance(found.get("class_locations", {}), dict):
                message = f"{path} has no class_locations: it is none of a preprocessed case."
                raise BadData("InvalidPreprocessedData", message, hint=remedy(self.folder, case))
            return found
        except FileNotFoundError as error:
            hint = remedy(self.folder, case)
            raise BadData("InvalidPreprocessedData", f"{self.folder} has no case {case!r}.", hint=hint) from error

    def _files(self, case: str) -> list[Path]:
        """A case's files, in one format."""
        packed = (self.folder / f"{case}.b2nd").exists()
        suffixes = SUFFIXES if packed else (".npy", "_seg.npy") if (self.folder / f"{case}.npy").exists() else (".npz",)
        return [self.folder / f"{case}{suffix}" for suffix in suffixes]

    def _array(self, case: str, key: str, suffix: str) -> Any:
        unpacked = self.folder / f"{case}{suffix}.npy"
        return np.load(unpacked, mmap_mode="r") if unpacked.exists() else np.load(self.folder / f"{case}.npz")[key]


def read_marker(folder: Path) -> dict[str, Any] | None:
    """What a folder was made for; None where it was not made here (nnU-Net's own, or an artifact's copy).

    Raises:
        BadData: the marker cannot be read, or the folder is of another format.
    """
    hint = "Remove the folder, or choose another one (the configuration's data_identifier names it)."
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        made = found["format"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData("OtherPreprocessedData", f"{folder / MARKER} cannot be read: {error}.", hint=hint) from error
    if made != keys.PREPROCESSED_FORMAT:
        message = f"{folder} holds preprocessed data of format {made}, this version reads and writes {keys.PREPROCESSED_FORMAT}."
        raise BadData("OtherPreprocessedData", message, hint=hint)
    return dict(found)


class _Unpickler(pickle.Unpickler):
    """Reads plain Python and numpy values only: a pickle from elsewhere must not run code."""

    ALLOWED = frozenset({"dtype", "ndarray", "_reconstruct", "scalar", "_frombuffer", "OrderedDict", "encode"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("numpy", "collections", "_codecs") and name in self.ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a plain value")


def read_properties(path: Path) -> dict[str, Any]:
    """Read a case's properties, ours or nnU-Net's.

    Raises:
        BadData: damaged, or something that is no plain value.
    """
    try:
        with path.open("rb") as file:
            return dict(_Unpickler(file).load())
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, *UNREADABLE, AttributeError, ImportError, IndexError, TypeError, OverflowError) as error:
        hint = remedy(path.parent, path.stem)
        raise BadData("InvalidPreprocessedData", f"{path} cannot be read: {error}.", hint=hint) from error


def remedy(folder: Path, case: str) -> str:
    """What makes a case's files anew."""
    try:
        made_here = read_marker(folder) is not None
    except BadData:
        made_here = False
    if not made_here:
        # Preprocessing refuses to add to what it does not know.
        return f"Remove {folder}, then preprocess again."
    if folders := [path for suffix in SUFFIXES if (path := folder / (case + suffix)).is_dir()]:
        return f"Remove {folders[0]}, then preprocess again: a file is to have that name."
    if is_whole(folder, case):
        # Nothing that preprocessing looks at tells that they are damaged.
        return f"Remove {folder / case}.pkl, then preprocess again: that case is made anew, the others are kept."
    return "Preprocess again: what is not whole is made anew, all else is kept."


def is_whole(folder: Path, case: str) -> bool:
    """Whether a case is finished, and none of its files cut off."""
    return all(integrity.is_whole(folder / (case + suffix)) for suffix in SUFFIXES)


def write_case(
    folder: Path, case: str, data: np.ndarray, seg: np.ndarray, properties: dict[str, Any], patch_size: Sequence[int]
) -> int:
    """Write a case beside, then name it.

    Args:
        data: float32 (c, z, y, x).
        seg: integers (1, z, y, x), stored as int16.
        patch_size: what training will read; decides the blocks.

    Returns:
        bytes written.

    Raises:
        StorageFault: no space, no permission. Nothing half-written bears a case's name.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as beside:
            parts = [Path(beside) / (case + suffix) for suffix in SUFFIXES]
            write_array(parts[0], data.astype(np.float32, copy=False), patch_size)
            write_array(parts[1], seg.astype(np.int16, copy=False), patch_size)
            parts[2].write_bytes(pickle.dumps(properties, protocol=4))
            size = sum(part.stat().st_size for part in parts)
            for part in parts:
                os.replace(part, folder / part.name)
        return size
    except (OSError, RuntimeError) as error:
        raise cannot_write(folder, f"case {case}", error) from error
