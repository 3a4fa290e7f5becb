"""3-D TIFF stacks, with the spacing in a JSON file beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Image, Reader, integer_type


class Tiff3DIO(Reader):
    """3-D TIFF by tifffile. `case.json` beside `case_0000.tif` holds {"spacing": [z, y, x]}; without it the spacing is 1, 1, 1."""

    name = "Tiff3DIO"
    file_endings: ClassVar[tuple[str, ...]] = (".tif", ".tiff")

    def load(self, path: Path, *, label: bool = False) -> Image:
        import tifffile

        data = tifffile.imread(path)
        if data.ndim != 3:
            raise ValueError(f"{data.ndim} dimensions, expected 3")
        stem = path.name[: -len(path.suffix)]
        if not label:
            stem = re.sub(r"_\d{4}$", "", stem)
        return Image(data[None], _spacing(path.with_name(stem + ".json")))

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import tifffile

        tifffile.imwrite(path, data=integer_type(segmentation), compression="zlib")
        spacing = [float(s) for s in properties["spacing"]]
        path.with_suffix(".json").write_text(json.dumps({"spacing": spacing}), encoding="utf-8")


def _spacing(beside: Path) -> tuple[float, ...]:
    if not beside.is_file():
        return (1, 1, 1)
    spacing = json.loads(beside.read_text(encoding="utf-8")).get("spacing")
    if not isinstance(spacing, list) or len(spacing) != 3 or not all(isinstance(s, (int, float)) and s > 0 for s in spacing):
        raise ValueError(f"{beside.name} holds the spacing {spacing}, expected three positive numbers")
    return tuple(spacing)
