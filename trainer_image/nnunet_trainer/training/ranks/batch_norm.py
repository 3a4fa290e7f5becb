"""Batch normalization over the samples of all ranks, on any backend: torch's `SyncBatchNorm` is for CUDA alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .distributed import active, sum_for_each_rank, sum_over_ranks


class RanksBatchNorm(_BatchNorm):
    """`BatchNorm1d`, `2d` or `3d` whose statistics in training are those of the whole batch; its state dict has the same keys."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of spatial axes."""

    def forward(self, input: Tensor) -> Tensor:
        """(b, c, *spatial) normalized; the number of samples may differ between ranks."""
        if not (self.training and active()):
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        values = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        here = torch.tensor(float(values.numel() // values.shape[1]), dtype=torch.float64, device=values.device)
        count = sum_over_ranks(here).to(values.dtype)
        mean = sum_for_each_rank(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = sum_for_each_rank(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
        normalized = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def over_ranks(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with all batch norms over all ranks: torch's own on CUDA, ours elsewhere; the same tensors."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    made: dict[int, RanksBatchNorm] = {}
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, RanksBatchNorm):
                # A block may hold one norm under two names.
                setattr(module, name, made.setdefault(id(child), _converted(child)))
    return network


def _converted(norm: _BatchNorm) -> RanksBatchNorm:
    new = RanksBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for name in norm._parameters:
        new._parameters[name] = norm._parameters[name]
    for name in norm._buffers:
        new._buffers[name] = norm._buffers[name]
    return new.train(norm.training)
