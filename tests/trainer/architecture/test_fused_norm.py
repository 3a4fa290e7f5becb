"""The fused normalization for GPUs, without one: its kernels by Triton's interpreter, and that they compile."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer.architecture import channels_last, fused_norm_check
from nnunet_trainer.architecture.blocks import ConvBlock, Ops, normalize_by, with_instance_norm
from torch import nn

from .interpreted_norm import CASES

pytest.importorskip("triton", reason="NOT RUN: there is no Triton")
pytestmark = pytest.mark.xdist_group("fused-norm")  # its kernels are interpreted once, not by each worker

EXACT = {torch.float32: 3e-7, torch.float16: 4e-4, torch.bfloat16: 5e-3}
"""Relative error (2-norms) of a result; the interpreter cuts bfloat16 off, which a GPU rounds."""


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    """What the script found; Triton reads the variable once, when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("interpreted_norm.py")
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr[-4000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: " ".join(map(str, CASES[number])))
def test_values_and_gradients_are_those_of_torch(number: int, interpreted: dict[str, Any]) -> None:
    found, (_, dtype, _, mean, _) = interpreted["errors"][number], CASES[number]
    assert all(found["alike"])
    assert all(found["channels_last"])
    for part, (ours, torchs) in enumerate(zip(found["ours"], found["torch"], strict=True)):
        allowed = EXACT[dtype] if part < 2 else EXACT[torch.float32]  # weights have gradients in float32
        assert ours <= max(allowed, 2 * torchs), f"{part}: {ours}, torch's {torchs}, mean {mean}"


def test_blocks_normalize_by_it_where_they_are_told_to(interpreted: dict[str, Any]) -> None:
    assert max(interpreted["blocks"].values()) < 1e-4


def test_it_is_an_operator_of_torch(interpreted: dict[str, Any]) -> None:
    assert set(interpreted["operator"].values()) == {"SUCCESS"}


def test_a_training_does_not_import_triton(interpreted: dict[str, Any]) -> None:
    assert not interpreted["imported"]


def test_it_is_compared_with_torch_before_it_is_used(interpreted: dict[str, Any]) -> None:
    found = interpreted["problems"]
    assert found["right"] is None
    assert found["wrong values"] == "of 2×3×6×5 in bfloat16, the output differs from torch's by 9.69 % (2 % is allowed)"
    assert "torch.float64, not torch.bfloat16" in found["another format"]


def network() -> nn.Module:
    ops = Ops(dimension=2, norm=nn.InstanceNorm2d, norm_kwargs={"affine": True}, dropout_kwargs={}, nonlin_kwargs={})
    return nn.Sequential(ConvBlock(ops, 2, 4, 3), nn.InstanceNorm2d(4, affine=True))


def test_without_triton_it_says_so_and_the_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "nnunet_trainer.architecture.fused_norm", raising=False)
    net = network()
    said = fused_norm_check.problem(net, torch.randn(1, 2, 4, 4), torch.autocast("cpu", enabled=False))
    assert said is not None
    assert said.startswith("ModuleNotFoundError: import of triton halted")
    assert [block.normalized_by for block in with_instance_norm(net)] == ["torch"]


def test_only_blocks_of_ours_with_torchs_own_normalization_change() -> None:
    class Other(nn.InstanceNorm2d):
        pass

    net = network()
    assert with_instance_norm(net) == [net[0]]
    normalize_by(net, "expression")
    assert net[0].normalized_by == "expression"
    net[0].norm = Other(4, affine=True)
    assert with_instance_norm(net) == []


@dataclass
class OnGpu:
    """A tensor that says it is there."""

    tensor: torch.Tensor
    device: torch.device = field(default_factory=lambda: torch.device("cuda"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tensor, name)


@pytest.mark.parametrize(
    ("dtype", "layout", "fits"),
    [
        (torch.float16, torch.channels_last, True),
        (torch.bfloat16, torch.channels_last, True),
        (torch.float32, torch.channels_last, True),
        (torch.float64, torch.channels_last, False),
        (torch.float16, torch.contiguous_format, False),
    ],
    ids=str,
)
def test_of_a_gpu_it_takes_what_lies_channels_last_in_a_known_format(
    dtype: torch.dtype, layout: torch.memory_format, fits: bool
) -> None:
    x, norm = torch.zeros(2, 3, 5, 4, dtype=dtype).contiguous(memory_format=layout), nn.InstanceNorm2d(3, affine=True)
    assert channels_last.normalizes_on_gpu(norm, OnGpu(x)) is fits
    for other in (
        nn.InstanceNorm2d(3),
        nn.BatchNorm2d(3),
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        norm.half(),
    ):
        assert not channels_last.normalizes_on_gpu(other, OnGpu(x))
    assert not channels_last.normalizes_on_gpu(norm, x)
    assert not channels_last.normalizes_on_gpu(norm, OnGpu(x[:, :, :1, :1]))


@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="NOT RUN: TRITON_INTERPRET is set")
def test_its_kernels_compile_for_a_gpu() -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    made = importlib.import_module("nnunet_trainer.architecture.fused_norm")
    numbers = dict.fromkeys(["voxels", "channels", "tiles", "parts", "voxels_a_part"], "i32") | {"eps": "fp32", "slope": "fp32"}
    halves = dict.fromkeys(["x", "given", "result"], "*fp16")
    for kernel in (made._statistics, made._combine, made._normalize, made._gradient_sums, made._input_gradient):
        tiles = {name: 32 for name in kernel.arg_names if name.startswith("TILE")}
        signature = {name: (numbers | halves).get(name, "*fp32") for name in kernel.arg_names} | dict.fromkeys(tiles, "constexpr")
        constants = {(kernel.arg_names.index(name),): value for name, value in tiles.items()}
        found = compile(ASTSource(kernel, signature, constexprs=constants), target=GPUTarget("cuda", 90, 32))
        assert found.asm["cubin"]
