"""The recipe's optimizer on the device that trains: one kernel for all parameters where torch has one."""

from __future__ import annotations

from typing import Any

import torch

FUSED: tuple[type[torch.optim.Optimizer], ...] = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Only these themselves: a class derived from one may do something else in its step."""


def fuse(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Let an optimizer that was just made take its steps on a GPU with one kernel, which waits for nobody, with a scaler either.

    The numbers on a CPU stay those of torch's loop over parameters.
    """
    if device.type != "cuda" or type(optimizer) not in FUSED:
        return
    if any(group.get(name) for group in optimizer.param_groups for name in ("dampening", "differentiable")):
        return  # of a plug-in: a momentum of 0 would change dampening's first step, and fused kernels have no gradient
    optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]
    for group in optimizer.param_groups:
        group.update(fused=True, foreach=False)
    begin_momentum(optimizer)


def begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give each parameter of SGD a momentum of 0, from which the first step makes what it makes without one.

    torch's fused kernel leaves the memory of new ones as it was found when a scaler skips the first step, and refuses parameters of
    which only some have one, as when frozen ones begin to train.
    """
    if type(optimizer) is not torch.optim.SGD:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            state = optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def load(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load a state dict of any device: which kernel takes the steps, and how its tensors lie in memory, stay this optimizer's.

    Raises:
        ValueError: it is of other parameters.
    """
    own = [{key: group[key] for key in ("fused", "foreach") if key in group} for group in optimizer.param_groups]
    if len(own) == len(saved["param_groups"]):
        groups = [group | kept for group, kept in zip(saved["param_groups"], own, strict=True)]
        saved = {**saved, "param_groups": groups}
    optimizer.load_state_dict(saved)
    align(optimizer)
    if any(group.get("fused") for group in optimizer.param_groups):
        begin_momentum(optimizer)


def align(optimizer: torch.optim.Optimizer) -> None:
    """Lay each tensor of the state out in memory as its parameter: fused kernels refuse others."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
