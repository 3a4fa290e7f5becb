"""The memory of a case, from headers alone, against what a process really takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.dataset.memory import PROCESS, reading_estimate
from nnunet_trainer.dataset.raw import Case, RawDataset
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.memory import memory_estimate
from support.datasets import describe, make_2d, write_nifti

SCRIPT = """
import json, sys
from pathlib import Path
from nnunet_trainer.dataset.raw import Case, RawDataset
from nnunet_trainer.preprocessing.dataset import preprocess_and_store
raw, plans, out = RawDataset.open(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
preprocess_and_store("a", raw.cases["a"], plans, "3d_fullres", raw.dataset_json, out)
# Not ru_maxrss: a child starts with its parent's.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024)
"""
N4 = {"name": "N4BiasFieldCorrection", "shrinkFactor": 16, "iterations": [1]}
INTENSITIES = {"max": 1.0, "mean": 0.0, "median": 0.0, "min": -1.0, "percentile_00_5": -1.0, "percentile_99_5": 1.0, "std": 1.0}


@pytest.mark.parametrize(
    ("channels", "target", "steps"),
    [
        (1, (1.0, 1.0, 1.0), []),
        (1, (0.7, 0.8, 0.8), []),
        (3, (2.0, 1.6, 1.6), []),
        (1, (1.0, 1.0, 1.0), ["Crop", N4, "ClipPercentiles", "Normalize", "Resample", "ClipPercentiles"]),
    ],
    ids=["same", "finer", "coarser", "steps"],
)
def test_the_estimate_is_enough_and_not_far_off(tmp_path: Path, channels: int, target: tuple[float, ...], steps: list[Any]) -> None:
    folder, shape = tmp_path / "Dataset001_M", (90, 160, 150)
    rng = np.random.default_rng(0)
    for channel in range(channels):
        write_nifti(folder / "imagesTr" / f"a_{channel:04}.nii.gz", rng.integers(1, 9, shape).astype(np.int16), (1, 1, 1))
    write_nifti(folder / "labelsTr" / "a.nii.gz", (rng.random(shape) > 0.5).astype(np.uint8), (1, 1, 1))
    describe(folder, ("MRI",) * channels, {"background": 0, "x": 1}, 1, ".nii.gz", None)
    fingerprint = {
        "foreground_intensity_properties_per_channel": {str(c): INTENSITIES for c in range(channels)},
        "median_relative_size_after_cropping": 1.0,
        "shapes_after_crop": [list(shape)],
        "spacings": [[1.0, 1.0, 1.0]],
    }
    raw = RawDataset.open(folder)
    plans = plan(
        fingerprint,
        raw.dataset_json,
        dataset_name=raw.name,
        reader=raw.reader,
        target_spacing=target,
        parameters={"preprocessingSteps": steps} if steps else None,
    )
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    (tmp_path / "out").mkdir()
    call = [sys.executable, "-c", SCRIPT, str(folder), str(tmp_path / "plans.json"), str(tmp_path / "out")]
    measured = int(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    estimate = memory_estimate(raw.cases["a"], Plans(plans).configuration("3d_fullres"))
    assert measured < estimate < 2.5 * measured


def test_from_headers_of_every_file(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a_0000.nii.gz", np.zeros((30, 40, 50), np.int16), (1, 1, 1))
    assert reading_estimate(Case([tmp_path / "a_0000.nii.gz"], None)) == PROCESS + 60000 * (12 + 8)
    several = sitk.JoinSeries([sitk.GetImageFromArray(np.zeros((30, 40, 50), np.int16)) for _ in range(3)])
    sitk.WriteImage(several, str(tmp_path / "a_0001.nii.gz"))
    both = Case([tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"], None)
    assert reading_estimate(both, "SimpleITKIO") == PROCESS + 60000 * (12 + 8 * 4)


def test_of_photographs(tmp_path: Path) -> None:
    case = RawDataset.open(make_2d(tmp_path / "Dataset001_P")).cases["img_0"]
    assert reading_estimate(case) == PROCESS + 48 * 40 * (12 + 8 * 3)


def test_without_a_header(tmp_path: Path) -> None:
    case = RawDataset.open(make_2d(tmp_path / "Dataset001_P")).cases["img_0"]
    case.images[0].write_bytes(b"no image" * 100)
    assert case.label is not None
    stored = case.images[0].stat().st_size + case.label.stat().st_size
    assert reading_estimate(case) == PROCESS + 40 * stored


def test_what_lies_beside_counts(tmp_path: Path) -> None:
    (tmp_path / "a_0000.mhd").write_text("NDims = 3\nElementDataFile = a.raw\n")  # too little for a header
    (tmp_path / "a.raw").write_bytes(bytes(100_000))
    size = (tmp_path / "a_0000.mhd").stat().st_size + 100_000
    assert reading_estimate(Case([tmp_path / "a_0000.mhd"], None), "SimpleITKIO") == PROCESS + 40 * size
