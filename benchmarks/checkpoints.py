"""How long a training stands still for a checkpoint: written between two steps, and by the thread from a snapshot."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.training.state.checkpoint_writer import CheckpointWriter
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--millions", type=float, default=100, help="of parameters, with momentum (default: %(default)s)")
parser.add_argument("--times", type=int, default=5, help="default: %(default)s")
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")

LAYER = (320, 320, 3, 3, 3)
"""The most frequent convolution of nnU-Net's networks."""


def training(millions: float, device: torch.device) -> tuple[nn.ParameterList, torch.optim.Optimizer]:
    """Convolutions and their momenta after a step."""
    layers = max(1, round(millions * 1e6 / torch.Size(LAYER).numel()))
    weights = nn.ParameterList([nn.Parameter(torch.randn(LAYER, device=device)) for _ in range(layers)])
    optimizer = torch.optim.SGD(weights, 1e-3, momentum=0.99, nesterov=True)
    for weight in weights:
        weight.grad = torch.full_like(weight, 1e-3)
    optimizer.step()
    return weights, optimizer


def synchronize(device: torch.device) -> None:
    """Wait for the GPU, if it is one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> int:
    """Pauses in seconds, and how much slower steps are while the thread writes."""
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    weights, optimizer = training(arguments.millions, device)
    small = torch.randn(64, 64, device=device)

    def content() -> dict[str, Any]:
        return {"network_weights": weights.state_dict(), "optimizer_state": optimizer.state_dict(), "current_epoch": 1}

    def step() -> float:
        """Many small calls, as Python makes them: what another thread that holds the interpreter's lock would slow down."""
        began = time.perf_counter()
        for _ in range(200):
            small.mul(0.5).add_(1)
        synchronize(device)
        return time.perf_counter() - began

    before, pauses, writing, beside = [], [], [], []
    alone = statistics.median(step() for _ in range(200))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.times):
            synchronize(device)
            began = time.perf_counter()
            checkpoint.save(Path(folder) / checkpoint.LATEST, content())
            before.append(time.perf_counter() - began)
        writer = CheckpointWriter(Path(folder), device, keep_previous=True)
        for _ in range(arguments.times + 1):  # the first one takes the memory
            synchronize(device)
            began = time.perf_counter()
            writer.write(content(), [checkpoint.LATEST, checkpoint.BEST])
            synchronize(device)  # the copies stand before the next step
            pauses.append(time.perf_counter() - began)
            while writer.busy_seconds is not None:
                beside.append(step())
            writer.wait()
            assert writer.last is not None
            writing.append(writer.last.seconds)
        writer.close()
    size = writer.memory.bytes / 2**20
    was, first, now = statistics.median(before), pauses[0], statistics.median(pauses[1:])
    print(f"{arguments.millions:g} million parameters, {size:.0f} MiB, on {device}; seconds")
    print(f"written between two steps   {was:8.3f}")
    print(f"snapshot, the first one     {first:8.3f}   takes the memory")
    print(f"snapshot                    {now:8.3f}   then written by the thread in {statistics.median(writing):.3f}")
    slower = statistics.median(beside) / alone
    print(f"a step while it is written  {slower:8.2f}   times one while it is not")
    figures = {"pause_to_writing": now / was, "step_while_writing_to_alone": slower}
    return measure.report("checkpoints", figures, {"pause_to_writing": 0.3, "step_while_writing_to_alone": 1.5})


if __name__ == "__main__":
    sys.exit(main())
