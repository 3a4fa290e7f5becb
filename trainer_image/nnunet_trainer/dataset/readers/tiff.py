"""3-D TIFF stacks, with the spacing in a JSON file beside them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nnunet_trainer.dataset.files import parse_json

from .base import Companion, Header, Image, Reader, integer_type


class Tiff3DIO(Reader):
    """3-D TIFF by tifffile. `case.json` beside `case_0000.tif` holds {"spacing": [z, y, x]}; without it the spacing is 1, 1, 1."""

    name = "Tiff3DIO"
    file_endings: ClassVar[tuple[str, ...]] = (".tif", ".tiff")

    def load(self, path: Path, *, label: bool = False) -> Image:
        import tifffile

        with tifffile.TiffFile(path) as file:
            _check_axes(file.series[0])
            data = file.asarray()
        return Image(data[None], _spacing(_beside(path, label)))

    def companions(self, path: Path, *, label: bool = False) -> list[Companion]:
        return [Companion(_beside(path, label), required=False, holds="spacing")]

    def may_have_companions(self, file_ending: str) -> bool:
        return True

    def header(self, path: Path) -> Header | None:
        import tifffile

        with tifffile.TiffFile(path) as file:
            _check_axes(file.series[0])
            return Header(1, tuple(file.series[0].shape), _spacing(_beside(path, label=False)))

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import tifffile

        tifffile.imwrite(path, data=integer_type(segmentation), compression="zlib")
        spacing = [float(s) for s in properties["spacing"]]
        path.with_suffix(".json").write_text(json.dumps({"spacing": spacing}), encoding="utf-8")


def refuse_several_files(series: Any) -> None:
    """OME-TIFF may spread an image over files that no one names beside it; what is missing would be read as zeros.

    Raises:
        ValueError: it does.
    """
    if series.is_multifile:
        raise ValueError("an OME-TIFF whose image lies in several files, expected one file")


def _check_axes(series: Any) -> None:
    refuse_several_files(series)
    if len(series.shape) != 3:
        raise ValueError(f"{len(series.shape)} dimensions ({'×'.join(map(str, series.shape))}), expected 3")
    if series.axes == "YXS":
        raise ValueError(f"a colour photograph of {'×'.join(map(str, series.shape))}, expected slices (z×y×x)")


def _beside(path: Path, label: bool) -> Path:
    """Where the spacing is looked for. Images of the channels of a case share one file."""
    stem = path.name[: -len(path.suffix)]
    return path.with_name((stem if label else re.sub(r"_\d{4}$", "", stem)) + ".json")


def _spacing(beside: Path) -> tuple[float, ...]:
    if not beside.is_file():
        return (1, 1, 1)
    content = parse_json(beside.read_bytes(), str(beside), "InvalidCases")
    spacing = content.get("spacing") if isinstance(content, dict) else None
    if not isinstance(spacing, list) or len(spacing) != 3 or not all(_is_positive(s) for s in spacing):
        raise ValueError(f"{beside.name} holds the spacing {spacing}, expected three positive numbers")
    return tuple(spacing)


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
