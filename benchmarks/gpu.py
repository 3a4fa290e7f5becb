"""A training on one GPU: first whether it is right, then how fast; on a machine without one a small version of itself on the CPU.

Needs torch, numpy, scipy and blosc2 beside this package; it makes its own data. The speed is repeated with fewer cores, and beside
nnU-Net's trainer and predictor where nnunetv2 is installed, in this interpreter or in that of `--nnunetv2`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _gpu_speed as measured
import numpy as np
import torch
from _gpu_speed import checks, data, reporter
from _measure import report
from nnunet_trainer.training.session.network.memory_layout import MemoryLayout, restored

PATCHES_A_SECOND = 36
"""Of the goal: 3D, 128³, batch 2, on an H100."""
LIMITS = {
    "3d_fullres_seconds_a_patch": 1 / PATCHES_A_SECOND,
    "3d_fullres_augmentation_ms": 13.5,
    "3d_fullres_4_cores_epoch_over_fixed_batch": 1.05,
    "3d_fullres_2_cores_epoch_over_fixed_batch": 1.05,
    "3d_fullres_16_cores_over_nnunetv2": 1 / 2,
    "3d_fullres_2_cores_over_nnunetv2": 1 / 4,
    "prediction_over_nnunetv2": 1 / 4,
}
STEPS, SMALL_STEPS = 60, 3
WHOLE_CT, SMALL_CT = ((300, 512, 512), (1.0, 0.75, 0.75)), ((20, 28, 24), (1.0, 0.8, 0.8))
"""Shape and spacing (mm) of an image."""


def correct(bench: checks.Bench, chosen: Sequence[checks.Check]) -> list[str]:
    """Names of the checks that failed."""
    failed = []
    for number, check in enumerate(chosen):
        begun = time.perf_counter()
        try:
            check(checks.Bench(bench.preprocessed, bench.results / str(number), bench.plan, bench.device))
        except Exception as error:  # all are tried, the first failure may explain the second
            failed.append(check.__name__)
            print(f"FAILED  {check.__name__}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok      {check.__name__} ({time.perf_counter() - begun:.1f} s)", flush=True)
        finally:
            if bench.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    return failed


class Measurement:
    """All figures, and what was left out.

    Args:
        folder: for data.
        device: cuda, or cpu for a small version.
        cores: numbers of them.
        nnunetv2: an interpreter that has it, if any.
        until: nothing is begun after this (time.monotonic).
    """

    def __init__(self, folder: Path, device: torch.device, cores: Sequence[int], nnunetv2: str | None, until: float) -> None:
        self.folder, self.device, self.cores, self.nnunetv2, self.until = folder, device, cores, nnunetv2, until
        self.cuda = device.type == "cuda"
        self.plans = data.PLANS if self.cuda else data.SMALL_PLANS
        self.steps, self.workers = (STEPS, None) if self.cuda else (SMALL_STEPS, 0)
        self.preprocessed = data.write(folder, edge=200 if self.cuda else 24)
        self.image_shape, self.spacing = WHOLE_CT if self.cuda else SMALL_CT
        self.model = data.write_model(folder / "model", self.plans["3d_fullres"])
        self.image = data.write_image(folder / "image.npy", self.image_shape)
        self.figures: dict[str, Any] = {}
        self.left_out: list[str] = []
        self.layout: MemoryLayout | None = None

    def run(self) -> None:
        """The most important first."""
        self._correctness()
        self._plan("3d_fullres")
        for count in self._usable:
            if self._time_for(f"{count} cores"):
                self._at_cores(count)
        self.left_out += [f"{count} cores: this machine has fewer" for count in self.cores if count not in self._usable]
        if self.nnunetv2 is None:
            self.left_out.append("beside nnunetv2: it is not installed")
        for name in self.plans:
            if name != "3d_fullres" and self._time_for(name):
                self._plan(name)
        if not self.cuda:
            self.left_out.append("full-size plans, images and numbers of cores: there is no GPU")

    def _time_for(self, what: str) -> bool:
        if time.monotonic() > self.until:
            self.left_out.append(f"{what}: no time left")
            return False
        return True

    def _correctness(self) -> None:
        if not self.cuda:
            self.left_out += [f"check {check.__name__}" for check in checks.ON_A_GPU]
        some = (*checks.ANYWHERE, *(checks.ON_A_GPU if self.cuda else ()))
        bench = checks.Bench(self.preprocessed, self.folder / "checks", data.SMALL_PLANS["3d_fullres"], self.device)
        self.figures["failed_checks"] = correct(bench, some)

    def _plan(self, name: str) -> None:
        plan = self.plans[name]
        layout = self._memory_layout(name) if name == "3d_fullres" else None
        self.figures |= measured.speed(self.preprocessed, name, plan, self.device.type, self.steps, self.workers, layout)
        self.figures[f"{name}_augmentation_ms"] = measured.augmentation_ms(self.preprocessed, plan, self.device, 2 * self.steps)
        if name == "3d_fullres":
            self.figures["epoch_end_ms"] = measured.epoch_end_ms(self.preprocessed, plan, self.device.type)

    def _memory_layout(self, name: str) -> MemoryLayout | None:
        """Of a plan, with the time of a step in each; on a CPU there is nothing to choose."""
        if not self.cuda:
            self.left_out.append("memory layouts: there is no GPU")
            return None
        self.layout = found = measured.memory_layout(self.preprocessed, self.plans[name], self.device)
        self.figures[f"{name}_layout"], self.figures[f"{name}_layouts_left_out"] = found.name, found.left_out
        for layout, seconds in (found.seconds or {}).items():
            self.figures[f"{name}_{layout.replace(' ', '_')}_ms"] = 1000 * seconds
        return found

    def _at_cores(self, count: int) -> None:
        """The 3D plan in a process that has so many cores, and nnU-Net's; with the most of them an image is predicted too."""
        predicts = "prediction_seconds" not in self.figures and count == max(self._usable)
        order = self._order("ours", predicts=predicts)
        try:
            found = self._child(count, [sys.executable, __file__, "--order", json.dumps(order)])
        except (subprocess.SubprocessError, ValueError) as error:
            self.figures["failed_checks"].append(f"{count}_cores")
            print(f"FAILED  {count} cores: {error}", flush=True)
            return
        seconds = found.pop("prediction_seconds", None)
        self.figures |= {name.replace("3d_fullres", f"3d_fullres_{count}_cores"): value for name, value in found.items()}
        if seconds is not None:
            self.figures["prediction_seconds"] = seconds
            print(f"prediction of {'×'.join(map(str, self.image_shape))} voxels at {count} cores: {seconds:.1f} s", flush=True)
        if self.nnunetv2 is not None:
            self._beside_nnunetv2(count, self.nnunetv2, predicts=predicts)

    def _beside_nnunetv2(self, count: int, interpreter: str, *, predicts: bool) -> None:
        what, order = f"nnunetv2 at {count} cores", self._order("nnunetv2", predicts=predicts)
        try:
            found = self._child(count, [interpreter, str(Path(__file__).with_name("_gpu_nnunetv2.py")), json.dumps(order)])
        except (subprocess.SubprocessError, ValueError) as error:
            self.left_out.append(f"{what}: {error}")
            return
        a_patch = found["seconds_a_step"] / self.plans["3d_fullres"][2]
        self.figures[f"nnunetv2_{count}_cores_seconds_a_patch"] = a_patch
        ratio = self.figures[f"3d_fullres_{count}_cores_seconds_a_patch"] / a_patch
        self.figures[f"3d_fullres_{count}_cores_over_nnunetv2"] = ratio
        print(f"{what}: {1 / a_patch:.1f} patches/s, ours {1 / ratio:.1f} times as many", flush=True)
        if predicts:
            ours, theirs = (np.load(self.folder / f"{whose}.npy") for whose in ("ours", "nnunetv2"))
            self.figures["nnunetv2_prediction_seconds"] = found["prediction_seconds"]
            self.figures["prediction_over_nnunetv2"] = self.figures["prediction_seconds"] / found["prediction_seconds"]
            self.figures["prediction_as_nnunetv2s"] = float((theirs == ours).mean())

    def _order(self, whose: str, *, predicts: bool) -> dict[str, Any]:
        """For a process of ours or for `_gpu_nnunetv2.py`."""
        order: dict[str, Any] = {
            "folder": str(self.preprocessed),
            "scratch": str(self.folder / "nnunetv2"),
            "plans": str(self.model / "plans.json"),
            "dataset_json": data.DATASET_JSON,
            "device": self.device.type,
            "steps": self.steps // 2 if self.cuda and whose != "ours" else self.steps,
            "layout": None if self.layout is None else self.layout.saved(),
        }
        if predicts:
            order |= {"model": str(self.model), "image": str(self.image), "spacing": self.spacing}
            order["segmentation"] = str(self.folder / f"{whose}.npy")
        return order

    @property
    def _usable(self) -> list[int]:
        """Of the numbers of cores, those that this machine has."""
        return [count for count in self.cores if count <= len(os.sched_getaffinity(0))]

    def _child(self, count: int, command: list[str]) -> dict[str, float]:
        """The last line of a command that has so many cores, and no more time than there is.

        Raises:
            SubprocessError: it failed.
            ValueError: it says nothing.
        """
        wanted = sorted(os.sched_getaffinity(0))[:count]

        def begin() -> None:
            os.sched_setaffinity(0, wanted)

        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=begin, start_new_session=True
        )
        try:
            out, err = child.communicate(timeout=max(60.0, self.until - time.monotonic() + 60.0))
        finally:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # its worker processes too
                child.communicate()
        if child.returncode:
            raise subprocess.SubprocessError((err.strip().splitlines() or [f"it ended with {child.returncode}"])[-1])
        return dict(json.loads(out.splitlines()[-1]))


def ordered(order: dict[str, Any]) -> dict[str, float]:
    """What a process of few cores is to do, as `Measurement._order` says it."""
    device, cuda = torch.device(order["device"]), order["device"] == "cuda"
    plan = (data.PLANS if cuda else data.SMALL_PLANS)["3d_fullres"]
    layout = None if order["layout"] is None else restored(order["layout"])
    found = measured.speed(Path(order["folder"]), "3d_fullres", plan, device.type, order["steps"], None if cuda else 0, layout)
    if "image" in order:
        model, image = Path(order["model"]), Path(order["image"])
        found["prediction_seconds"], segmentation = measured.prediction(model, image, order["spacing"], device)
        np.save(order["segmentation"], segmentation)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--cores", type=int, nargs="*", help="repeat the 3D plan with so many; default: 16, 2, 4")
    parser.add_argument("--nnunetv2", metavar="PYTHON", help="an interpreter that has it; default: this one, if it has")
    parser.add_argument("--seconds", type=float, default=420, help="after which no other measurement begins; default: %(default)s")
    parser.add_argument("--order", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    reporter.progress_plot = lambda *_: Path()  # nobody looks at it, and it needs matplotlib
    if arguments.order:
        print(json.dumps(ordered(arguments.order)))
        return 0
    found = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(found if arguments.device == "auto" else arguments.device)
    cuda = device.type == "cuda"
    begun = time.monotonic()
    installed = sys.executable if importlib.util.find_spec("nnunetv2") else None
    cores = arguments.cores if arguments.cores is not None else [16, 2, 4] if cuda else [1]
    with tempfile.TemporaryDirectory() as folder:
        measurement = Measurement(Path(folder), device, cores, arguments.nnunetv2 or installed, begun + arguments.seconds)
        measurement.run()
    figures, left_out = measurement.figures, measurement.left_out
    for what in left_out:
        print(f"NOT RUN {what}", flush=True)
    gpu = torch.cuda.get_device_name(device) if cuda else "none"
    figures |= {"gpu": gpu, "torch": torch.__version__, "not_run": left_out, "seconds": time.monotonic() - begun}
    targets = {name: limit for name, limit in LIMITS.items() if cuda and name in figures}
    return max(report("gpu", figures, targets), int(bool(figures["failed_checks"])))


if __name__ == "__main__":
    raise SystemExit(main())
