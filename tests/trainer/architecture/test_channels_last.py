"""Normalization and convolution without copies: torch's values and gradients, in the layout of its input."""

from __future__ import annotations

import pytest
import torch
from nnunet_trainer.architecture import channels_last, channels_last_norm
from torch import Tensor, nn

LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}
SHAPES = [(2, 3, 7, 5), (1, 4, 9, 8), (12, 2, 6, 4), (2, 3, 5, 4, 6), (1, 8, 3, 3, 2), (2, 200, 3, 2), (2, 8, 16, 8)]


def norm(shape: tuple[int, ...], *, affine: bool = True) -> nn.Module:
    """Of that many dimensions and channels, its weights not 1 and 0."""
    module = (nn.InstanceNorm2d if len(shape) == 4 else nn.InstanceNorm3d)(shape[1], affine=affine)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    return module


def given(shape: tuple[int, ...], *, mean: float = 0.5, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(shape, dtype=dtype) + mean).contiguous(memory_format=LAYOUT[len(shape)])


def passed(modules: list[nn.Module], x: Tensor, after: Tensor, *, ours: bool) -> list[Tensor]:
    """The output, and the gradients of input and parameters."""
    x, parameters = x.clone().requires_grad_(), [p for module in modules for p in module.parameters()]
    result = channels_last.run(modules, x) if ours else nn.Sequential(*modules)(x)
    return [result, *torch.autograd.grad(result, [x, *parameters], after)]


@pytest.mark.parametrize("part", [1, 40, 2**16], ids="part{}".format)
@pytest.mark.parametrize("slope", [None, 0.01, 0.2], ids="slope{}".format)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_torch(
    shape: tuple[int, ...], slope: float | None, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_last_norm, "PART", part)
    torch.manual_seed(1)
    modules = [norm(shape).double(), *([] if slope is None else [nn.LeakyReLU(slope)])]
    x, after = given(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    found, wanted = passed(modules, x, after, ours=True), passed(modules, x, after, ours=False)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
    assert all(each.is_contiguous(memory_format=LAYOUT[len(shape)]) for each in found[:2])


@pytest.mark.parametrize("mean", [0.0, 1.0, 300.0])
def test_in_single_precision_it_is_as_exact_as_torch(mean: float) -> None:
    shape = (2, 4, 40, 50, 40)
    torch.manual_seed(2)
    modules, x, after = [norm(shape), nn.LeakyReLU(0.01)], given(shape, mean=mean), torch.randn(shape)
    found, theirs = (passed(modules, x, after, ours=ours) for ours in (True, False))
    wanted = passed([module.double() for module in modules], x.double(), after.double(), ours=False)
    for mine, other, exact in zip(found, theirs, wanted, strict=True):
        # A sign that flips at 0 changes a gradient by a whole number: a few voxels, in both.
        errors = [(each.double() - exact).abs().flatten().quantile(0.999).item() for each in (mine, other)]
        assert errors[0] <= 1.5 * errors[1] + 1e-6


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_convolution_of_single_voxels_is_torchs(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(4)
    convolution = (nn.Conv2d if len(shape) == 4 else nn.Conv3d)(shape[1], 5, 1, bias=bias).double()
    x, after = given(shape, dtype=torch.float64), torch.randn(shape[0], 5, *shape[2:], dtype=torch.float64)
    assert channels_last.is_linear(convolution, x)
    found, wanted = passed([convolution], x, after, ours=True), passed([convolution], x, after, ours=False)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
    assert all(each.is_contiguous(memory_format=LAYOUT[len(shape)]) for each in found[:2])


@pytest.mark.parametrize(
    "convolution",
    [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, padding=1), nn.Conv2d(4, 4, 1, groups=2)],
    ids=["kernel", "stride", "padding", "groups"],
)
def test_other_convolutions_are_left_to_torch(convolution: nn.Module) -> None:
    x = given((2, 4, 6, 5))
    assert not channels_last.is_linear(convolution, x)
    torch.testing.assert_close(channels_last.run([convolution], x), convolution(x))


def test_what_comes_before_and_after_is_run_in_order() -> None:
    torch.manual_seed(3)
    shape = (2, 3, 6, 5)
    for modules in (
        [nn.Conv2d(3, 3, 3), norm(shape), nn.LeakyReLU(0.1, inplace=True)],
        [nn.LeakyReLU(0.1), norm(shape)],
        [norm(shape), nn.ReLU()],
        [norm(shape), nn.LeakyReLU(0.1), nn.LeakyReLU(0.3)],
    ):
        x = given(shape)
        torch.testing.assert_close(channels_last.run(modules, x.clone()), nn.Sequential(*modules)(x.clone()))


class Doubled(nn.InstanceNorm2d):
    """Made of torch's, but not the same."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (norm((1, 3, 1, 1)), torch.randn(2, 3, 5, 4)),
        (norm((1, 3, 1, 1), affine=False), given((2, 3, 5, 4))),
        (norm((1, 3, 1, 1)), given((2, 3, 5, 4)).bfloat16()),
        (nn.InstanceNorm2d(3, affine=True, track_running_stats=True), given((2, 3, 5, 4))),
        (nn.BatchNorm2d(3), given((2, 3, 5, 4))),
        (Doubled(3, affine=True), given((2, 3, 5, 4))),
    ],
    ids=["contiguous", "not affine", "another precision", "running statistics", "another normalization", "a class made of it"],
)
def test_what_does_not_fit_is_left_to_torch(module: nn.Module, x: Tensor) -> None:
    assert not channels_last.normalizes(module, x)
    torch.testing.assert_close(channels_last.run([module], x), module(x))


def test_a_single_voxel_is_refused_as_by_torch() -> None:
    shape = (2, 3, 1, 1)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        channels_last.run([norm(shape)], given(shape))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_gradients_do_not_depend_on_the_layout(dimensions: int, samples: int, affine: bool, precision: torch.dtype) -> None:
    """Of a residual block of torch's own modules too: of one sample they are wrong by more than their size."""
    convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
    torch.manual_seed(0)
    first, last = convolution(1, 16, 3, padding=1), convolution(16, 3, 1)
    norms = [norm((samples, 16, *[6] * dimensions), affine=affine) for _ in range(2)]
    inner = [convolution(16, 16, 3, padding=1) for _ in range(2)]
    net = nn.ModuleList([first, *inner, *norms, last])
    x = torch.randn(samples, 1, *[6] * dimensions)

    def gradients(layout: torch.memory_format) -> list[Tensor]:
        net.to(memory_format=layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            h = first(x.contiguous(memory_format=layout))
            through = h
            for each, normalize in zip(inner, norms, strict=True):
                through = channels_last.run([each, normalize, nn.LeakyReLU(inplace=True)], through)
            result = last(nn.functional.leaky_relu(h + through))
        weights = [first.weight, *(each.weight for each in inner), *(p for each in norms for p in each.parameters()), last.weight]
        return list(torch.autograd.grad(result.float().square().mean(), weights))

    for found, expected in zip(gradients(LAYOUT[dimensions + 2]), gradients(torch.contiguous_format), strict=True):
        assert (found - expected).norm() <= (1e-4 if precision is torch.float32 else 0.05) * expected.norm() + 1e-6


class Doubled(nn.InstanceNorm3d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class DoubledConvolution(nn.Conv3d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class DoubledActivation(nn.LeakyReLU):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked(module: nn.Module) -> nn.Module:
    """That does something else too, as of `torch.nn.utils.spectral_norm`."""
    module.register_forward_hook(lambda module, given, result: 2 * result)
    return module


def replaced(module: nn.Module) -> nn.Module:
    """Whose method somebody has exchanged."""
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]
    return module


@pytest.mark.parametrize(
    "modules",
    [
        [Doubled(8, affine=True)],
        [DoubledConvolution(8, 3, 1)],
        [DoubledConvolution(8, 8, 3, padding=1)],
        [nn.InstanceNorm3d(8, affine=True), DoubledActivation()],
        [hooked(nn.InstanceNorm3d(8, affine=True)), nn.LeakyReLU()],
        [hooked(nn.Conv3d(8, 3, 1))],
        [nn.utils.spectral_norm(nn.Conv3d(8, 8, 3, padding=1))],
        [nn.InstanceNorm3d(8, affine=True), hooked(nn.LeakyReLU())],
        [replaced(nn.Conv3d(8, 8, 3, padding=1)), replaced(nn.InstanceNorm3d(8, affine=True)), replaced(nn.LeakyReLU())],
    ],
    ids=[
        *("norm", "voxels", "convolution", "activation"),
        *("hook of norm", "hook of voxels", "spectral norm", "hook of activation", "methods"),
    ],
)
def test_what_does_more_than_torchs_own_is_called(modules: list[nn.Module]) -> None:
    net, x = nn.Sequential(*modules).eval().to(memory_format=torch.channels_last_3d), given((2, 8, 4, 4, 6))
    torch.testing.assert_close(channels_last.run(net, x), net(x))


@pytest.mark.parametrize("hook", ["register_full_backward_hook", "register_full_backward_pre_hook"])
@pytest.mark.parametrize("size", [1, 3])
def test_hooks_of_the_backward_pass_are_called(size: int, hook: str) -> None:
    called: list[nn.Module] = []
    net = nn.Sequential(nn.Conv3d(8, 8, size, padding=size // 2), nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU())
    for module in net:
        getattr(module, hook)(lambda module, *gradients: called.append(module))
    x = given((2, 8, 4, 4, 6)).requires_grad_()
    channels_last.run(net.to(memory_format=torch.channels_last_3d), x).sum().backward()
    assert called == [*net][::-1]
