"""Headers whose voxels lie in other files: which files those are.

MetaImage (https://itk.org/Wiki/ITK/MetaIO/Documentation), NRRD (https://teem.sourceforge.net/nrrd/format.html) and the pairs of
NIfTI-1 and Analyze. What a header says counts, not the file's ending: an .mha may name another file as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nnunet_trainer.contract.faults import BadData

from ..storage_errors import raise_storage_error
from .image import Companion

LONGEST_HEADER = 1 << 20
MOST_FILES = 100_000
PAIRS = {".hdr": (".img", ".img.gz"), ".img": (".hdr",)}
TEXT_HEADERS = {".mhd": "MetaImage", ".mha": "MetaImage", ".nhdr": "NRRD", ".nrrd": "NRRD"}
PACKED_PAIRS = {".hdr.gz": (".img.gz", ".img"), ".img.gz": (".hdr.gz", ".hdr")}


def may_name_others(file_ending: str) -> bool:
    """Whether headers of an ending may name other files."""
    ending = file_ending.lower()
    return ending in PAIRS or ending in PACKED_PAIRS or ending in TEXT_HEADERS


def voxel_files(path: Path) -> list[Companion]:
    """The same as companions of an image.

    Raises:
        BadData: a header that cannot be understood, or read.
    """
    try:
        return [Companion(file, required=True, holds="voxels") for file in data_files(path)]
    except (OSError, ValueError) as error:
        raise_storage_error(error, path)
        raise BadData("InvalidCases", f"{path}: its header cannot be read: {error}.") from error


def data_files(path: Path) -> list[Path]:
    """The files that a header names, in their order and as it names them: relative to its folder unless they are absolute.

    Args:
        path: an image file; one that names no others gives none.

    Raises:
        ValueError: a header that cannot be understood.
        OSError: the file cannot be read.
    """
    name = path.name.lower()
    for pairs in (PACKED_PAIRS, PAIRS):
        for ending, others in pairs.items():
            if name.endswith(ending) and len(name) > len(ending):
                beside = [path.with_name(path.name[: -len(ending)] + other) for other in others]
                return [next((file for file in beside if file.exists()), beside[0])]
    named = _named(path)
    return [path.parent / name for name in named]


def _named(path: Path) -> list[str]:
    """The names in a MetaImage's or an NRRD's header."""
    kind = TEXT_HEADERS.get(path.suffix.lower())
    if kind is None:
        return []
    return _of_metaimage(_lines(path)) if kind == "MetaImage" else _of_nrrd(_lines(path))


def _lines(path: Path) -> Iterator[str]:
    """Lines of text with their ends, until what cannot be a header any more."""
    left = LONGEST_HEADER
    with path.open("rb") as file:
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            yield os.fsdecode(line)


def _of_metaimage(lines: Iterator[str]) -> list[str]:
    sizes: list[int] = []
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and key.strip() == "DimSize":
            sizes = [int(size) for size in value.split()]
        if not equals or key.strip() != "ElementDataFile":
            continue
        value = value.strip()
        words = value.split()
        if value.upper() == "LOCAL":
            return []
        if words and words[0] == "LIST":
            listed = [line for line in lines if line.strip()]
            if listed and not listed[-1].endswith("\n"):
                raise ValueError("the last line of its list of files has no line feed, so that ITK leaves that file out")
            return _parts([line.strip() for line in listed], words[1:], sizes)
        if "%" in value:  # ITK takes it for a pattern, whatever was meant
            first, last, step = (words[1:] + ["1", str(sizes[-1] if sizes else 0), "1"][len(words) - 1 :])[:3]
            if len(words) not in (1, 2, 4):
                raise ValueError(f"{value} is no pattern of file names with its first number, last number and step")
            names = _numbered(words[0], [first, last, step])
            if sizes and len(names) > sizes[-1]:  # ITK writes beyond its memory
                raise ValueError(f"{len(names)} files of voxels, its DimSize {' '.join(map(str, sizes))} has room for {sizes[-1]}")
            return _parts(names, [], sizes)
        return [value] if value else []
    return []


def _parts(names: list[str], dimensions: list[str], sizes: list[int]) -> list[str]:
    """The names, if there is one for each part of an image: ITK leaves the voxels of a file that is not named undefined.

    Args:
        names: as the header gives them.
        dimensions: of what one file holds, as `2` or `2D`; one fewer than the image's where none are given.
        sizes: of the image, x first; without them ITK reads nothing.
    """
    if not sizes:
        return names
    text = dimensions[0] if dimensions else ""
    rank = int(text.upper().removesuffix("D")) if text else len(sizes) - 1
    if not 0 < rank < len(sizes):
        raise ValueError(f"files of {text or rank} dimensions, expected 1 to {len(sizes) - 1} in an image of {len(sizes)}")
    wanted = math.prod(sizes[rank:])
    if len(names) < wanted:
        raise ValueError(f"{len(names)} files of voxels, its DimSize {' '.join(map(str, sizes))} needs {wanted}")
    return names[:wanted]


def _of_nrrd(lines: Iterator[str]) -> list[str]:
    for line in lines:
        if not line.strip():
            return []  # the voxels follow
        key, colon, value = line.partition(":")
        if line.startswith("#") or not colon or key.strip().lower() not in ("data file", "datafile"):
            continue
        value = value.strip()
        words = value.split()
        if words and words[0] == "LIST":
            return [found for line in lines if (found := line.strip())]
        if "%" in value and len(words) in (4, 5):
            return _numbered(words[0], words[1:4])
        return [value] if value else []
    return []


def _numbered(pattern: str, numbers: list[str]) -> list[str]:
    """`slice%03d.raw 1 20 1`: both ends are included."""
    first, last, step = (int(number) for number in numbers)
    count = (last - first) // step + 1 if step else 0
    if not 0 < count <= MOST_FILES:
        raise ValueError(f"{pattern} {' '.join(numbers)} names no files")
    name: Callable[[int], str] = lambda number: pattern % number  # noqa: E731
    try:
        return [name(first + step * i) for i in range(count)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{pattern} is no pattern of file names") from error
