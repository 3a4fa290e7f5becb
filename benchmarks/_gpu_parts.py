"""One part of benchmarks/gpu.py, in a process of its own.

One argument, JSON: `folder` (of the preprocessed data), `scratch`, `device`, `steps` of an epoch, `layout` (its name), `found`
(a file that gets each figure as soon as it is found, a line of JSON), and what is asked for: `checks` (names), `layouts` (true),
`speed`, `augmentation` and `epoch_end` (a plan's name each), or `model`, `image`, `spacing` and `segmentation` for a prediction.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _measure import ROOT

sys.path[:0] = [str(ROOT / "trainer_image"), str(ROOT / "tests")]  # the package may not be installed

import _gpu_speed as measured  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from _gpu_speed import reporter  # noqa: E402
from gpu import checks, data  # noqa: E402  (tests/gpu)
from nnunet_trainer.training.session.network.memory_layout import MemoryLayout  # noqa: E402

Tell = Callable[[dict[str, Any]], None]


def check(order: dict[str, Any], device: torch.device, tell: Tell) -> None:
    """Try some checks; those that failed are named. One that leaves a GPU that computes no more ends the process' work."""
    done: list[str] = []
    failed: list[str] = []
    for name in order["checks"]:
        begun = time.perf_counter()
        results = Path(order["scratch"]) / name
        try:
            checks.BY_NAME[name](checks.Bench(Path(order["folder"]), results, data.SMALL_PLANS["3d_fullres"], device))
        except Exception as error:  # all are tried, the first failure may explain the second
            failed.append(name)
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok      {name} ({time.perf_counter() - begun:.1f} s)", flush=True)
        done.append(name)
        spoiled = not checks.clean(device)
        tell({"done": done, "failed": failed, "spoiled": spoiled})
        if spoiled:
            print(f"        the GPU computes no more after {name}: another process goes on", flush=True)
            return


def measure(order: dict[str, Any], device: torch.device, tell: Tell) -> None:
    """What is asked for, the most important first."""
    folder, steps, cuda = Path(order["folder"]), order["steps"], device.type == "cuda"
    plans, workers = data.PLANS if cuda else data.SMALL_PLANS, None if cuda else 0
    if "layouts" in order:
        measured.memory_layouts(folder, plans["3d_fullres"], device, tell)
    if name := order.get("speed"):
        layout = (
            MemoryLayout(order["layout"]) if order["layout"] and len(plans[name][1]) == 3 else None
        )  # tried with such a network
        measured.speed(folder, name, plans[name], device.type, steps, tell, workers, layout)
    if name := order.get("augmentation"):
        tell({f"{name}_augmentation_ms": measured.augmentation_ms(folder, plans[name], device, 2 * steps)})
    if "image" in order:
        image = Path(order["image"])
        seconds, segmentation = measured.prediction(Path(order["model"]), image, order["spacing"], device)
        np.save(order["segmentation"], segmentation)
        tell({"prediction_seconds": seconds})
        shape = "×".join(map(str, segmentation.shape))
        print(f"prediction of {shape} voxels at {len(os.sched_getaffinity(0))} cores: {seconds:.1f} s", flush=True)
    if name := order.get("epoch_end"):
        tell({"epoch_end_ms": measured.epoch_end_ms(folder, plans[name], device.type)})


def main() -> None:
    order = json.loads(sys.argv[1])
    device = torch.device(order["device"])
    reporter.progress_plot = lambda *_: Path()  # nobody looks at it, and it needs matplotlib
    with Path(order["found"]).open("a", buffering=1) as file:

        def tell(figures: dict[str, Any]) -> None:
            file.write(json.dumps(figures) + "\n")

        check(order, device, tell) if "checks" in order else measure(order, device, tell)


if __name__ == "__main__":
    main()
