"""Whether convolutions are right: libraries have given wrong numbers in silence, for some formats and large patches.

cuDNN 9.8 to 9.10 in bf16 (pytorch#163539), for example. A training on such numbers looks like one on difficult data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.precision import PrecisionName
from nnunet_trainer.inference.precision import autocast, resolved

from ...ranks import devices

ALLOWED = {"fp32": 5e-3, "fp16": 5e-3, "bf16": 2e-2}
"""Relative error (2-norms); that of rounding is 2⁻¹¹ (TF32, fp16) and 2⁻⁸ (bf16) at most."""
EDGE = 4
"""Voxels of the part of an output that is compared, along each axis."""
SMALL = 16
"""Most voxels along an axis of the input of a layer that is not the first."""
LAYERS = 4

Convolution = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    channels_in: int
    channels_out: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def __str__(self) -> str:
        kernel, stride = ("×".join(map(str, each)) for each in (self.kernel, self.stride))
        return f"{self.channels_in}→{self.channels_out} channels, kernel {kernel}, stride {stride}"


def check_convolutions(
    network: nn.Module,
    patch_size: Sequence[int],
    precision: PrecisionName,
    device: torch.device,
    layout: torch.memory_format,
    convolve: Convolution | None = None,
) -> int:
    """Compare a few of the network's own convolutions, forward and backward, with those of a CPU in fp32.

    The first one with as many channels before as after it is tried at the whole patch, from which small parts are compared.

    Args:
        network: of the training.
        patch_size: voxels, 2 or 3 axes.
        precision: in which the network runs.
        device: that is to train.
        layout: of the network's memory.
        convolve: what is checked; default: torch's.

    Returns:
        How many were compared.

    Raises:
        BadConfiguration: one of them is wrong; the message names it, its error, and the versions.
    """
    layers = distinct(network)
    for number, layer in enumerate(layers):
        size = tuple(patch_size) if number == 0 else tuple(min(SMALL, edge) for edge in patch_size)
        operation = convolve or (F.conv3d if len(size) == 3 else F.conv2d)
        for what, error in errors(layer, size, precision, device, layout, operation):
            if not error <= ALLOWED[resolved(precision, device)]:
                _refuse(layer, size, what, error, resolved(precision, device), device)
    return len(layers)


def distinct(network: nn.Module) -> list[_Layer]:
    """Its different convolutions, those that keep the number of channels first; `LAYERS` of them, the narrowest to the widest."""
    found: dict[_Layer, None] = {}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.groups == 1 and set(module.dilation) == {1}:
            assert not isinstance(module.padding, str)
            parts = module.kernel_size, module.stride, module.padding
            found[_Layer(module.in_channels, module.out_channels, *map(tuple, parts))] = None
    layers = sorted(found, key=lambda layer: layer.channels_in != layer.channels_out)
    step = max(1, (len(layers) - 1) // max(1, LAYERS - 1))
    return layers[::step][:LAYERS]


def errors(
    layer: _Layer,
    size: tuple[int, ...],
    precision: PrecisionName,
    device: torch.device,
    layout: torch.memory_format,
    convolve: Convolution,
) -> Iterator[tuple[str, float]]:
    """What was compared, and its relative error."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(layer.channels_out, layer.channels_in, *layer.kernel, generator=generator)
    weight /= weight[0].numel() ** 0.5
    own_weight = weight.to(device, copy=True).contiguous(memory_format=layout).requires_grad_()
    noise = torch.Generator(device).manual_seed(0)
    x = torch.randn(1, layer.channels_in, *size, device=device, generator=noise).contiguous(memory_format=layout).requires_grad_()
    with autocast(precision, device):
        y = convolve(x, own_weight, None, layer.stride, layer.padding)
    for corner in product(*(sorted({0, max(0, edge - EDGE)}) for edge in y.shape[2:])):
        part = (slice(None), slice(None), *(slice(begin, begin + EDGE) for begin in corner))
        source, pads = _source(layer, corner, y[part].shape[2:], size)
        window = x.detach()[(slice(None), slice(None), *source)].float().cpu()
        expected = _reference(window, weight, layer, pads)
        yield f"the output at {', '.join(map(str, corner))}", relative_error(y.detach()[part], expected)
    # A gradient of that last part alone, so that the same window makes the CPU's.
    window.requires_grad_()
    weight.requires_grad_()
    upstream = torch.randn(expected.shape, generator=generator)
    _reference(window, weight, layer, pads).backward(upstream)
    gradient = torch.zeros_like(y)
    gradient[part] = upstream.to(device, y.dtype)
    y.backward(gradient)
    assert x.grad is not None
    yield "the weight's gradient", relative_error(own_weight.grad, weight.grad)
    yield "the input's gradient", relative_error(x.grad[(slice(None), slice(None), *source)], window.grad)


def relative_error(found: Tensor | None, expected: Tensor | None) -> float:
    """‖found - expected‖ / ‖expected‖."""
    assert found is not None
    assert expected is not None
    return float((found.float().cpu() - expected).norm() / expected.norm())


def _source(layer: _Layer, corner: Sequence[int], edges: Sequence[int], size: Sequence[int]) -> tuple[tuple[slice, ...], list[int]]:
    """The part of an input that an output's part is made of, and how much padding is about it, as `F.pad` wants it."""
    source, pads = [], []
    for begin, edge, kernel, stride, padding, whole in zip(
        corner, edges, layer.kernel, layer.stride, layer.padding, size, strict=True
    ):
        first = begin * stride - padding
        last = first + (edge - 1) * stride + kernel
        source.append(slice(max(0, first), min(whole, last)))
        pads.insert(0, max(0, -first))
        pads.insert(1, max(0, last - whole))
    return tuple(source), pads


def _reference(window: Tensor, weight: Tensor, layer: _Layer, pads: list[int]) -> Tensor:
    """On the CPU in fp32."""
    convolve = F.conv3d if window.ndim == 5 else F.conv2d
    return convolve(F.pad(window, pads), weight, None, layer.stride)


def _refuse(layer: _Layer, size: Sequence[int], what: str, error: float, precision: str, device: torch.device) -> None:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"
    cudnn = f" cuDNN {torch.backends.cudnn.version()}." if device.type == "cuda" else ""
    raise BadConfiguration(
        "WrongConvolution",
        f"Convolutions in {precision} are wrong on {where}: of {layer}, at {'×'.join(map(str, size))}, {what} is off by "
        f"{100 * error:.3g} % ({100 * ALLOWED[precision]:g} % is allowed). {devices.versions()}{cudnn}",
        hint="Set recipe.precision to another format (fp32, fp16, bf16), or use a trainer image with another version of torch and "
        "cuDNN.",
    )
