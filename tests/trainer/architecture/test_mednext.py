"""MedNeXt: the published checkpoints' keys and sizes, and what the paper says of its blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nnunet_trainer import architecture
from nnunet_trainer.architecture.mednext import MedNeXtBlock
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.planning.architectures import ARCHITECTURES
from nnunet_trainer.planning.planners.topology import Topology


class Wanted:
    """What a planner wants of a configuration."""

    two = False

    def __init__(self, base: int = 32) -> None:
        self.base = base

    def features(self, stages: int) -> list[int]:
        return [self.base * 2**i for i in range(stages)]

    def convolutions(self, stages: int) -> tuple[list[int], list[int]]:
        return [2] * stages, [2] * (stages - 1)


def plans(size: str = "S", kernel: int = 3, *, base: int = 32, strides: Any = None, kernels: Any = None) -> dict[str, Any]:
    strides = strides or [[1, 1, 1], *[[2, 2, 2]] * 4]
    axes = len(strides[0])
    topology = Topology.of([64] * axes, strides, kernels or [[3] * axes] * len(strides))
    return ARCHITECTURES["MedNeXt"].make(size=size, kernel=kernel).describe(Wanted(base), topology)


def built(*arguments: Any, supervised: bool = True, **options: Any) -> Any:
    return architecture.build(plans(*arguments, **options), 1, 3, supervised)


# The paper: millions of parameters.
@pytest.mark.parametrize(
    ("size", "kernel", "millions"),
    [("S", 3, 5.6), ("B", 3, 10.5), ("M", 3, 17.6), ("L", 3, 61.8)],
)
def test_the_papers_sizes(size: str, kernel: int, millions: float) -> None:
    with torch.device("meta"):
        network = built(size, kernel)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_published_keys() -> None:
    with torch.device("meta"):
        state = {key: tuple(value.shape) for key, value in built().state_dict().items()}
    blocks = [f"enc_block_{i}.{j}" for i in range(4) for j in (0, 1)] + [f"dec_block_{i}.{j}" for i in range(4) for j in (0, 1)]
    blocks += ["bottleneck.0", "bottleneck.1", *(f"{way}_{i}" for way in ("down", "up") for i in range(4))]
    expected = {f"{block}.{part}.{what}" for block in blocks for part in ("conv1", "norm", "conv2", "conv3") for what in WHAT}
    expected |= {f"{way}_{i}.res_conv.{what}" for way in ("down", "up") for i in range(4) for what in WHAT}
    expected |= {f"out_{i}.conv_out.{what}" for i in range(5) for what in WHAT} | {"stem.weight", "stem.bias", "dummy_tensor"}
    assert set(state) == expected
    assert state["stem.weight"] == (32, 1, 1, 1, 1)
    assert state["down_0.conv1.weight"] == (32, 1, 3, 3, 3)
    assert state["down_0.conv3.weight"] == (64, 64, 1, 1, 1)
    assert state["up_3.conv1.weight"] == (512, 1, 3, 3, 3)
    assert state["up_3.res_conv.weight"] == (512, 256, 1, 1, 1)
    assert state["out_4.conv_out.weight"] == (512, 3, 1, 1, 1)
    assert state["dummy_tensor"] == (1,)


WHAT = ("weight", "bias")


@pytest.mark.parametrize("strides", [[[1, 1, 1], [1, 2, 2], [2, 2, 2]], [[1, 1], [2, 2], [2, 1]]])
@pytest.mark.parametrize("kernel", [3, 5])
def test_outputs_at_each_resolution(strides: list[list[int]], kernel: int) -> None:
    axes = len(strides[0])
    network = built(kernel=kernel, base=2, strides=strides, kernels=[[1, *[3] * (axes - 1)], *[[3] * axes] * 2])
    patch, sizes = [8, 16, 16][-axes:], []
    for row in strides:
        patch = [n // s for n, s in zip(patch, row, strict=True)]
        sizes.append((2, 3, *patch))
    x = torch.randn(2, 1, *[8, 16, 16][-axes:])
    outputs = network(x)
    assert [tuple(o.shape) for o in outputs] == sizes
    network.deep_supervision = False
    torch.testing.assert_close(network(x), outputs[0])


def test_a_block_is_the_papers() -> None:
    """A depthwise convolution, a normalization of each channel, 1×1 expansion, GELU, 1×1 compression, the residual."""
    torch.manual_seed(0)
    block, x = MedNeXtBlock(3, 4, 4, 3, [3, 3, 3]), torch.randn(1, 4, 6, 6, 6)
    out = F.conv3d(x, block.conv1.weight, block.conv1.bias, padding=1, groups=4)
    mean, variance = out.mean((2, 3, 4), keepdim=True), out.var((2, 3, 4), keepdim=True, unbiased=False)
    out = (out - mean) / (variance + 1e-5).sqrt()
    out = F.gelu(F.conv3d(out, block.conv2.weight, block.conv2.bias))
    assert out.shape[1] == 12
    torch.testing.assert_close(block(x), x + F.conv3d(out, block.conv3.weight, block.conv3.bias), atol=1e-5, rtol=1e-4)


def test_up_begins_with_zeros() -> None:
    """A transposed convolution of stride 2 gives 2n - 1 voxels; the published network pads them at the beginning of each axis."""
    block = MedNeXtBlock(3, 4, 2, 2, [3, 3, 3], [1, 2, 2], up=True, resamples=True)
    out = block(torch.randn(1, 4, 3, 3, 3))
    assert tuple(out.shape) == (1, 2, 3, 6, 6)
    assert not out[..., 0, :].any()
    assert not out[..., 0].any()
    assert out[:, :, 0, 1:, 1:].any()


def test_checkpointed_blocks_change_no_number() -> None:
    torch.manual_seed(0)
    strides = [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    network, x = built("M", base=2, strides=strides), torch.randn(1, 1, 8, 8, 8)
    assert network.checkpointed
    gradients = []
    for network.checkpointed in (True, False):
        network.zero_grad()
        sum(o.square().mean() for o in network(x)).backward()
        gradients.append([None if p.grad is None else p.grad.clone() for p in network.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_stages": 1}, "n_stages is 1; a U-Net has at least 2"),
        ({"expansion_per_stage": [2, 2]}, "expansion_per_stage has 2 entries; 5 were expected"),
        ({"kernel_sizes": [[4, 4, 4]] * 5}, "MedNeXt's are odd"),
        ({"blocks": 2}, "argument of MedNeXt named 'blocks'"),
    ],
)
def test_arguments_that_do_not_fit(changes: dict[str, Any], said: str) -> None:
    content = plans()
    content["arch_kwargs"] |= changes
    with pytest.raises(BadConfiguration, match=said), torch.device("meta"):
        architecture.build(content, 1, 3, True)
