"""One large image with many labels in a small container: 100 labels at 1,000 × 512 × 512 voxels, on two cores.

The network has 4 features (random weights: what it says does not matter) and no mirroring, as models of many organs that tell left
from right are trained. The image is resampled for the network, and its result back: all steps of `predict` count, and all of the
command's memory, the page cache too. The logits alone would take 105 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _measure import OURS, ROOT, report
from nnunet_trainer.architecture import build
from prediction import plans

sys.path.insert(0, str(ROOT / "tests"))
from support.containers.cgroup import NoGroup, limited

MINUTES = 20
PATCH, SPACING, IMAGE_SPACING = [128, 128, 128], [0.8, 0.8, 0.8], (0.8, 0.75, 0.75)
OOM_KILLED = 137

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--labels", type=int, default=100, help="background too; default: %(default)s")
parser.add_argument("--shape", type=int, nargs=3, default=(1000, 512, 512), metavar=("Z", "Y", "X"), help="default: %(default)s")
parser.add_argument("--features", type=int, default=4, help="of the network's finest stage; default: %(default)s")
parser.add_argument("--limit", type=int, default=16, metavar="GIB", help="memory; default: %(default)s")
parser.add_argument("--cores", type=int, default=2, help="default: %(default)s")


def write_model(folder: Path, labels: int, features: int) -> None:
    """A model folder in nnU-Net's format, of so many labels."""
    content = plans([features * 2**stage for stage in range(4)])
    configuration = content["configurations"]["3d_fullres"]
    configuration.update(patch_size=PATCH, spacing=SPACING)
    named = {"background": 0, **{f"organ {label}": label for label in range(1, labels)}}
    dataset = {"channel_names": {"0": "CT"}, "labels": named, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(content))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    torch.manual_seed(0)
    network = build(configuration["architecture"], 1, labels, False)
    init = {"configuration": "3d_fullres"}
    checkpoint = {"network_weights": network.state_dict(), "init_args": init, "trainer_name": "nnUNetTrainerNoMirroring"}
    torch.save({**checkpoint, "inference_allowed_mirroring_axes": None}, folder / "fold_0/checkpoint_final.pth")


def write_image(folder: Path, shape: tuple[int, int, int]) -> None:
    """A CT-like volume of short integers; made plane by plane, in a process of its own."""
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    volume = np.empty(shape, np.int16)
    y, x = np.mgrid[: shape[1], : shape[2]]
    for z, plane in enumerate(volume):
        plane[...] = 300 * np.sin(x / 31 + z / 17) * np.cos(y / 23) + rng.integers(-40, 40, plane.shape)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(IMAGE_SPACING[::-1])
    sitk.WriteImage(image, str(folder / "large_0000.nii.gz"), True, 1)


def resident(root: int) -> int:
    """Bytes that a process and all its descendants hold now, what they share counted once for each."""
    page, total, todo = os.sysconf("SC_PAGE_SIZE"), 0, [root]
    while todo:
        pid = todo.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (OSError, IndexError):
            continue
    return total


def watched(command: list[str]) -> tuple[int, int, str]:
    """Exit code, most memory of the command's processes (looked at ten times a second), and what they said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], resident(process.pid))

    looking = threading.Thread(target=look)
    looking.start()
    said, _ = process.communicate()
    over.set()
    looking.join()
    return process.returncode, most[0], said


def main() -> int:
    """Measure and print."""
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    limit = arguments.limit << 30
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_model(work / "model", arguments.labels, arguments.features)
        (work / "images").mkdir()
        if (pid := os.fork()) == 0:
            write_image(work / "images", tuple(arguments.shape))
            os._exit(0)
        os.waitpid(pid, 0)
        command = [*OURS, "predict", "--model", str(work / "model"), "-i", str(work / "images"), "-o", str(work / "out")]
        command += ["--device", "cpu"]
        start, before = time.monotonic(), os.times()
        try:
            with limited(limit) as group:
                done = group.run(command)
                code, peak, said, where = (
                    done.returncode,
                    group.peak,
                    done.stdout + done.stderr,
                    f"in a control group of {arguments.limit} GiB",
                )
        except NoGroup as why:
            code, peak, said = watched(command)
            where = f"resident in all its processes; no control group can be made here ({why})"
        wall, after = time.monotonic() - start, os.times()
        if code:
            raise SystemExit(
                f"ended with {code}{', killed for want of memory' if code in (OOM_KILLED, -9) else ''}: {said[-3000:]}"
            )
        assert (work / "out/large.nii.gz").is_file()
    cpu = sum(after[2:4]) - sum(before[2:4])
    print(f"{wall / 60:.1f} minutes, {cpu / 60:.1f} of CPU, {peak / 2**30:.2f} GiB {where}; load {os.getloadavg()[0]:.1f}")
    figures = {"minutes": wall / 60, "cpu_minutes": cpu / 60, "peak_to_limit": peak / limit}
    return report("large_prediction", figures, {"minutes": MINUTES, "peak_to_limit": 1.0})


if __name__ == "__main__":
    sys.exit(main())
