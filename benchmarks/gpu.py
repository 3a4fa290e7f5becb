"""A training on one GPU: first whether it is right, then how fast; on a machine without one a small version of itself on the CPU.

Needs torch, numpy, scipy and blosc2 beside this package, which need not be installed; it makes its own data. The speed is repeated
with fewer cores, and beside nnU-Net's trainer and predictor where nnunetv2 is installed, in this interpreter or in that of
`--nnunetv2`. Each part is a process of its own with a time limit: whatever becomes of one, the others run. What is found is printed
at once, and as one JSON line at the end, also of a run whose time is up or that is stopped by SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _gpu_processes import Processes, told
from _measure import ROOT, report

BEGUN = time.monotonic()  # importing torch for the first time may take long
sys.path[:0] = [str(ROOT / "trainer_image"), str(ROOT / "tests")]  # the package may not be installed

import torch  # noqa: E402
from gpu import checks, data  # noqa: E402  (tests/gpu)
from nnunet_trainer.training.session.network.memory_layout import NORMALIZED_BY  # noqa: E402

PATCHES_A_SECOND = 36
"""Of the goal: 3D, 128³, batch 2, on an H100."""
LIMITS = {
    "3d_fullres_seconds_a_patch": 1 / PATCHES_A_SECOND,
    "3d_fullres_augmentation_ms": 13.5,
    "3d_fullres_4_cores_epoch_over_fixed_batch": 1.05,
    "3d_fullres_2_cores_epoch_over_fixed_batch": 1.05,
    "3d_fullres_epoch_end_over_250_steps": 0.05,
    "3d_fullres_16_cores_over_nnunetv2": 1 / 2,
    "3d_fullres_2_cores_over_nnunetv2": 1 / 4,
    "prediction_over_nnunetv2": 1 / 4,
}
STEPS, SMALL_STEPS = 60, 3
WHOLE_CT, SMALL_CT = ((300, 512, 512), (1.0, 0.75, 0.75)), ((20, 28, 24), (1.0, 0.8, 0.8))
"""Shape and spacing (mm) of an image."""
SECONDS = 510.0
"""Of all: what has not ended then is killed."""
CHECKS, LAYOUTS, CORES, PLANS = PARTS = "checks", "layouts", "cores", "plans"
"""Kinds of parts that can be chosen. Cores are the 3D plan, its augmentation and its prediction, and what is beside nnU-Net's."""


class Measurement:
    """All figures, and what was left out.

    Args:
        folder: for data.
        cuda: whether there is a GPU; else a small version.
        cores: numbers of them.
        nnunetv2: an interpreter that has it, if any.
        until: everything has ended by then (time.monotonic).
        chosen: some of `PARTS`.
        layout: name of the memory layout to train in; None: it is tried.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cuda: bool,
        cores: Sequence[int],
        nnunetv2: str | None,
        until: float,
        chosen: Sequence[str] = PARTS,
        layout: str | None = None,
    ) -> None:
        self.folder, self.cuda, self.cores, self.nnunetv2 = folder, cuda, cores, nnunetv2
        self.chosen, self.layout = chosen, layout
        self.plans = data.PLANS if cuda else data.SMALL_PLANS
        self.processes = Processes(until)
        self.left_out = self.processes.left_out
        self.figures: dict[str, Any] = {"failed_checks": [], "failed_parts": self.processes.failed}

    def run(self) -> None:
        """The most important first; what may take long and says least, last."""
        usable = [count for count in self.cores if count <= len(os.sched_getaffinity(0))]
        self._write_data()
        if CHECKS in self.chosen:
            self._checks(checks.FIRST if self.cuda else tuple(checks.BY_NAME.values()), limit=170)
        if LAYOUTS in self.chosen:
            self._layouts(limit=170)
        if CORES in self.chosen:
            for count in usable:
                most = count == max(usable)
                self._at_cores(count, most=most, limit=150 if most else 90)
                if self.nnunetv2 is not None and count != 4:  # no goal compares it there
                    self._beside_nnunetv2(count, self.nnunetv2, predicts=most, limit=150)
            self.left_out += [f"{count} cores: this machine has fewer" for count in self.cores if count not in usable]
            if self.nnunetv2 is None:
                self.left_out.append("beside nnunetv2: it is not installed")
        for name in self.plans if PLANS in self.chosen else ():
            if name != "3d_fullres":
                self.figures |= self._part(name, {"speed": name, "augmentation": name}, limit=100) or {}
        if CHECKS in self.chosen and self.cuda:
            self._checks(checks.LAST, limit=120)
        if not self.cuda:
            self.left_out.append("full-size plans, images and numbers of cores: there is no GPU")

    def _write_data(self) -> None:
        self.preprocessed = data.write(self.folder, edge=200 if self.cuda else 24)
        self.image_shape, self.spacing = WHOLE_CT if self.cuda else SMALL_CT
        self.model = data.write_model(self.folder / "model", self.plans["3d_fullres"])
        self.image = data.write_image(self.folder / "image.npy", self.image_shape)

    def _checks(self, some: Sequence[checks.Check], limit: float) -> None:
        """One process for all of them, and another one for those behind one that ended it, or has spoiled its GPU."""
        names = [check.__name__ for check in some if self.cuda or check in checks.ANYWHERE]
        self.left_out += [f"check {check.__name__}" for check in some if check.__name__ not in names]
        until = time.monotonic() + limit
        while names:
            found = self._part(f"checks {', '.join(names)}", {"checks": names}, limit=until - time.monotonic())
            if found is None:
                return
            done = found.pop("done", [])
            self.figures["failed_checks"] += found.pop("failed", [])
            if len(done) < len(names) and not found.get("spoiled"):
                self.figures["failed_checks"].append(names[len(done)])  # it has ended the process, or took too long
                done.append(names[len(done)])
            names = names[len(done) :]

    def _layouts(self, limit: float) -> None:
        if not self.cuda:
            self.left_out.append("memory layouts: there is no GPU")
        elif self.layout is None and (found := self._part("layouts", {"layouts": True}, limit=limit)):
            self.figures |= {name: value for name, value in found.items() if name != "layout"}
            self.layout = found.get("layout")

    def _at_cores(self, count: int, *, most: bool, limit: float) -> None:
        """The 3D plan in a process that has so many cores; with the most of them an image is predicted too."""
        order: dict[str, Any] = {"speed": "3d_fullres", "cores": count}
        if most:
            order |= {"augmentation": "3d_fullres", "epoch_end": "3d_fullres", **self._predicted("ours")}
        found = self._part(f"{count} cores", order, limit=limit) or {}
        every = {"3d_fullres_seconds_a_patch", "3d_fullres_epoch_over_fixed_batch"} & found.keys()
        if most:
            self.figures |= found
            if {"epoch_end_ms", "3d_fullres_seconds_a_patch"} <= found.keys():
                steps = 250 * self.plans["3d_fullres"][2] * found["3d_fullres_seconds_a_patch"]
                self.figures["3d_fullres_epoch_end_over_250_steps"] = found["epoch_end_ms"] / 1000 / steps
        self.figures |= {name.replace("3d_fullres", f"3d_fullres_{count}_cores"): found[name] for name in every}

    def _predicted(self, whose: str) -> dict[str, Any]:
        segmentation = str(self.folder / f"{whose}.npy")
        return {"model": str(self.model), "image": str(self.image), "spacing": self.spacing, "segmentation": segmentation}

    def _beside_nnunetv2(self, count: int, interpreter: str, *, predicts: bool, limit: float) -> None:
        what = f"nnunetv2 at {count} cores"
        order = {
            "folder": str(self.preprocessed),
            "scratch": str(self.folder / "nnunetv2"),
            "plans": str(self.model / "plans.json"),
            "dataset_json": data.DATASET_JSON,
            "device": "cuda" if self.cuda else "cpu",
            "steps": STEPS // 2 if self.cuda else SMALL_STEPS,
            **(self._predicted("nnunetv2") if predicts else {}),
        }
        command = [interpreter, str(Path(__file__).with_name("_gpu_nnunetv2.py")), json.dumps(order)]
        said = self.processes.output(what, command, limit=limit, cores=count, quiet=True)
        if said is None:
            return
        found = json.loads(said.splitlines()[-1])
        a_patch = found["seconds_a_step"] / self.plans["3d_fullres"][2]
        self.figures[f"nnunetv2_{count}_cores_seconds_a_patch"] = a_patch
        ours = self.figures.get(f"3d_fullres_{count}_cores_seconds_a_patch")
        if ours is not None:
            self.figures[f"3d_fullres_{count}_cores_over_nnunetv2"] = ours / a_patch
            print(f"{what}: {1 / a_patch:.1f} patches/s, ours {a_patch / ours:.1f} times as many", flush=True)
        if predicts:
            self.figures["nnunetv2_prediction_seconds"] = theirs = found["prediction_seconds"]
            if "prediction_seconds" in self.figures:
                self.figures["prediction_over_nnunetv2"] = self.figures["prediction_seconds"] / theirs
                self.figures["prediction_as_nnunetv2s"] = data.equal_share(self.folder / "ours.npy", self.folder / "nnunetv2.npy")

    def _part(self, what: str, order: dict[str, Any], *, limit: float) -> dict[str, Any] | None:
        """What a process of `_gpu_parts.py` has found, as far as it came; None where there was no time to begin it."""
        order = {
            "folder": str(self.preprocessed),
            "scratch": tempfile.mkdtemp(dir=self.folder),
            "device": "cuda" if self.cuda else "cpu",
            "steps": STEPS if self.cuda else SMALL_STEPS,
            "layout": self.layout,
            "found": str(Path(tempfile.mkdtemp(dir=self.folder)) / "found"),
            **order,
        }
        command = [sys.executable, str(Path(__file__).with_name("_gpu_parts.py")), json.dumps(order)]
        if (
            self.processes.output(what, command, limit=limit, cores=order.get("cores")) is None
            and what not in self.processes.failed
        ):
            return None
        return told(Path(order["found"]))


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and Ctrl-C end what runs, and what was found is told all the same."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        print("STOPPED", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--cores", type=int, nargs="*", help="repeat the 3D plan with so many; default: all up to 16, 2, 4")
    parser.add_argument("--nnunetv2", metavar="PYTHON", help="an interpreter that has it; default: this one, if it has")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which all has ended; default: %(default)s")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--layout", choices=NORMALIZED_BY, help="train in this memory layout, and try none")
    arguments = parser.parse_args()
    available = torch.cuda.is_available()
    cuda = available if arguments.device == "auto" else arguments.device == "cuda"
    installed = sys.executable if importlib.util.find_spec("nnunetv2") else None
    most = min(16, len(os.sched_getaffinity(0)))
    cores = arguments.cores if arguments.cores is not None else list(dict.fromkeys([most, 2, 4])) if cuda else [1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        measurement = Measurement(
            Path(folder),
            cuda=cuda,
            cores=cores,
            nnunetv2=arguments.nnunetv2 or installed,
            until=BEGUN + arguments.seconds,
            chosen=arguments.parts,
            layout=arguments.layout,
        )
        with stoppable():
            measurement.run()
    figures, left_out = measurement.figures, measurement.left_out
    if cuda:
        left_out += [f"goal {name}: it was not measured" for name in LIMITS if name not in figures]
    for what in left_out:
        print(f"NOT RUN {what}", flush=True)
    figures |= {"gpu": torch.cuda.get_device_name() if available and cuda else "none", "versions": data.versions()}
    figures |= {"not_run": left_out, "seconds": time.monotonic() - BEGUN}
    targets = {name: limit for name, limit in LIMITS.items() if cuda and name in figures}
    return max(report("gpu", figures, targets), int(bool(figures["failed_checks"] or figures["failed_parts"])))


if __name__ == "__main__":
    raise SystemExit(main())
