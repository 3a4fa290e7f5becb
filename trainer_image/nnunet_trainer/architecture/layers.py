"""Layers that plans name: those of `torch.nn`, and ours.

Plans are data that may come from anywhere, so a dotted path is never imported: its last part is looked up in `torch.nn`, then here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Registry

LAYERS: Registry[Callable[..., nn.Module]] = Registry("layer")
"""Layers beyond `torch.nn`: normalizations take the number of channels first, nonlinearities only keywords."""


def layer(field: str, path: str | None) -> Callable[..., nn.Module] | None:
    """The class that a plans field (`norm_op`, `dropout_op`, `nonlin`) names, None for none.

    Raises:
        BadConfiguration: neither `torch.nn` nor the registry has it.
    """
    if path is None:
        return None
    name = str(path).rpartition(".")[2]
    if name in LAYERS:
        return LAYERS[name].make
    found: Any = getattr(nn, name, None)
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found
    raise BadConfiguration(
        "InvalidPlans",
        f"arch_kwargs: {field} is {path!r}; neither torch.nn nor ours ({', '.join(LAYERS)}) has it.",
    )


def is_torchs(module: nn.Module) -> bool:
    """Whether it does what its class in torch does: a derived class, or a hook as of spectral normalization, may do more."""
    hooks = module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks
    return type(module).__module__.startswith("torch.nn.modules.") and "forward" not in vars(module) and not any(hooks)


@LAYERS.register("ChannelGroupNorm")
class ChannelGroupNorm(nn.GroupNorm):
    """Group normalization whose first argument is the number of channels, as plans need it."""

    def __init__(self, channels: int, *, num_groups: int = 8, eps: float = 1e-5, affine: bool = True) -> None:
        if channels % num_groups:
            raise BadConfiguration("InvalidPlans", f"{channels} channels cannot be split into {num_groups} groups .")
        super().__init__(num_groups, channels, eps=eps, affine=affine)


@LAYERS.register("FilterResponseNorm")
class FilterResponseNorm(nn.Module):
    """max(γ·x/√(mean(x²)+ε)+β, τ) with γ, β, τ learned per channel (Singh and Krishnan, CVPR 2020); 2D and 3D."""

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.threshold = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(2, x.ndim))
        shape = (1, -1, *([1] * len(axes)))
        scale = torch.rsqrt(x.square().mean(axes, keepdim=True) + self.eps)
        return torch.maximum(self.weight.view(shape) * x * scale + self.bias.view(shape), self.threshold.view(shape))
