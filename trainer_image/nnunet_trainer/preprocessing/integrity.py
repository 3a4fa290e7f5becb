"""Whether a file of preprocessed data is whole, without unpacking it: a few hundred bytes of each are looked at.

A file that was cut off, is empty or ends in zeros (a full disk, a lost connection, a power cut) is found out. One whose packed
voxels were changed in place is not.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nnunet_trainer.dataset.storage_errors import raise_storage_error

FRAME_MAGIC = b"b2frame\0"
FRAME_HEADER, FRAME_TRAILER = 24, 23
"""Bytes of a Blosc2 frame that hold its length, and its end: the trailer's length, then a fingerprint (C-Blosc2's frame format)."""
UNPACKED_BYTES = {b"B": 4, b"\x8e": 8, b"\x96": 8, b"X": 4, b"\x8d": 8}
"""Pickle's opcodes for large objects, which stand between its frames (PEP 3154), each with the bytes of its length."""


def fault(path: Path) -> str | None:
    """What is wrong with a .b2nd, .pkl, .npy or .npz; None for one that is whole, or of another kind.

    Raises:
        StorageFault: the file's storage does not answer.
    """
    check = {".b2nd": _frame, ".pkl": _pickle, ".npy": _npy, ".npz": _npz}.get(path.suffix)
    if check is None:
        return None
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return "it is empty" if size == 0 else check(file, size)
    except FileNotFoundError:
        return "it is not there"
    except (OSError, ValueError, EOFError) as error:
        raise_storage_error(error, path)
        return f"it cannot be read: {error}"


def is_whole(path: Path) -> bool:
    """Whether a file is there and whole."""
    return fault(path) is None


def is_json(path: Path) -> bool:
    """Whether a JSON file is there and whole."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _frame(file: BinaryIO, size: int) -> str | None:
    head = file.read(FRAME_HEADER)
    if len(head) < FRAME_HEADER or head[2:10] != FRAME_MAGIC:
        return "it is no Blosc2 frame"
    promised = int.from_bytes(head[16:24], "big")
    if promised != size:
        return f"it has {size} bytes, its header promises {promised}"
    file.seek(size - FRAME_TRAILER)
    tail = file.read(FRAME_TRAILER)
    if tail[0] != 0xCE or tail[5] != 0xD8 or not FRAME_TRAILER < int.from_bytes(tail[1:5], "big") < size:
        return "its end is damaged"
    return None


def _pickle(file: BinaryIO, size: int) -> str | None:
    head = file.read(2)
    file.seek(size - 1)
    if file.read(1) != pickle.STOP:
        return "it is cut off"
    if head[0:1] == pickle.PROTO and head[1] >= 4 and not _frames_end_at(file, size):
        return "it is cut off or damaged"
    return None


def _frames_end_at(file: BinaryIO, size: int) -> bool:
    """Whether a pickle's frames, and the large objects between them, end just where the file does."""
    place = 2
    while place < size:
        file.seek(place)
        head = file.read(9)
        if head[:1] == b"\x95" and len(head) == 9:
            place += 9 + int.from_bytes(head[1:9], "little")
        elif (width := UNPACKED_BYTES.get(head[:1])) and len(head) > width:
            place += 1 + width + int.from_bytes(head[1 : 1 + width], "little")
        else:
            return size - place < 4  # so few bytes are not framed
    return place == size


def _npy(file: BinaryIO, size: int) -> str | None:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    promised = file.tell() + math.prod(shape) * dtype.itemsize
    return None if size == promised else f"it has {size} bytes, its header promises {promised}"


def _npz(file: BinaryIO, size: int) -> str | None:
    try:
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
    except zipfile.BadZipFile:
        return "it is cut off or no archive"
    return None if members else "it holds nothing"
