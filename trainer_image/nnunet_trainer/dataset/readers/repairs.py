"""Images that are to be predicted, as nobody verified them: what is no number becomes one, and it is said.

NIfTI's own library, which ITK reads with, does the same, in silence: voxels that are NaN or infinite become 0, a pixdim of 0
becomes 1. Here that holds in every format, and the file is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .base import Reader
from .nifti_header import floating_values, header_of, is_nifti
from .sitk import SimpleITKIO

AXES = "xyz"
AT_ONCE = 1 << 18
"""Values of a file that are looked at in one go."""


def read_repaired(reader: Reader, files: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """A case's channels as `Reader.read_images` gives them, of finite numbers, with a spacing of positive ones.

    Args:
        reader: of the files.
        files: of the case, in channel order.

    Returns:
        float32 (channels, z, y, x), its properties, and a line for each thing that was repaired in a file.

    Raises:
        BadData: a file that cannot be read, or files that differ in shape or spacing.
    """
    data, properties = reader.read_images(files)
    notes = []
    for file, count in zip(files, _nonfinite_by_file(reader, files, data), strict=True):
        if count:
            verb = "voxel is" if count == 1 else "voxels are"
            notes.append(f"{file}: {count} {verb} NaN or infinite; taken as 0.")
        notes += [f"{file}: the pixdim along {axis} is {value:g}; taken as 1 mm." for axis, value in odd_pixdims(file)]
    zero_nonfinite(data)
    spacing = [float(size) for size in properties["spacing"]]
    positive = [size if math.isfinite(size) and size > 0 else 1.0 for size in spacing]
    if positive != spacing:
        properties = {**properties, "spacing": positive}
        if not any("pixdim" in note for note in notes):
            notes.append(f"{files[0]}: the spacing (z, y, x) is {_by(spacing)}; taken as {_by(positive)} mm.")
    return data, properties, notes


def zero_nonfinite(data: np.ndarray) -> int:
    """Set what is NaN or infinite to 0, in place; returns how many voxels that were."""
    if data.dtype.kind != "f" or _is_finite(data):
        return 0
    bad = ~np.isfinite(data)
    count = int(bad.sum())
    data[bad] = 0
    return count


def _is_finite(data: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return bool(np.isfinite(data.sum(dtype=np.float64)))


def _nonfinite_by_file(reader: Reader, files: Sequence[Path], data: np.ndarray) -> list[int]:
    """How many voxels of each file are NaN or infinite; those of NIfTI that ITK reads are counted in the file."""
    if isinstance(reader, SimpleITKIO) and all(is_nifti(file) for file in files):
        hidden = [_nonfinite_in_nifti(file) for file in files]
    else:
        hidden = [0] * len(files)
    if _is_finite(data):
        return hidden
    each = [int((~np.isfinite(channel)).sum()) for channel in data]
    if len(files) == 1:
        return [hidden[0] + sum(each)]
    channels = [1] * len(files) if len(files) == len(data) else [len(reader.read(file).data) for file in files]
    ends = np.cumsum(channels)
    return [known + sum(each[end - count : end]) for known, end, count in zip(hidden, ends, channels, strict=True)]


def _nonfinite_in_nifti(path: Path) -> int:
    return sum(int((~np.isfinite(values)).sum()) for values in floating_values(path, AT_ONCE))


def odd_pixdims(path: Path) -> Iterator[tuple[str, float]]:
    """Spatial axes whose pixdim is 0 or no number, which both of NIfTI's libraries read as 1."""
    header = header_of(path)
    if header is not None:
        sizes = zip(AXES, header.pixdim, strict=True)
        yield from ((axis, size) for axis, size in list(sizes)[: len(header.sizes)] if size == 0 or not math.isfinite(size))


def _by(sizes: Sequence[float]) -> str:
    return "×".join(f"{size:g}" for size in sizes)
