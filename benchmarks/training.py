"""CPU seconds of a training step (forward, loss, backward, clipping, optimizer) beside nnU-Net's, on the same batch and plans.

Networks as planned for the shipped cases, in 3D and 2D, at smaller batches; one thread, alternating, the median of several steps.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _measure import OURS, SHIPPED, report

BATCHES = {"3d_fullres": 2, "2d": 12}
LIMIT = 1.0


def preprocess(folder: Path) -> Path:
    """The shipped cases, their plans and preprocessed data; the dataset's folder."""
    folder = folder / SHIPPED.name
    folder.mkdir()
    fingerprint, plans = str(folder / "dataset_fingerprint.json"), folder / "nnUNetPlans.json"
    commands = [
        ["fingerprint", str(SHIPPED), "-o", fingerprint],
        ["plan", str(SHIPPED), "--fingerprint", fingerprint, "-o", str(plans)],
        *(["preprocess", str(SHIPPED), "--plans", str(plans), "--configuration", name, "-o", str(folder)] for name in BATCHES),
    ]
    for command in commands:
        subprocess.run([*OURS, *command], check=True, stdout=subprocess.DEVNULL)
    content = json.loads(plans.read_text())
    for name, batch in BATCHES.items():
        content["configurations"][name]["batch_size"] = batch
    plans.write_text(json.dumps(content))
    return folder


def ours(folder: Path, configuration: str) -> tuple[Callable[[], Any], tuple[torch.Tensor, list[torch.Tensor]]]:
    """A step of ours, and the batch that it is made with."""
    from nnunet_trainer.training.loop import iteration
    from nnunet_trainer.training.loop.batches import batches
    from nnunet_trainer.training.loop.fold_training import start_epoch
    from nnunet_trainer.training.ranks.distributed import Ranks
    from nnunet_trainer.training.session.preparation import prepare
    from nnunet_trainer.training.session.setup import TrainingSetup

    session = prepare(
        TrainingSetup(
            preprocessed=folder,
            results=folder / "ours",
            plans=json.loads((folder / "nnUNetPlans.json").read_text()),
            dataset_json=json.loads((SHIPPED / "dataset.json").read_text()),
            configuration=configuration,
            fold="all",
            device="cpu",
            workers=0,
        ),
        Ranks(0, 1, 0, torch.device("cpu")),
    )
    start_epoch(session)
    data, targets = next(batches(session, session.sampler, session.augmenter, 1))
    return lambda: iteration.train_step(session, data, targets), (data.clone(), [target.clone() for target in targets])


def reference(folder: Path, configuration: str, batch: tuple[torch.Tensor, list[torch.Tensor]]) -> Callable[[], Any]:
    """A step of nnU-Net's on the same batch, its axes in the order that it uses."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    described = json.loads((SHIPPED / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans | {"continue_training": False}, configuration, 0, described, device=torch.device("cpu"))
    trainer.initialize()
    trainer.network.train()
    made = {"data": batch[0].contiguous(), "target": batch[1]}
    return lambda: trainer.train_step(made)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5, help="of each; default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {f"nnUNet_{each}": str(folder) for each in ("raw", "preprocessed", "results")}
        os.environ.update(paths, nnUNet_compile="0")
        dataset = preprocess(folder)
        for configuration in BATCHES:
            step, batch = ours(dataset, configuration)
            steps = {"ours": step, "nnunet": reference(dataset, configuration, batch)}
            found: dict[str, list[float]] = {who: [] for who in steps}
            for _ in range(arguments.steps + 1):
                for who, make in steps.items():
                    begun = time.process_time()
                    make()
                    found[who].append(time.process_time() - begun)
            mine, theirs = (statistics.median(values[1:]) for values in found.values())
            print(f"{configuration}: {mine:.2f} s of CPU a step, nnU-Net {theirs:.2f}: ratio {mine / theirs:.2f}", flush=True)
            figures |= {f"{configuration}_cpu": mine / theirs, f"{configuration}_seconds": mine}
    return report("training", figures, {f"{configuration}_cpu": LIMIT for configuration in BATCHES})


if __name__ == "__main__":
    sys.exit(main())
