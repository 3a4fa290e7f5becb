"""Correctness on a GPU. Each check takes a folder with data, plans and a device, and raises where something is wrong."""

from __future__ import annotations

import gc
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from nnunet_trainer.architecture import fused_norm_check
from nnunet_trainer.architecture.blocks import normalize_by
from nnunet_trainer.contract.faults import GpuOutOfMemory
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.loop import iteration
from nnunet_trainer.training.loop.batches import batches
from nnunet_trainer.training.loop.fold_training import start_epoch, train
from nnunet_trainer.training.ranks import distributed
from nnunet_trainer.training.ranks.distributed import Ranks
from nnunet_trainer.training.session.batch_preparation import BatchPreparation
from nnunet_trainer.training.session.network.convolution_check import check_convolutions
from nnunet_trainer.training.session.network.memory_layout import CHANNELS_LAST, COMPILED, FUSED, MemoryLayout
from nnunet_trainer.training.session.preparation import prepare
from nnunet_trainer.training.session.session import Session

from . import data


@dataclass(frozen=True)
class Bench:
    """Where checks run.

    Attributes:
        preprocessed: the dataset's folder.
        results: an empty folder.
        plan: of `data`.
        device: cuda or cpu.
    """

    preprocessed: Path
    results: Path
    plan: data.Plan
    device: torch.device

    def session(self, **recipe: Any) -> Session:
        """A session at the beginning of its first epoch."""
        made = data.setup(self.preprocessed, self.results, self.plan, recipe=recipe, device=self.device.type, workers=0)
        session = prepare(made, Ranks(0, 1, 0, self.device))
        start_epoch(session)
        return session

    def batch(self, session: Session) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Its first one."""
        with session.loader:
            found, targets = next(batches(session, session.sampler, session.augmenter, 1))
            return found.clone(), [target.clone() for target in targets]


ODD_SHAPES = [(2, 3, 7, 5), (1, 33, 65, 31), (3, 2, 1, 1, 3), (2, 48, 19, 18, 17), (1, 320, 5, 4, 6), (2, 32, 128, 128, 128)]
"""(b, c, *patch)."""


@contextmanager
def refusing_waits() -> Iterator[None]:
    """What torch has been asked for is done; from here on it refuses whatever waits for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def clean(device: torch.device) -> bool:
    """Forget what was compiled, as torch compiles no more than a few networks of one class, and free memory.

    Returns:
        Whether the device still computes: after some faults a GPU does nothing more for its process.
    """
    if "torch._dynamo" in sys.modules:  # its import takes seconds
        torch.compiler.reset()
    gc.collect()
    if device.type != "cuda":
        return True
    try:
        torch.cuda.empty_cache()
        torch.zeros(1, device=device).item()
    except RuntimeError:
        return False
    return True


def _close(found: float, expected: float, tolerance: float, what: str) -> None:
    assert abs(found - expected) <= tolerance, f"{what}: {found}, not {expected} ± {tolerance}"


def convolutions(bench: Bench) -> None:
    """Right in every precision and layout, at the whole patch."""
    session, cuda = bench.session(), bench.device.type == "cuda"
    last = torch.channels_last if len(bench.plan[1]) == 2 else torch.channels_last_3d
    for precision, layout in itertools.product(
        ("fp32", "bf16", "fp16") if cuda else ("fp32", "bf16"), (torch.contiguous_format, last)
    ):
        assert check_convolutions(session.network, bench.plan[1], precision, bench.device, layout)


def _losses(bench: Bench, steps: int, **recipe: Any) -> list[float]:
    session = bench.session(**recipe)
    batch = bench.batch(bench.session(augmentation="none"))
    return [iteration.train_step(session, *batch).item() for _ in range(steps)]


def precisions(bench: Bench) -> None:
    """A first loss, and one after a few steps, in half precision as in fp32."""
    expected = _losses(bench, 5, precision="fp32", compile=False)
    for precision in ("fp16", "bf16") if bench.device.type == "cuda" else ("bf16",):
        found = _losses(bench, 5, precision=precision, compile=False)
        _close(found[0], expected[0], 0.02, f"the first loss in {precision}")
        _close(found[-1], expected[-1], 0.1, f"the fifth loss in {precision}")
    assert expected[-1] < expected[0], "the loss falls"


def compiled(bench: Bench) -> None:
    """Network and loss in one graph give eager's losses."""
    expected, found = (_losses(bench, 3, precision="fp32", compile=compile) for compile in (False, True))
    for step, (a, b) in enumerate(zip(found, expected, strict=True)):
        _close(a, b, 5e-3, f"loss {step} of the compiled step")


def augmentation(bench: Bench) -> None:
    """A GPU's patches and targets are those of the CPU, but for random fields, which are its own."""
    config = replace(augmentation_set("default"), noise=None)
    scales = [[0.5**stage] * len(bench.plan[1]) for stage in range(3)]
    augmenter = Augmenter(config=config, patch_size=tuple(bench.plan[1]), deep_supervision_scales=scales)
    session = bench.session()
    session.sampler.placements = augmenter.placements
    for number in range(8):
        made = []
        for device in (torch.device("cpu"), bench.device):
            prepared = BatchPreparation(augmenter, device, torch.contiguous_format)(session.sampler.batch(0, number))
            made.append((prepared[0].cpu(), [target.cpu() for target in prepared[1]]))
        (expected, labels), (found, found_labels) = made
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)
        for a, b in zip(found_labels, labels, strict=True):
            # A tie of float32 sums may go either way.
            assert (a != b).float().mean() < 5e-3


def fused_norm(bench: Bench) -> None:
    """Fused kernels give torch's values and gradients, of odd shapes too; steps with them its losses, and wait for nothing."""
    normalize_by(torch.nn.Identity(), "kernels")  # registers the operator
    for shape, dtype in itertools.product(ODD_SHAPES, fused_norm_check.ALLOWED):
        for what, error in fused_norm_check.errors(shape, dtype, bench.device):
            assert error <= fused_norm_check.ALLOWED[dtype], f"{shape}, {dtype}, {what}: {error}"
    for precision in ("fp32", "fp16", "bf16"):
        _same_losses(bench, precision, (CHANNELS_LAST, FUSED, COMPILED), compile=False)


def fused_norm_compiled(bench: Bench) -> None:
    """The same of compiled steps, in what a training has by default."""
    _same_losses(bench, "fp16", (CHANNELS_LAST, FUSED, COMPILED), compile=True)


def fused_norm_compiled_otherwise(bench: Bench) -> None:
    """The same in the other precisions."""
    for precision in ("fp32", "bf16"):
        _same_losses(bench, precision, (CHANNELS_LAST, FUSED, COMPILED), compile=True)


def _same_losses(bench: Bench, precision: str, layouts: Sequence[str], *, compile: bool) -> None:
    """Five steps in each layout give the first one's losses; the last step waits for nothing."""
    losses = {}
    for name in layouts:
        clean(bench.device)
        session = bench.session(precision=precision, compile=compile)
        session.lay_out(MemoryLayout(name))
        batch = bench.batch(bench.session(augmentation="none"))
        found = [iteration.train_step(session, *batch) for _ in range(4)]  # what is made once, or compiled, is made
        with refusing_waits():
            found.append(iteration.train_step(session, *batch))
        losses[name] = [loss.item() for loss in found]
    for name in layouts[1:]:
        for a, b in zip(losses[name], losses[layouts[0]], strict=True):
            _close(a, b, 5e-3 if precision == "fp32" else 0.05, f"a loss in {precision}, {name}, compile {compile}")


def no_waiting(bench: Bench) -> None:
    """Whole steps with their augmentation, in each precision, while torch refuses whatever waits for the GPU."""
    for precision in ("fp16", "bf16"):
        clean(bench.device)
        session = bench.session(precision=precision)
        with session.loader:
            made = batches(session, session.sampler, session.augmenter, 12)
            for batch in itertools.islice(made, 4):  # what is made once, or compiled, is made
                iteration.train_step(session, *batch)
            with refusing_waits():
                for batch in made:
                    iteration.train_step(session, *batch)


def group_of_one(bench: Bench) -> None:
    """A training of one rank in a process group (NCCL; without a GPU gloo) comes to the same end by the ways of several ranks."""
    recipe = {"epochs": 1, "iterationsPerEpoch": 3, "gradientClip": 1.0, "compile": False}

    def trained(name: str) -> tuple[list[float], dict[str, torch.Tensor]]:
        made = data.setup(bench.preprocessed, bench.results / name, bench.plan, recipe=recipe, device=bench.device.type, workers=0)
        saved = torch.load(train(made).checkpoint, map_location="cpu", weights_only=False)
        return [*saved["logging"]["train_losses"], *saved["logging"]["val_losses"]], saved["network_weights"]

    losses, weights = trained("alone")
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    backend = "cpu:gloo,cuda:nccl" if bench.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert distributed.active()
        together, found = trained("together")
    finally:
        dist.destroy_process_group()
    for number, (a, b) in enumerate(zip(together, losses, strict=True)):
        _close(a, b, 1e-4, f"loss {number} in a group of one")
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def out_of_memory(bench: Bench) -> None:
    """A network that does not fit is told with its patch and batch."""
    network, patch, _ = data.PLANS["3d_fullres"]
    plan, recipe = (network, patch, 64), {"augmentation": "none", "compile": False}  # compiling takes a minute, and shows no more
    huge = data.setup(bench.preprocessed, bench.results / "huge", plan, recipe=recipe, device="cuda", workers=0)
    said = ""
    try:
        train(huge)
    except GpuOutOfMemory as fault:
        said = fault.message
    assert "batch 64" in said, said or "64 patches fitted"
    torch.cuda.empty_cache()


def resumption(bench: Bench) -> None:
    """A training that went on from a checkpoint ends as one in one piece, to the last bit."""

    def trained(name: str, epochs: int, resume: bool) -> dict[str, Any]:
        recipe = {"epochs": epochs, "iterationsPerEpoch": 3, "validationIterations": 1, "schedule": {"name": "constant"}}
        made = data.setup(
            bench.preprocessed,
            bench.results / name,
            bench.plan,
            recipe=recipe,
            device=bench.device.type,
            workers=0,
            deterministic=True,
            resume=resume,
        )
        result = train(made)
        return torch.load(result.checkpoint, map_location="cpu", weights_only=False)["network_weights"]

    whole = trained("whole", 2, False)
    trained("parts", 1, False)
    resumed = trained("parts", 2, True)
    different = [name for name, value in whole.items() if not torch.equal(value, resumed[name])]
    assert not different, f"other weights after a resumption: {different[:3]}"


Check = Callable[[Bench], None]
FIRST: tuple[Check, ...] = (no_waiting, convolutions, augmentation, precisions, fused_norm, fused_norm_compiled)
"""Before anything is measured."""
LAST: tuple[Check, ...] = (group_of_one, out_of_memory, resumption, compiled, fused_norm_compiled_otherwise)
ANYWHERE: tuple[Check, ...] = (convolutions, precisions, group_of_one)
"""Those that a CPU can try too."""
BY_NAME = {check.__name__: check for check in (*FIRST, *LAST)}
