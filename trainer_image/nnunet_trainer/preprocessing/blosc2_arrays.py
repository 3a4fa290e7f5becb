"""Arrays in Blosc2 files: how they are cut into chunks and blocks, how they are packed, and how they fail."""

from __future__ import annotations

import errno
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import StorageFault

BLOCK_BYTES = 128 * 1024
CHUNK_BYTES = 6 * 1024**2
CHUNK_TO_PATCH = 1.5

UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What Blosc2 and numpy raise for damaged files."""


def open_array(path: Path) -> Any:
    """Open an array; what is sliced of it is unpacked then, by one thread."""
    import blosc2

    return blosc2.open(urlpath=str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})


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


def cannot_write(folder: Path, what: str, error: Exception) -> StorageFault:
    """What to say when a file could not be written."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space, or enlarge the volume. What is finished is kept."
        return StorageFault("NoSpace", f"{folder}: {what} cannot be written: no space is left.", hint=hint)
    return StorageFault("CannotWrite", f"{folder}: {what} cannot be written: {error}.")


def by(shape: Sequence[int]) -> str:
    """`40×56×40`, for messages."""
    return "×".join(map(str, shape))
