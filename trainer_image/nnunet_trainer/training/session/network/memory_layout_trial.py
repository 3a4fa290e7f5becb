"""Which memory layout is fastest on a GPU: a short trial at the start of a training says it.

Where channels lie last, instances may be normalized by torch, by `fused_norm`, or, compiled, by `channels_last.instance_norm`.
Compiled, torch's own still writes each result in both layouts, and each gradient; the other two do not, but fused kernels stay
apart from what comes before and after, which is compiled together with an expression. As eager times say nothing of all this, a
training that uses torch.compile is tried compiled, if it is long enough for that.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nnunet_trainer.architecture import fused_norm_check
from nnunet_trainer.architecture.blocks import normalize_by, with_instance_norm
from nnunet_trainer.contract.faults import means_gpu_out_of_memory

from ..optimization.criterion import outputs
from ..optimization.precision import Precision
from .memory_layout import CHANNELS_LAST, COMPILED, FUSED, NORMALIZED_BY, OWN, MemoryLayout, restored

WARM_UP, TIMED = 3, 5
"""Steps of a trial: in the first ones cuDNN looks for its fastest kernels, and what is compiled is compiled."""
WORTH_COMPILING = 50_000
"""Steps of a training, from which on its candidates are compiled, which may take a minute each: 200 epochs of nnU-Net's."""
AGREES = 0.05
"""Relative difference of a loss, or of its gradients' norm, between a network that normalizes otherwise and torch's own."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate's: seconds of a step, its loss, the 2-norm of its gradients."""

    seconds: float
    loss: float
    gradient: float

    def agrees(self, other: Trial) -> bool:
        """Whether both computed the same, but for rounding; NaN agrees with nothing."""
        pairs = (self.loss, other.loss), (self.gradient, other.gradient)
        return all(math.isclose(a, b, rel_tol=AGREES) for a, b in pairs)


def chosen(
    network: nn.Module,
    shape: Sequence[int],
    precision: Precision,
    device: torch.device,
    *,
    saved: Any = None,
    fixed: bool = False,
    compiles: bool = False,
    steps: int = 0,
) -> MemoryLayout:
    """The layout for a training.

    Args:
        network: of the training; it is not changed.
        shape: of a rank's batch (b, c, *patch).
        precision: of the training.
        device: that trains; on a CPU nothing is tried.
        saved: what a checkpoint holds of an earlier choice: it stays as long as the GPU is of the same kind.
        fixed: choose without a clock, so that the same training again chooses the same.
        compiles: whether the training uses torch.compile.
        steps: of the whole training.
    """
    if device.type != "cuda":
        return MemoryLayout()
    if fixed:
        again = restored(saved)
        return again if again.name in OWN else MemoryLayout()
    kind = torch.cuda.get_device_name(device)
    known = restored(saved) if isinstance(saved, dict) and saved.get("device") == kind else None
    if known is not None and known.name in OWN:
        return known
    compiled = compiles and steps >= WORTH_COMPILING
    about = network, shape, precision, device
    try:
        # What will be compiled is tried so, or not at all: a compiler may fail of it.
        names, left_out = _candidates(*about, compiled=compiled) if compiled or not compiles else (OWN, {})
        if known is not None and known.name in names:
            return known
        trials = _trials(names, left_out, *about, compiled=compiled)
    except _NotCopied:
        return MemoryLayout()
    except RuntimeError as error:
        if not means_gpu_out_of_memory(error):
            raise
        return MemoryLayout()  # a step without torch.compile needs more memory than the training's own
    finally:
        torch.cuda.empty_cache()
    seconds = {name: trial.seconds for name, trial in trials.items()}
    return MemoryLayout(min(seconds, key=lambda name: seconds[name]), kind, seconds, compiled, left_out)


def _candidates(
    network: nn.Module, shape: Sequence[int], precision: Precision, device: torch.device, *, compiled: bool
) -> tuple[Sequence[str], dict[str, str]]:
    """Names of layouts for this network, and why others are none of them."""
    if not with_instance_norm(network):
        return OWN, {}
    layout = MemoryLayout(FUSED).format(len(shape) - 2)
    twin = _copied(network).eval().to(memory_format=layout)  # type: ignore[call-overload]
    data = torch.zeros(tuple(shape), device=device).contiguous(memory_format=layout)
    problem = fused_norm_check.problem(twin, data, precision.autocast())
    names = [name for name in NORMALIZED_BY if (name != FUSED or problem is None) and (name != COMPILED or compiled)]
    return names, {} if problem is None else {FUSED: problem}


def _trials(
    names: Sequence[str],
    left_out: dict[str, str],
    network: nn.Module,
    shape: Sequence[int],
    precision: Precision,
    device: torch.device,
    *,
    compiled: bool,
) -> dict[str, Trial]:
    """Those that compute what torch's own normalization does; of others `left_out` says why not."""
    found: dict[str, Trial] = {}
    for name in names:
        try:
            found[name] = tried(name, network, shape, precision, device, compiled=compiled)
        except Exception as error:
            if name in OWN or means_gpu_out_of_memory(error):
                raise
            left_out[name] = fused_norm_check.reason(error)
            continue
        own, other = found[CHANNELS_LAST], found[name]
        if name not in OWN and not other.agrees(own):
            left_out[name] = (
                f"loss {other.loss:.4g}, gradient {other.gradient:.4g} where torch finds {own.loss:.4g}, {own.gradient:.4g}"
            )
            del found[name]
    return found


class _NotCopied(Exception):
    """Layers of a plug-in may hold what cannot be copied, such as a weight that was computed: they train all the same."""


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise _NotCopied from error


def tried(
    name: str,
    network: nn.Module,
    shape: Sequence[int],
    precision: Precision,
    device: torch.device,
    *,
    compiled: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Forward and backward in one layout, on noise and a copy of the network.

    Args:
        name: of the layout.
        network: is copied.
        shape: (b, c, *patch).
        precision: of the training.
        device: where the network is.
        compiled: use torch.compile; what was compiled before is forgotten then, lest one layout's strides make another's dynamic.
        clock: read when the device has done its work.
    """
    layout = MemoryLayout(name).format(len(shape) - 2)
    twin = _copied(network).train().to(memory_format=layout)  # type: ignore[call-overload]
    normalize_by(twin, NORMALIZED_BY[name])
    for module in twin.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # those over ranks would wait for the others, who try nothing
    runner = torch.compile(twin) if compiled else twin
    begun = clock()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)  # what a network draws is alike
            data = torch.randn(tuple(shape), device=device).contiguous(memory_format=layout)
            for step in range(WARM_UP + TIMED):
                if step == WARM_UP:
                    _done(device)
                    begun = clock()
                with precision.autocast():
                    # By the root, so that gradients are numbers of fp16, of outputs of any size.
                    losses = [output.float().square().sum() / output.numel() ** 0.5 for output in outputs(runner(data))]
                    loss = torch.stack(losses).sum()
                loss.backward()
            _done(device)
            seconds = (clock() - begun) / TIMED
        gradients = [p.grad.norm() for p in twin.parameters() if p.grad is not None]
        return Trial(seconds, loss.item(), torch.stack(gradients).norm().item())
    finally:
        if compiled:
            torch.compiler.reset()


def _done(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
