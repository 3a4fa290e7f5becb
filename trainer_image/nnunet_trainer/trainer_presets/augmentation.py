"""Trainers that differ in how they augment, as `v2`: version 2's, and version 1's."""

from __future__ import annotations

from typing import Any

from .rows import DEFAULT, V1_DEFAULT, Preset, v1

_REGIONS = f"{V1_DEFAULT}BraTSRegions"
_BATCH_NORM: dict[str, Any] = {"network": {"normalization": "batch"}}
_DA5 = "quarter turns, median filter, blank rectangles, local brightness and gamma, sharpening"


def _with(name: str) -> dict[str, Any]:
    return {"augmentation": name}


V2_AUGMENTATION: dict[str, Preset] = {
    f"{DEFAULT}DA5": (DEFAULT, _with("DA5"), f"strong augmentation: {_DA5}"),
    f"{DEFAULT}DA5ord0": (DEFAULT, _with("DA5Order0"), "DA5, images and labels rotated by nearest voxel"),
    f"{DEFAULT}DA5Segord0": (DEFAULT, _with("DA5SegmentationOrder0"), "DA5, labels rotated by nearest voxel"),
    f"{DEFAULT}DA5_10epochs": (f"{DEFAULT}DA5", {"epochs": 10}, "DA5, 10 epochs"),
    f"{DEFAULT}_onlyMirror01_DA5": (DEFAULT, _with("DA5OnlyMirror01"), "DA5, mirrors the first two axes only"),
}

V1_AUGMENTATION: dict[str, Preset] = {
    **v1("independentScalePerAxis", _with("independentScale"), "a scale for each axis; the rest is v2's augmentation"),
    **v1("DA2", _with("DA2"), "v1's augmentation, a scale for each axis, additive brightness"),
    **v1("insaneDA", _with("insaneDA"), "v1's augmentation with wider ranges and elastic deformation (anisotropic patches too)"),
    **v1("DA3", _with("DA3"), "insaneDA with elastic deformation by scale, additive brightness, axes scaled apart at times"),
    **v1("DA3_BN", _BATCH_NORM, "DA3 with batch normalization", "DA3"),
    **v1("DA5", _with("DA5V1"), f"strong augmentation with cubic interpolation: {_DA5}"),
    **v1("ResencUNet_DA3", _with("DA3"), "a residual encoder with DA3's augmentation", "ResencUNet"),
    **v1("ResencUNet_DA3_BN", _BATCH_NORM, "a residual encoder with DA3's augmentation and batch normalization", "ResencUNet_DA3"),
    **v1("ResencUNet_SimonsInit_DA5", _with("DA5V1"), "ResencUNet_SimonsInit with DA5's augmentation", "ResencUNet_SimonsInit"),
    **v1("MMS", _with("insaneDABrightness") | _BATCH_NORM, "made for M&Ms: insaneDA with additive brightness, batch normalization"),
    # BraTS, without its data: the regions are those of dataset.json.
    f"{_REGIONS}_DA3": (_REGIONS, _with("DA3"), f"v1: {_REGIONS} with DA3's augmentation"),
    f"{_REGIONS}_DA3_BN": (f"{_REGIONS}_DA3", _BATCH_NORM, f"v1: {_REGIONS} with DA3's augmentation and batch normalization"),
    f"{_REGIONS}_DA3_BD": (f"{_REGIONS}_DA3", {"batchDice": True}, f"v1: {_REGIONS}_DA3 with Dice over the whole batch"),
    f"{_REGIONS}_DA3_BN_BD": (f"{_REGIONS}_DA3_BN", {"batchDice": True}, f"v1: {_REGIONS}_DA3_BN with Dice over the whole batch"),
    f"{_REGIONS}_DA4_BN": (f"{_REGIONS}_DA3_BN", _with("DA4"), f"v1: {_REGIONS}_DA3_BN, rotations up to ±90° about each axis"),
    f"{_REGIONS}_DA4_BN_BD": (f"{_REGIONS}_DA4_BN", {"batchDice": True}, f"v1: {_REGIONS}_DA4_BN with Dice over the whole batch"),
}
