"""Small datasets whose images are read together with other files: every way in which a header or a name leads to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tifffile

from ..datasets import blobs, describe

SHAPE, SPACING = (8, 16, 16), (4.0, 1.5, 1.0)
Write = Callable[[Path, np.ndarray], None]


def itk_image(array: np.ndarray) -> sitk.Image:
    """(z, y, x), or (channels, z, y, x) with the channels as a fourth axis."""
    volumes = [sitk.GetImageFromArray(volume) for volume in (array if array.ndim == 4 else array[None])]
    for volume in volumes:
        volume.SetSpacing(SPACING[::-1])
        volume.SetOrigin((3.0, -4.0, 5.0))
    return sitk.JoinSeries(volumes) if array.ndim == 4 else volumes[0]


def tiff(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, array)
    stem = path.name.removesuffix(".tif").removesuffix("_0000")
    path.with_name(f"{stem}.json").write_text(json.dumps({"spacing": SPACING}))


def beside(path: Path, array: np.ndarray) -> None:
    """Header and voxels as ITK writes them: .mhd and .raw, .nhdr and .raw, .hdr and .img."""
    sitk.WriteImage(itk_image(array), str(path))


def packed(path: Path, array: np.ndarray) -> None:
    """.mhd and .zraw, .nhdr and .raw.gz."""
    sitk.WriteImage(itk_image(array), str(path), True)


def elsewhere(path: Path, array: np.ndarray) -> None:
    """Headers that name a file in another folder of the dataset."""
    sitk.WriteImage(itk_image(array), str(path))
    raw, place = path.with_suffix(".raw"), path.parent.parent / "voxels" / f"{path.parent.name} of {path.stem}.raw"
    place.parent.mkdir(exist_ok=True)
    raw.rename(place)
    path.write_text(path.read_text().replace(raw.name, f"../voxels/{place.name}"))


def slices(path: Path, array: np.ndarray) -> None:
    """A .mhd that lists one file a slice."""
    sitk.WriteImage(itk_image(array), str(path))
    raw = path.with_suffix(".raw")
    content = raw.read_bytes()
    raw.unlink()
    size, names = len(content) // len(array), []
    for index in range(len(array)):
        names.append(f"{path.stem}.{index:03}.raw")
        path.with_name(names[-1]).write_bytes(content[index * size : (index + 1) * size])
    path.write_text(path.read_text().replace(f"ElementDataFile = {raw.name}", "ElementDataFile = LIST\n" + "\n".join(names)))


def numbered(path: Path, array: np.ndarray) -> None:
    """The same by a pattern."""
    slices(path, array)
    text = path.read_text()
    start = text.index("ElementDataFile")
    path.write_text(f"{text[:start]}ElementDataFile = {path.stem}.%03d.raw 0 {len(array) - 1} 1\n")


KINDS: dict[str, tuple[str, str, Write]] = {
    "tiff": ("Tiff3DIO", ".tif", tiff),
    "mhd": ("SimpleITKIO", ".mhd", beside),
    "mhd, packed": ("SimpleITKIO", ".mhd", packed),
    "mhd, elsewhere": ("SimpleITKIO", ".mhd", elsewhere),
    "mhd, slices": ("SimpleITKIO", ".mhd", slices),
    "mhd, numbered": ("SimpleITKIO", ".mhd", numbered),
    "nhdr": ("SimpleITKIO", ".nhdr", beside),
    "nhdr, elsewhere": ("SimpleITKIO", ".nhdr", elsewhere),
    "hdr": ("SimpleITKIO", ".hdr", beside),
    "img": ("NibabelIO", ".img", beside),
}
"""The reader, the file ending, and how a file is written with what belongs to it."""


def make(folder: Path, kind: str, *, cases: int = 2, channels: int = 1, listed: bool = False) -> Path:
    """A dataset of a kind.

    Args:
        channels: in one file; more than one for ITK's formats alone.
        listed: dataset.json names the files, which lie in other folders.
    """
    reader, ending, write = KINDS[kind]
    rng = np.random.default_rng(7)
    images, labels = ("scans", "masks") if listed else ("imagesTr", "labelsTr")
    for part in (images, labels):
        (folder / part).mkdir(parents=True)
    named = {}
    for index in range(cases):
        label = blobs(rng, SHAPE, 1)
        image = rng.normal(100, 20, SHAPE) + 60.0 * label
        several = np.stack([image * (channel + 1) for channel in range(channels)]) if channels > 1 else image
        write(folder / images / f"c{index}_0000{ending}", several.astype(np.float32))
        write(folder / labels / f"c{index}{ending}", label)
        named[f"c{index}"] = {"images": [f"{images}/c{index}_0000{ending}"], "label": f"{labels}/c{index}{ending}"}
    describe(folder, ("MRI",) * channels, {"background": 0, "x": 1}, cases, ending, None)
    content = json.loads((folder / "dataset.json").read_text())
    content["overwrite_image_reader_writer"] = reader
    if listed:
        content["dataset"] = named
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder
