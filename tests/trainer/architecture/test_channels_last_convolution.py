"""Convolutions to few channels, two voxels at once: torch's values and gradients, and where torch does them itself."""

from __future__ import annotations

import pytest
import torch
from nnunet_trainer.architecture import channels_last, channels_last_convolution
from nnunet_trainer.architecture.channels_last_convolution import PairedConvolution, is_paired
from torch import Tensor, nn

LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}


def convolution(channels: int, out: int, kernel: tuple[int, ...], **others: object) -> nn.Module:
    padding = tuple(size // 2 for size in kernel)
    kind = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    return kind(channels, out, kernel, **{"padding": padding, **others}).to(memory_format=LAYOUT[len(kernel) + 2])


def given(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=LAYOUT[len(shape)])


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("out", [1, 5, 8])
@pytest.mark.parametrize("channels", [1, 3, 8, 16])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (3, 3, 3), (1, 3, 3), (5, 1, 3)], ids=str)
def test_values_and_gradients_are_those_of_torch(kernel: tuple[int, ...], channels: int, out: int, bias: bool) -> None:
    torch.manual_seed(1)
    module = convolution(channels, out, kernel, bias=bias).double()
    x = given(2, channels, *(5, 4, 6)[-len(kernel) :]).double().requires_grad_()
    after = torch.randn(2, out, *x.shape[2:], dtype=torch.float64)
    found = PairedConvolution.apply(x, module.weight, module.bias, module.padding)
    assert found.is_contiguous(memory_format=LAYOUT[x.ndim])
    wanted, inputs = module(x), [x, *module.parameters()]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(*(torch.autograd.grad(each, inputs, after) for each in (found, wanted)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    module, x = convolution(3, 8, (3, 3)), given(2, 3, 4, 6).requires_grad_()
    tensors = {"x": x, "weight": module.weight, "bias": module.bias}
    tensors[frozen].requires_grad_(False)
    PairedConvolution.apply(*tensors.values(), module.padding).sum().backward()
    assert {name for name, tensor in tensors.items() if tensor.grad is None} == {frozen}


def test_an_activation_in_place_follows() -> None:
    torch.manual_seed(2)
    modules, x = [convolution(8, 8, (3, 3, 3)), nn.LeakyReLU(inplace=True)], given(1, 8, 4, 4, 6).requires_grad_()
    gradients = [
        torch.autograd.grad(run(x).square().sum(), x)[0]
        for run in (lambda x: channels_last.run(modules, x), nn.Sequential(*modules))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", [(2, 8, 4, 6), (1, 1, 3, 4, 6)], ids=str)
def test_it_is_chosen_of_few_channels_where_vectors_are_wide(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = convolution(shape[1], 8, (3,) * (len(shape) - 2)), given(*shape)
    for wide in (True, False):
        monkeypatch.setattr(channels_last_convolution, "WIDE_VECTORS", wide)
        assert is_paired(module, x) is wide


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (convolution(8, 9, (3, 3)), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 3)), given(2, 8, 4, 5)),
        (convolution(8, 8, (3, 3), stride=2), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 3), dilation=(2, 1)), given(2, 8, 6, 6)),
        (convolution(8, 8, (3, 3), groups=2), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 3), padding_mode="circular"), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 3), padding="same"), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 1)), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 5)), given(2, 8, 4, 6)),
        (convolution(8, 8, (3, 3)), torch.randn(2, 8, 4, 6)),
        (convolution(8, 8, (3, 3)).double(), given(2, 8, 4, 6).double()),
        (nn.ConvTranspose2d(8, 8, 3, padding=1), given(2, 8, 4, 6)),
    ],
    ids=[
        "channels",
        "odd",
        "stride",
        "dilation",
        "groups",
        "circular",
        "same",
        "kernel 1",
        "kernel 5",
        "contiguous",
        "double",
        "transposed",
    ],
)
def test_others_are_left_to_torch(module: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_last_convolution, "WIDE_VECTORS", True)
    assert not is_paired(module, x)
    torch.testing.assert_close(channels_last.run([module], x), module(x))


def test_under_autocast_torch_convolves_in_the_lower_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_last_convolution, "WIDE_VECTORS", True)
    module, x = convolution(8, 8, (3, 3)), given(2, 8, 4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert channels_last.run([module], x).dtype is torch.bfloat16
