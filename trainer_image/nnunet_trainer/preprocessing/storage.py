"""Preprocessed cases on disk: `case.b2nd` (float32), `case_seg.b2nd` (int16), both (c, z, y, x) in Blosc2 blocks, and `case.pkl`.

A case is whole when its .pkl is there: all parts are written beside, then named, the .pkl last.
"""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadData, StorageFault

BLOCK_BYTES = 128 * 1024
CHUNK_BYTES = 6 * 1024**2
CHUNK_TO_PATCH = 1.5
SUFFIXES = (".b2nd", "_seg.b2nd", ".pkl")
PREVIOUS_STAGE = (".b2nd", ".npy", ".npz")
"""Endings of the previous stage's segmentations: today's, and those that nnU-Net writes beside its older data."""
HINT = "Preprocess again."
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
        """Sorted names of all whole cases."""
        names = {path.name for path in self.folder.iterdir()}
        found = (name[: -len(".pkl")] for name in names if name.endswith(".pkl"))
        return sorted(c for c in found if {f"{c}.b2nd", f"{c}_seg.b2nd"} <= names or f"{c}.npz" in names)

    def open(self, case: str) -> StoredCase:
        """Open one case.

        Raises:
            BadData: it is not there, or not whole.
        """
        properties = self.properties(case)
        try:
            if (self.folder / f"{case}.b2nd").exists():
                data, seg = _open(self.folder / f"{case}.b2nd"), _open(self.folder / f"{case}_seg.b2nd")
            else:
                data, seg = self._array(case, "data", ""), self._array(case, "seg", "_seg")
            return StoredCase(data, seg, properties, self._previous(case, tuple(data.shape[1:])))
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise BadData("InvalidPreprocessedData", f"{self.folder}: case {case} cannot be read: {error}.", hint=HINT) from error

    def properties(self, case: str) -> dict[str, Any]:
        """A case's .pkl."""
        path = self.folder / f"{case}.pkl"
        try:
            return read_properties(path)
        except FileNotFoundError as error:
            raise BadData("InvalidPreprocessedData", f"{self.folder} has no case {case!r}.", hint=HINT) from error

    def _previous(self, case: str, shape: tuple[int, ...]) -> Any:
        folder = self.previous_stage
        if folder is None:
            return None
        path = next((path for ending in PREVIOUS_STAGE if (path := folder / f"{case}{ending}").exists()), None)
        if path is None:
            hint = "Run the previous stage's final validation first: it predicts what this stage needs."
            raise BadData("MissingPreviousStage", f"{folder} has no segmentation of case {case!r}.", hint=hint)
        found = _open(path) if path.suffix == ".b2nd" else np.load(path, mmap_mode="r")
        found = found["seg"] if path.suffix == ".npz" else found
        if tuple(found.shape) != shape:
            message = f"{path} has shape {_by(found.shape)}, the preprocessed case {_by(shape)}: it was predicted for other data."
            raise BadData("PreviousStageMismatch", message, hint="Run the previous stage's final validation again.")
        return found

    def _array(self, case: str, key: str, suffix: str) -> Any:
        unpacked = self.folder / f"{case}{suffix}.npy"
        return np.load(unpacked, mmap_mode="r") if unpacked.exists() else np.load(self.folder / f"{case}.npz")[key]


def has_previous_stage(folder: Path, case: str) -> bool:
    """Whether a folder holds the previous stage's segmentation of a case."""
    return any((folder / f"{case}{ending}").is_file() for ending in PREVIOUS_STAGE)


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
    with path.open("rb") as file:
        try:
            return dict(_Unpickler(file).load())
        except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError, IndexError) as error:
            raise BadData("InvalidPreprocessedData", f"{path} cannot be read: {error}.", hint=HINT) from error


def is_whole(folder: Path, case: str) -> bool:
    """Whether a case is finished."""
    return all((folder / (case + suffix)).exists() for suffix in SUFFIXES)


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
        raise _cannot_write(folder, f"case {case}", error) from error


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
        raise _cannot_write(folder, case, error) from error


def write_array(path: Path, array: np.ndarray, patch_size: Sequence[int]) -> None:
    """Write one array as Blosc2, packed by ZSTD at its first level.

    That is a fifth of the time and four fifths of the size of nnU-Net's LZ4HC at level 5. Reading a patch takes twice as long
    (about 500 MB a second on one core), which training does not wait for.
    """
    import blosc2

    blosc2.set_nthreads(1)
    blocks, chunks = block_shapes((1, *array.shape[-3:]), patch_size, array.itemsize)
    array = np.ascontiguousarray(array)
    packing = {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [_filter(array)], "nthreads": 1}
    shape = {"chunks": chunks[-array.ndim :], "blocks": blocks[-array.ndim :]}
    try:
        blosc2.asarray(array, urlpath=str(path), mode="w", cparams=packing, **shape)
    except RuntimeError as error:  # Blosc2 does not say why
        if shutil.disk_usage(path.parent).free < min(array.nbytes, 2 * CHUNK_BYTES):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _filter(array: np.ndarray) -> Any:
    """NOFILTER or SHUFFLE, whichever packs one block from the middle better: interpolated values want it, quantized ones do not."""
    import blosc2

    if array.dtype.kind != "f":
        return blosc2.Filter.SHUFFLE
    flat = array.reshape(-1)
    middle = flat[max(0, len(flat) // 2 - 8192) :][:16384].tobytes()
    options = {"codec": blosc2.Codec.ZSTD, "clevel": 1, "typesize": array.itemsize, "nthreads": 1}
    return min((blosc2.Filter.NOFILTER, blosc2.Filter.SHUFFLE), key=lambda f: len(blosc2.compress2(middle, filters=[f], **options)))


def block_shapes(shape: Sequence[int], patch_size: Sequence[int], itemsize: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blosc2's blocks (≤ 128 KiB, about a patch's shape) and chunks (≤ 6 MiB, ≤ 1.5 patches along an axis), one channel each.

    Args:
        shape: (c, z, y, x).
        patch_size: voxels along (z,) y, x.
        itemsize: bytes a voxel.
    """
    image = [int(n) for n in shape[1:]]
    patch = [1, *patch_size] if len(patch_size) == 2 else list(patch_size)
    limit = [max(1, min(n, math.floor(CHUNK_TO_PATCH * p))) for n, p in zip(image, patch, strict=True)]
    block = [min(1 << max(0, int(p) - 1).bit_length(), n) for p, n in zip(patch, image, strict=True)]
    while math.prod(block) * itemsize > BLOCK_BYTES:
        axis = max((a for a in range(3) if block[a] > 1), key=lambda a: (block[a] / limit[a], a))
        block[axis] = 1 << ((block[axis] - 1).bit_length() - 1)
    chunk = list(block)
    while True:
        grown = []
        for axis in range(3):
            size = min(chunk[axis] + block[axis], limit[axis])
            larger = [*chunk[:axis], size, *chunk[axis + 1 :]]
            if patch[axis] > 1 and size > chunk[axis] and math.prod(larger) * itemsize <= CHUNK_BYTES:
                grown.append((chunk[axis] / limit[axis], -image[axis], axis, larger))
        if not grown:
            return (1, *block), (1, *chunk)
        chunk = min(grown)[3]


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _open(path: Path) -> Any:
    import blosc2

    return blosc2.open(urlpath=str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})


def _cannot_write(folder: Path, what: str, error: Exception) -> StorageFault:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space, or enlarge the volume. What is finished is kept."
        return StorageFault("NoSpace", f"{folder}: {what} cannot be written: no space is left.", hint=hint)
    return StorageFault("CannotWrite", f"{folder}: {what} cannot be written: {error}.")
