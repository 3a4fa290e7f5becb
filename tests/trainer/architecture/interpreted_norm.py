"""The kernels of `fused_norm` by Triton's interpreter, on CPU tensors: run as a script with TRITON_INTERPRET=1; prints JSON.

Tiles are small, so that small tensors have several of them, and several parts.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
from nnunet_trainer.architecture import channels_last, fused_norm_check
from nnunet_trainer.architecture.blocks import ConvBlock, Ops, normalize_by
from nnunet_trainer.training.loop import beginning  # noqa: F401  what a training imports
from torch import Tensor, nn

LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}
FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16
CASES = [
    ((2, 3, 7, 5), FP32, 1.0, 0.5, 3),
    ((2, 3, 7, 5), FP16, 0.01, 0.5, 3),
    ((2, 3, 7, 5), BF16, 0.2, 0.5, 3),
    ((1, 33, 5, 4), FP32, 0.01, 0.5, 3),
    ((1, 33, 5, 4), BF16, 1.0, 0.5, 3),
    ((3, 8, 5, 4, 6), FP32, 0.01, 300.0, 3),
    ((1, 2, 1, 5, 1), FP32, 0.01, 0.5, 3),
    ((2, 20, 3, 11, 1), FP16, 1.0, 0.5, 3),
    ((1, 16, 8, 4, 4), BF16, 0.01, 0.5, 3),
    ((1, 16, 8, 4, 4), FP32, 0.01, 0.5, 3),
    ((1, 16, 9, 6, 5), FP32, 0.01, 2.0, 40),
]
"""Shape, number format, slope, mean, most parts; of the last one the parts' sums fill more than a tile."""


def passed(x: Tensor, weight: Tensor, bias: Tensor, after: Tensor, slope: float, *, fused: bool) -> list[Tensor]:
    """The output, and the gradients of input and weights."""
    x, weight, bias = (each.detach().requires_grad_() for each in (x, weight, bias))
    if fused:
        result = torch.ops.nnunet.instance_norm(x, weight, bias, 1e-5, slope)[0]
    else:
        result = F.leaky_relu(F.instance_norm(x.contiguous(), weight=weight, bias=bias), slope)
    return [result.detach(), *torch.autograd.grad(result, [x, weight, bias], after)]


def errors(shape: tuple[int, ...], dtype: torch.dtype, slope: float, mean: float) -> dict[str, Any]:
    """Of ours and torch's own, to torch's in float64; and whether layout and number formats are as torch's."""
    torch.manual_seed(1)
    x = (torch.randn(shape) + mean).to(dtype).contiguous(memory_format=LAYOUT[len(shape)])
    weight, bias, after = torch.rand(shape[1]) + 0.5, torch.randn(shape[1]), torch.randn(shape).to(dtype)
    exact = passed(*(each.double() for each in (x, weight, bias, after)), slope, fused=False)
    ours, theirs = (passed(x, weight, bias, after, slope, fused=fused) for fused in (True, False))

    def far(found: list[Tensor]) -> list[float]:
        return [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]

    return {
        "ours": far(ours),
        "torch": far(theirs),
        "alike": [a.dtype == b.dtype and a.shape == b.shape for a, b in zip(ours, theirs, strict=True)],
        "channels_last": [each.is_contiguous(memory_format=LAYOUT[len(shape)]) for each in ours[:2]],
    }


def block(*, normalized_by: channels_last.NormalizedBy) -> list[Tensor]:
    """Output and gradients of convolution blocks, as on a GPU."""
    torch.manual_seed(2)
    ops = Ops(
        dimension=3,
        bias=True,
        norm=nn.InstanceNorm3d,
        norm_kwargs={"affine": True},
        dropout_kwargs={},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    network = nn.Sequential(ConvBlock(ops, 2, 6, 3), ConvBlock(ops, 6, 5, 3, nonlin=False)).to(memory_format=LAYOUT[5])
    x = torch.randn(2, 2, 4, 3, 5).contiguous(memory_format=LAYOUT[5])
    normalize_by(network, normalized_by)
    result = network(x)
    return [result.detach(), *torch.autograd.grad(result.square().sum(), list(network.parameters()))]


def problems() -> dict[str, str | None]:
    """What the check before a trial says: of a network as it is; where the kernels are wrong."""
    convolution = nn.Conv2d(1, 3, 1)
    ops = Ops(dimension=2, norm=nn.InstanceNorm2d, norm_kwargs={"affine": True}, dropout_kwargs={}, nonlin_kwargs={})
    network, data = nn.Sequential(convolution, ConvBlock(ops, 3, 3, 3)), torch.randn(2, 1, 6, 5)
    channels_last.normalizes = lambda *_: False  # the CPU's own
    found = {"right": fused_norm_check.problem(network, data, torch.autocast("cpu", torch.bfloat16))}
    right = torch.ops.nnunet.instance_norm
    for name, wrong in (
        ("wrong values", lambda *given: (right(*given)[0] * 1.1,)),
        ("another format", lambda *given: (right(*given)[0].double(),)),
    ):
        torch.ops.nnunet.instance_norm = wrong
        found[name] = fused_norm_check.problem(network, data, torch.autocast("cpu", torch.bfloat16))
    torch.ops.nnunet.instance_norm = right
    return found


def main() -> None:
    found: dict[str, Any] = {"imported": "triton" in sys.modules}
    from nnunet_trainer.architecture import fused_norm

    fused_norm.TILE, fused_norm.WIDEST, fused_norm.LEAST_TILES, found["errors"] = 256, 16, 1, []
    for *case, fused_norm.PARTS in CASES:
        found["errors"].append(errors(*case))
    for name, normalizes in (("normalizes", lambda *_: False), ("normalizes_on_gpu", lambda module, _: _is_norm(module))):
        setattr(channels_last, name, normalizes)  # as of tensors on a GPU
    ways = {way: block(normalized_by=way) for way in ("torch", "kernels", "expression")}
    found["blocks"] = {
        way: max(float((a - b).abs().max()) for a, b in zip(ways[way], ways["torch"], strict=True))
        for way in ("kernels", "expression")
    }
    given = [torch.randn(2, 3, 4, 5).contiguous(memory_format=LAYOUT[4]).requires_grad_(), *(torch.ones(3) for _ in range(2))]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    found["operator"] = torch.library.opcheck(torch.ops.nnunet.instance_norm.default, (*given, 1e-5, 0.01), test_utils=checks)
    found["problems"] = problems()
    print(json.dumps(found))


def _is_norm(module: nn.Module) -> bool:
    return channels_last.is_instance_norm(module)


if __name__ == "__main__":
    main()
