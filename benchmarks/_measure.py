"""What a command costs: CPU seconds and peak memory, of it and of all its processes; and datasets to measure on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "examples" / "data" / "Dataset004_Hippocampus"
OURS = [sys.executable, "-m", "nnunet_trainer.cli"]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds (user and system, of all processes), peak memory of the largest process in MiB, wall seconds."""

    cpu: float
    memory: float
    wall: float


def cost(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end, as `/usr/bin/time -v` does; it must succeed."""
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output.decode(errors='replace')[-3000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.monotonic() - start)


def wheel(command: str) -> list[str]:
    """One of the reference's own commands."""
    return [str(Path(sys.executable).parent / command)]


def wheel_environment(folder: Path) -> dict[str, str]:
    """Its folders below `folder`."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {name: str(folder / name) for name in names}


def repeated(raw: Path, folder: Path, times: int) -> Path:
    """A dataset with each case of `raw` several times, by links; `raw`'s name."""
    target = folder / raw.name
    described = json.loads((raw / "dataset.json").read_text())
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True)
        for path in sorted((raw / part).iterdir()):
            for copy in range(times):
                (target / part / f"copy{copy}_{path.name}").symlink_to(path.resolve())
    described["numTraining"] = len(list((target / "labelsTr").iterdir()))
    (target / "dataset.json").write_text(json.dumps(described))
    return target


def made_ct(folder: Path, volumes: int, shape: tuple[int, int, int] = (60, 300, 300)) -> Path:
    """CT-like volumes at about 3×0.8×0.8 mm, their spacings different, so that every one is resampled."""
    import SimpleITK as sitk
    from scipy.ndimage import gaussian_filter

    target = folder / "Dataset050_MadeCT"
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True)
    for index in range(volumes):
        rng = np.random.default_rng(index)
        field = gaussian_filter(rng.standard_normal(shape).astype(np.float32), (3, 12, 12))
        label = np.digitize(field / field.std(), [0.8, 1.6]).astype(np.uint8)
        image = (-200.0 + 150.0 * label + rng.normal(0, 40, shape)).astype(np.int16)
        spacing = [float(s * f) for s, f in zip((0.8, 0.8, 3.0), rng.uniform(0.85, 1.2, 3), strict=True)]
        for part, array, name in (("imagesTr", image, f"ct_{index:02}_0000"), ("labelsTr", label, f"ct_{index:02}")):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing(spacing)
            sitk.WriteImage(written, str(target / part / f"{name}.nii.gz"), True)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1, "lesion": 2}}
    (target / "dataset.json").write_text(json.dumps({**content, "numTraining": volumes, "file_ending": ".nii.gz"}))
    return target


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def report(benchmark: str, figures: dict[str, Any], targets: dict[str, float]) -> int:
    """Print the result as the last line; a figure meets its target when it is not above it. 0 when all do."""
    met = all(figures[name] <= limit for name, limit in targets.items())
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
    print(json.dumps({"benchmark": benchmark, "figures": rounded, "targets": targets, "met": met}))
    return 0 if met else 1


def compare(what: str, ours: Cost, theirs: Cost) -> dict[str, float]:
    """Print both and give the ratios."""
    line = "{:28} {:>8.2f} s CPU {:>8.0f} MiB {:>8.2f} s"
    print(line.format(f"{what}, nnunet-trainer", ours.cpu, ours.memory, ours.wall))
    print(line.format(f"{what}, nnunetv2", theirs.cpu, theirs.memory, theirs.wall), flush=True)
    return {"cpu": ours.cpu / theirs.cpu, "memory": ours.memory / theirs.memory, "wall": ours.wall / theirs.wall}
