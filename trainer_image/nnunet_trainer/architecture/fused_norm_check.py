"""Whether `fused_norm` may stand for torch's normalization: they are compared on this GPU, at a network's own shapes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import normalize_by, with_instance_norm
from .memory_format import channels_last_format

ALLOWED = {torch.float32: 2e-3, torch.float16: 4e-3, torch.bfloat16: 2e-2}
"""Relative difference (2-norms); that of rounding is 2⁻¹¹ (fp16) and 2⁻⁸ (bf16) at most. In float32 it is that of the leaky ReLU's
gradient: about a millionth of the numbers lies so near to 0 that it rounds to another sign, and √10⁻⁶ = 10⁻³."""
SLOPE = 0.01


def problem(network: nn.Module, data: Tensor, autocast: AbstractContextManager[Any]) -> str | None:
    """Why it may not; None: it may.

    Args:
        network: as it is run.
        data: input (b, c, *patch), where the network is.
        autocast: in which the network runs.

    Raises:
        OutOfMemoryError: there is no place for what is compared.
    """
    try:
        importlib.import_module(f"{__package__}.fused_norm")  # what is compared; it fails where there is no Triton
        normalize_by(network, "torch")  # by which the shapes are seen
        for shape, dtype in _shapes(network, data, autocast):
            for what, error in errors(shape, dtype, data.device):
                if not error <= ALLOWED[dtype]:
                    where = f"{'×'.join(map(str, shape))} in {str(dtype).removeprefix('torch.')}"
                    return f"of {where}, {what} differs from torch's by {100 * error:.3g} % ({100 * ALLOWED[dtype]:g} % is allowed)"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of a compiler, a driver, a GPU that Triton does not know
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """An error in one line."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _shapes(network: nn.Module, data: Tensor, autocast: AbstractContextManager[Any]) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Of what its blocks normalize, each once."""
    found: dict[tuple[tuple[int, ...], torch.dtype], None] = {}

    def remember(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        if given[0].dtype in ALLOWED:
            found[tuple(given[0].shape), given[0].dtype] = None

    with ExitStack() as hooks:
        for block in with_instance_norm(network):
            hooks.callback(block.norm.register_forward_pre_hook(remember).remove)
        with torch.no_grad(), autocast:
            network(data)
    return list(found)


def errors(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Iterator[tuple[str, float]]:
    """What was compared with torch's, and its relative difference: ‖found - expected‖ / ‖expected‖.

    Args:
        shape: (b, c, *patch).
        dtype: of the input; weights are float32.
        device: that computes.
    """
    noise = torch.Generator(device).manual_seed(0)
    layout = channels_last_format(len(shape) - 2)
    data, upstream = (
        torch.randn(shape, device=device, dtype=dtype, generator=noise).contiguous(memory_format=layout) for _ in range(2)
    )
    data += 1
    weights = [0.5 + torch.rand(shape[1], device=device, generator=noise) for _ in range(2)]

    def passed(*, fused: bool) -> list[Tensor]:
        x, weight, bias = (each.detach().requires_grad_() for each in (data, *weights))
        if fused:
            result = torch.ops.nnunet.instance_norm(x, weight, bias, 1e-5, SLOPE)[0]
        else:
            result = F.leaky_relu(F.instance_norm(x, weight=weight, bias=bias, eps=1e-5), SLOPE)
        # Of one sample on a CPU torch misreads a gradient whose channels lie last.
        given = upstream if fused else upstream.contiguous()
        return [result.detach(), *torch.autograd.grad(result, (x, weight, bias), given)]

    names = "the output", "the input's gradient", "the weight's gradient", "the bias's gradient"
    for name, found, expected in zip(names, passed(fused=True), passed(fused=False), strict=True):
        if found.dtype != expected.dtype or found.shape != expected.shape:
            yield f"{name} ({found.dtype}, not {expected.dtype})", float("inf")
        else:
            yield name, float((found.float() - expected.float()).norm() / expected.float().norm())
