"""Where the images of a case must agree, as reading, preprocessing and verifying have it: one rule each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .image import Image


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two images: the one's and the other's, as text."""

    what: str
    first: str
    other: str

    def said(self, first_file: object) -> str:
        """`shape 8×14×11, but imagesTr/case_00_0000.nii.gz has 8×14×12`."""
        return f"{self.what} {self.other}, but {first_file} has {self.first}"


def same_spacing(first: Sequence[float], other: Sequence[float]) -> bool:
    """Whether spacings are equal as nnU-Net sees it, both when it reads channels and when it verifies (numpy's tolerances)."""
    return len(first) == len(other) and bool(np.allclose(first, other))


def grid_differences(first: Image, other: Image) -> list[Difference]:
    """Shape (z, y, x) and spacing, which all images and the label of a case must share."""
    found = []
    a, b = first.data.shape[1:], other.data.shape[1:]
    if a != b:
        found.append(Difference("shape", *_texts(a, b)))
    if not same_spacing(first.spacing, other.spacing):
        found.append(Difference("spacing", *_texts(first.spacing, other.spacing)))
    return found


def placement_differences(first: Image, other: Image) -> list[Difference]:
    """Origin, direction or affine, of which nnU-Net only warns."""
    found = []
    for group, fields in (("sitk_stuff", ("origin", "direction")), ("nibabel_stuff", ("original_affine",))):
        for field in fields:
            x, y = first.geometry.get(group, {}).get(field), other.geometry.get(group, {}).get(field)
            if x is not None and y is not None and (np.shape(x) != np.shape(y) or not np.allclose(x, y, atol=1e-3)):
                found.append(Difference(field, _numbers(x), _numbers(y)))
    return found


def by(numbers: Sequence[float]) -> str:
    """`2×1×1`"""
    return "×".join(f"{n:g}" for n in numbers)


def _texts(first: Sequence[float], other: Sequence[float]) -> tuple[str, str]:
    """Both, with as many digits as tell them apart."""
    if by(first) != by(other):
        return by(first), by(other)
    return "×".join(map(str, first)), "×".join(map(str, other))


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{n:g}" for n in np.ravel(values)) + ")"
