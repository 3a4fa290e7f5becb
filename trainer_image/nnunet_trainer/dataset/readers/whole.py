"""Whether a file holds all the voxels that its header promises, in the formats where ITK reads what there is and says nothing."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from .detached import LONGEST_HEADER, data_files
from .gzipped import check_nifti
from .nifti_header import LENGTH, MAGIC, NiftiHeader

GIPL_HEADER = 256
VTK_BYTES = {"char": 1, "short": 2, "int": 4, "long": 8, "long_long": 8, "vtktypeint64": 8, "float": 4, "double": 8}
"""Bytes a value of VTK's legacy format; its unsigned types are as long."""
VTK_COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9}
GIPL_BYTES = {7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}
"""Bytes a voxel of GIPL's pixel types."""


def check_whole(path: Path) -> None:
    """Raise ValueError for a NIfTI, GIPL or VTK file that is truncated; other formats say so themselves."""
    name = path.name.lower()
    if name.endswith(".nii.gz"):
        check_nifti(path)
    elif name.endswith(".nii"):
        _check(path, path)
    elif name.endswith(".hdr"):
        _check(path, data_files(path)[0])
    elif name.endswith(".img"):
        _check(data_files(path)[0], path)
    elif name.endswith(".gipl"):
        _check_gipl(path)
    elif name.endswith(".vtk"):
        _check_vtk(path)


def _check(header: Path, voxels: Path) -> None:
    with header.open("rb") as file:
        found = NiftiHeader.parse(file.read(LENGTH))
    with voxels.open("rb") as file:
        packed = file.read(2) == MAGIC
    size = voxels.stat().st_size
    if found and not packed and size < found.promised:
        raise ValueError(f"truncated: {voxels.name} has {size} bytes, the header promises {found.promised}")


def _check_gipl(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(GIPL_HEADER)
    if len(header) < GIPL_HEADER:
        raise ValueError(f"truncated: {len(header)} bytes, a header has {GIPL_HEADER}")
    *dims, kind = struct.unpack_from(">5H", header)
    expected = GIPL_HEADER + math.prod(max(1, size) for size in dims) * GIPL_BYTES.get(kind, 0)
    size = path.stat().st_size
    if size < expected:
        raise ValueError(f"truncated: {size} bytes, its header promises {expected}")


def _check_vtk(path: Path) -> None:
    """An image of one attribute (https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html)."""
    sizes: list[int] = []
    binary, components, width = False, 1, 0
    with path.open("rb") as file:
        while (line := file.readline(LONGEST_HEADER)) and file.tell() < LONGEST_HEADER:
            key, *words = line.decode("latin-1").split() or [""]
            if key in ("BINARY", "ASCII"):
                binary = key == "BINARY"
            elif key == "DIMENSIONS":
                sizes = [int(word) for word in words]
            elif key in ("SCALARS", *VTK_COMPONENTS) and len(words) > 1:
                width = VTK_BYTES.get(words[1].lower().removeprefix("unsigned_"), 0)
                components = VTK_COMPONENTS.get(key) or int((*words[2:], 1)[0])
            if key == "LOOKUP_TABLE" or key in VTK_COMPONENTS:
                break
        values = math.prod(sizes) * components
        found = path.stat().st_size - file.tell() if binary else len(file.read().split())
    expected, unit = (values * width, "bytes") if binary else (values, "values")
    if width and found < expected:
        raise ValueError(f"truncated: {found} {unit} of voxels, its header promises {expected}")
