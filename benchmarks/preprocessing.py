"""Preprocessing's CPU time, memory and size against the reference's own command, without resampling and with it."""

from __future__ import annotations

import argparse
import json
import tempfile
from multiprocessing import Process
from pathlib import Path

import _measure as measure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--raw", type=Path, help="a dataset that is not resampled (default: the shipped cases, eight times over)")
parser.add_argument("--volumes", type=int, default=6, help="made CT volumes (default: %(default)s)")
parser.add_argument("--workers", type=int, default=2)


def one(raw: Path, work: Path, workers: str) -> dict[str, float]:
    """Both on one dataset, with the same plans."""
    environment = measure.wheel_environment(work)
    if not (work / "nnUNet_raw" / raw.name).exists():
        (work / "nnUNet_raw" / raw.name).symlink_to(raw.resolve())
    theirs_in = work / "nnUNet_preprocessed" / raw.name
    fingerprint, plans = theirs_in / "dataset_fingerprint.json", theirs_in / "nnUNetPlans.json"
    measure.cost([*measure.OURS, "fingerprint", str(raw), "-o", str(fingerprint), "--workers", workers])
    measure.cost([*measure.OURS, "plan", str(raw), "--fingerprint", str(fingerprint), "-o", str(plans)])
    (theirs_in / "dataset.json").write_text((raw / "dataset.json").read_text())
    out = work / "ours"
    call = ["preprocess", str(raw), "--plans", str(plans), "--configuration", "3d_fullres", "-o", str(out), "--workers", workers]
    ours = measure.cost([*measure.OURS, *call])
    number = raw.name[7:10]
    command = [*measure.wheel("nnUNetv2_preprocess"), "-d", number, "-c", "3d_fullres", "-np", workers]
    theirs = measure.cost(command, environment)
    identifier = json.loads(plans.read_text())["configurations"]["3d_fullres"]["data_identifier"]
    ratios = measure.compare(raw.name[11:], ours, theirs)
    return {**ratios, "size": measure.size(out / identifier) / measure.size(theirs_in / identifier)}


def main() -> int:
    """Measure both on both datasets."""
    arguments = parser.parse_args()
    workers = str(arguments.workers)
    with tempfile.TemporaryDirectory() as folder:
        raw = arguments.raw or measure.repeated(measure.SHIPPED, Path(folder) / "source", 8)
        plain = one(raw, Path(folder) / "plain", workers)
        # In a process of its own: a command's peak memory begins with that of the process that starts it.
        making = Process(target=measure.made_ct, args=(Path(folder) / "source", arguments.volumes))
        making.start()
        making.join()
        resampled = one(Path(folder) / "source" / "Dataset050_MadeCT", Path(folder) / "resampled", workers)
    figures = {f"{what}_ratio": value for what, value in plain.items()}
    figures |= {f"resampled_{what}_ratio": value for what, value in resampled.items()}
    targets = {"cpu_ratio": 0.3, "memory_ratio": 0.5, "size_ratio": 1.1}
    targets |= {"resampled_cpu_ratio": 0.2, "resampled_memory_ratio": 0.5, "resampled_size_ratio": 1.1}
    return measure.report("preprocessing", figures, targets)


if __name__ == "__main__":
    raise SystemExit(main())
