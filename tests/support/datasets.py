"""Small raw datasets, made from fixed seeds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
TARGET = EXAMPLES / "Dataset004_Hippocampus"
SOURCE = EXAMPLES / "Dataset104_HippocampusSource"


def copy_examples(folder: Path, cases: int = 5) -> Path:
    """`examples/data` with fewer cases of each dataset: what has five folds needs five."""
    for dataset in EXAMPLES.glob("Dataset*"):
        for part in ("imagesTr", "labelsTr"):
            (folder / dataset.name / part).mkdir(parents=True)
            for file in sorted((dataset / part).iterdir())[:cases]:
                shutil.copy(file, folder / dataset.name / part)
        content = json.loads((dataset / "dataset.json").read_text())
        (folder / dataset.name / "dataset.json").write_text(json.dumps({**content, "numTraining": cases}))
    return folder


def write_nifti(path: Path, array: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...] = (0.0, 0.0, 0.0)) -> None:
    """Write (z, y, x) with a spacing along z, y, x."""
    import SimpleITK as sitk

    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path), True)


def blobs(rng: np.random.Generator, shape: tuple[int, ...], labels: int) -> np.ndarray:
    """A smooth label map: each label where a low-pass noise field of its own is highest, background elsewhere."""
    from scipy.ndimage import gaussian_filter

    fields = np.stack([gaussian_filter(rng.standard_normal(shape), 2.5) for _ in range(labels + 1)])
    fields[0] += 0.5 * fields.std()
    return fields.argmax(0).astype(np.uint8)


def make_dataset(
    folder: Path,
    *,
    cases: int = 3,
    channels: tuple[str, ...] = ("MRI",),
    shape: tuple[int, int, int] = (12, 30, 26),
    spacing: tuple[float, float, float] = (2.0, 1.0, 1.0),
    jitter: float = 0.15,
    labels: dict[str, Any] | None = None,
    regions_class_order: list[int] | None = None,
    values: int = 2,
    border: int = 0,
    seed: int = 0,
    ending: str = ".nii.gz",
) -> Path:
    """A 3-D dataset whose cases differ in shape and spacing.

    Args:
        values: label values drawn beside 0 (the ignore label is drawn like any other).
        border: voxels of zeros around the image, which cropping removes.
    """
    rng = np.random.default_rng(seed)
    for index in range(cases):
        size = tuple(int(n * (1 + jitter * rng.uniform(-1, 1))) for n in shape)
        at = tuple(round(s * (1 + jitter * rng.uniform(-1, 1)), 3) for s in spacing)
        seg = blobs(rng, size, values)
        for channel, name in enumerate(channels):
            image = rng.normal(100 * (channel + 1), 30, size) + 60.0 * seg
            image = np.clip(image, 1, 255).astype(np.uint8) if name.startswith("rgb") else image.astype(np.float32)
            if name == "CT":
                image = (image - 400).round().astype(np.int16)
            write_nifti(folder / "imagesTr" / f"case_{index:02}_{channel:04}{ending}", _framed(image, border), at)
        write_nifti(folder / "labelsTr" / f"case_{index:02}{ending}", _framed(seg, border), at)
    describe(
        folder,
        channels,
        labels or {"background": 0, **{f"l{v}": v for v in range(1, values + 1)}},
        cases,
        ending,
        regions_class_order,
    )
    return folder


def make_2d(folder: Path, *, cases: int = 4, rgb: bool = True, size: tuple[int, int] = (48, 40), seed: int = 0) -> Path:
    """Photographs: RGB or grey PNG."""
    import imageio.v3 as iio

    rng = np.random.default_rng(seed)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir(parents=True)
    for index in range(cases):
        shape = (size[0] + index, size[1] + 2 * index)
        seg = blobs(rng, shape, 1)
        image = rng.integers(1, 200, (*shape, 3) if rgb else shape) + 40 * (seg[..., None] if rgb else seg)
        iio.imwrite(folder / "imagesTr" / f"img_{index}_0000.png", image.astype(np.uint8))
        iio.imwrite(folder / "labelsTr" / f"img_{index}.png", seg)
    channels = ("rgb_to_0_1",) * 3 if rgb else ("grey",)
    describe(folder, channels, {"background": 0, "l1": 1}, cases, ".png", None)
    return folder


def describe(
    folder: Path, channels: tuple[str, ...], labels: dict[str, Any], cases: int, ending: str, regions_class_order: list[int] | None
) -> None:
    """Write dataset.json."""
    content: dict[str, Any] = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": labels,
        "numTraining": cases,
        "file_ending": ending,
    }
    if regions_class_order is not None:
        content["regions_class_order"] = regions_class_order
    (folder / "dataset.json").write_text(json.dumps(content))


def _framed(array: np.ndarray, border: int) -> np.ndarray:
    return np.pad(array, border) if border else array
