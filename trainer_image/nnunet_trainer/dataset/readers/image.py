"""What a reader gives: the voxels of a file, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(slots=True)
class Image:
    """One image file.

    Attributes:
        data: (channels, z, y, x) in the file's own type; 2-D images have one slice.
        spacing: millimetres along z, y, x; a 2-D image has a large value for z, so that it is never resampled there.
        geometry: what the file says about its place in space, by nnU-Net's names (`sitk_stuff`, `nibabel_stuff`); of a file with
            several channels that of its spatial axes.
    """

    data: np.ndarray
    spacing: tuple[float, ...]
    geometry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's header tells of an image: its channels, the shape (z, y, x) and spacing of one."""

    channels: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that a reader takes beside the image that it reads.

    Attributes:
        path: as the image's name or header gives it, below the image's folder unless the header says otherwise.
        required: the image cannot be read without it; otherwise it is used where it exists.
        holds: what is in it, for messages ("voxels", "spacing").
    """

    path: Path
    required: bool
    holds: str
