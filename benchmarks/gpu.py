"""A training on one GPU: first whether it is right, then how fast; on a machine without one a small version of itself on the CPU.

Needs torch, numpy, scipy and blosc2 beside this package; it makes its own data. `--cores` repeats the speed with fewer cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _measure import ROOT, report

sys.path.insert(0, str(ROOT / "tests"))

from gpu import checks, data
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting import reporter
from nnunet_trainer.training.session.batch_preparation import BatchPreparation

PATCHES_A_SECOND = 36
"""Of the goal: 3D, 128³, batch 2, on an H100."""
LIMITS = {
    "3d_fullres_seconds_a_patch": 1 / PATCHES_A_SECOND,
    "3d_fullres_augmentation_ms": 13.5,
    "3d_fullres_4_cores_epoch_over_fixed_batch": 1.05,
    "3d_fullres_2_cores_epoch_over_fixed_batch": 1.05,
}
MISSING = ("nnunetv2's steps beside ours", "prediction of a whole CT beside nnunetv2's", "a group of one rank over NCCL")
"""What no run of this measures yet."""
STEPS, SMALL_STEPS = 60, 3


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


def epoch_seconds(preprocessed: Path, plan: Any, device: str, steps: int, workers: int | None, **recipe: Any) -> float:
    """Of a training's second epoch, its one validation step included, a step: in the first one kernels are compiled and chosen."""
    with tempfile.TemporaryDirectory() as results:
        recipe = {"epochs": 2, "iterationsPerEpoch": steps, **recipe}
        made = data.setup(preprocessed, Path(results), plan, recipe=recipe, device=device, workers=workers)
        logged = torch.load(train(made).checkpoint, map_location="cpu", weights_only=False)["logging"]
        return (logged["epoch_end_timestamps"][1] - logged["epoch_start_timestamps"][1]) / steps


def augmentation_ms(preprocessed: Path, plan: Any, device: torch.device, batches: int) -> float:
    """Median of a batch's upload and augmentation, what it draws being drawn already."""
    bench = checks.Bench(preprocessed, preprocessed, plan, device)
    _, patch, _ = plan
    scales = [[0.5**stage] * len(patch) for stage in range(3)]
    augmenter = Augmenter(config=augmentation_set("default"), patch_size=tuple(patch), deep_supervision_scales=scales)
    prepare = BatchPreparation(augmenter, device, torch.contiguous_format)
    maker = bench.session().loader.maker
    seconds = []
    for number in range(batches + 3):
        batch = maker.samplers["train"].batch(0, number)
        assert maker.planners is not None
        planned = replace(batch, plan=maker.planners["train"](batch))
        _done(device)
        begun = time.perf_counter()
        prepare(planned)
        _done(device)
        seconds.append(1000 * (time.perf_counter() - begun))
    return statistics.median(seconds[3:])


def _done(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def speed(preprocessed: Path, name: str, plan: Any, device: str, steps: int, workers: int | None = None) -> dict[str, float]:
    """One plan's figures, with as many cores as there are."""
    whole = epoch_seconds(preprocessed, plan, device, steps, workers)
    fixed = epoch_seconds(preprocessed, plan, device, steps, workers, sampling={"fixedBatch": True})
    found = {f"{name}_seconds_a_patch": whole / plan[2], f"{name}_epoch_over_fixed_batch": whole / fixed}
    print(f"{name}: {plan[2] / whole:.1f} patches/s, {plan[2] / fixed:.1f} on a fixed batch", flush=True)
    return found


def with_cores(count: int, folder: Path) -> dict[str, float]:
    """The 3D plan in a process that has so many cores."""
    command = [sys.executable, __file__, "--speed-of", "3d_fullres", "--data", str(folder)]
    wanted = sorted(os.sched_getaffinity(0))[:count]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, wanted))
    figures = json.loads(run.stdout.splitlines()[-1])
    return {name.replace("3d_fullres", f"3d_fullres_{count}_cores"): value for name, value in figures.items()}


def measure(folder: Path, device: torch.device, cores: Sequence[int], until: float) -> tuple[dict[str, Any], list[str]]:
    """All figures, and what was left out; nothing is begun after `until` (time.monotonic)."""
    cuda = device.type == "cuda"
    plans, left_out = (data.PLANS if cuda else data.SMALL_PLANS), list(MISSING)
    preprocessed = data.write(folder, edge=200 if cuda else 24)
    some: tuple[checks.Check, ...] = (*checks.ANYWHERE, *(checks.ON_A_GPU if cuda else ()))
    if not cuda:
        left_out += [f"check {check.__name__}" for check in checks.ON_A_GPU]
    correctness = checks.Bench(preprocessed, folder / "checks", data.SMALL_PLANS["3d_fullres"], device)
    figures: dict[str, Any] = {"failed_checks": correct(correctness, some)}
    steps, workers = (STEPS, None) if cuda else (SMALL_STEPS, 0)
    for name, plan in plans.items():
        if time.monotonic() > until:
            left_out.append(f"{name}: no time left")
            continue
        figures |= speed(preprocessed, name, plan, device.type, steps, workers)
        figures[f"{name}_augmentation_ms"] = augmentation_ms(preprocessed, plan, device, 2 * steps)
    for count in cores if cuda else ():
        if count > len(os.sched_getaffinity(0)):
            left_out.append(f"{count} cores: this machine has fewer")
        elif time.monotonic() > until:
            left_out.append(f"{count} cores: no time left")
        else:
            figures |= with_cores(count, preprocessed)
    if not cuda:
        left_out.append("full-size plans and numbers of cores: there is no GPU")
    return figures, left_out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--cores", type=int, nargs="*", default=[2, 4, 16], help="repeat the 3D plan with so many")
    parser.add_argument("--seconds", type=float, default=450, help="after which no other measurement begins")
    parser.add_argument("--speed-of", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    reporter.progress_plot = lambda *_: Path()  # nobody looks at it, and it needs matplotlib
    found = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(found if arguments.device == "auto" else arguments.device)
    if arguments.speed_of:
        name = arguments.speed_of
        print(json.dumps(speed(arguments.data, name, data.PLANS[name], device.type, STEPS)))
        return 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures, left_out = measure(Path(folder), device, arguments.cores, begun + arguments.seconds)
    for what in left_out:
        print(f"NOT RUN {what}", flush=True)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    figures |= {"gpu": gpu, "torch": torch.__version__, "not_run": left_out, "seconds": time.monotonic() - begun}
    failed = figures["failed_checks"]
    targets = {name: limit for name, limit in LIMITS.items() if device.type == "cuda" and name in figures}
    return max(report("gpu", figures, targets), int(bool(failed)))


if __name__ == "__main__":
    raise SystemExit(main())
