"""Whether what is packed inside a MetaImage or an NRRD is undamaged: ITK does not compare the checksums."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from .detached import LONGEST_HEADER, TEXT_HEADERS, data_files

CHUNK = 1 << 20
ANY = 32 + zlib.MAX_WBITS
"""Streams of zlib and of gzip."""


def check_packed(path: Path) -> None:
    """Raise ValueError for packed voxels that cannot be unpacked, or to other bytes than were packed.

    Args:
        path: an image of any format; those that pack nothing, and NIfTI, which has a check of its own, pass.

    Raises:
        ValueError: damaged.
        OSError: a file cannot be read.
    """
    kind = TEXT_HEADERS.get(path.suffix.lower())
    if kind is None:
        return
    with path.open("rb") as file:
        if not (_metaimage_is_packed(file) if kind == "MetaImage" else _nrrd_is_packed(file)):
            return
        others = data_files(path)
        if not others:
            _unpack(file, path)
    for other in others:
        with other.open("rb") as voxels:
            _unpack(voxels, other)


def _metaimage_is_packed(file: BinaryIO) -> bool:
    """Reads the header, as far as its last line."""
    packed = False
    while file.tell() < LONGEST_HEADER and (line := file.readline(LONGEST_HEADER)):
        key, _, value = (part.strip() for part in line.partition(b"="))
        if key == b"CompressedData":
            packed = value[:1] in b"TtYy1" and bool(value)
        if key == b"ElementDataFile":
            return packed
    return False


def _nrrd_is_packed(file: BinaryIO) -> bool:
    """Reads the header, as far as the empty line; one that skips parts of its data is left to the library."""
    fields: dict[bytes, bytes] = {}
    while file.tell() < LONGEST_HEADER and (line := file.readline(LONGEST_HEADER)).strip():
        key, _, value = line.partition(b":")
        fields[key.strip().lower().replace(b" ", b"")] = value.strip().lower()
    return fields.get(b"encoding") in (b"gzip", b"gz") and not {b"lineskip", b"byteskip"} & fields.keys()


def _unpack(file: BinaryIO, path: Path) -> None:
    unpacker = zlib.decompressobj(ANY)
    try:
        while not unpacker.eof and (chunk := file.read(CHUNK)):
            while chunk and not unpacker.eof:
                unpacker.decompress(chunk, CHUNK)
                chunk = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"damaged: what is packed in {path.name} cannot be unpacked, or has another checksum") from error
    if not unpacker.eof:
        raise ValueError(f"truncated: what is packed in {path.name} ends too early")
