"""The stem's weights for another number of input channels.

The stem is the first convolution; its weight is (out, in, *kernel). Its response to an image shall keep its magnitude: for an image
whose channels are all alike, `Repeat` and `Average` give the response that the file's own network gives.
"""

from __future__ import annotations

from torch import Tensor, nn


def stem(network: nn.Module) -> Tensor | None:
    """The weight of a network's first convolution; None without one."""
    convolutions = (m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d))
    first = next(convolutions, None)
    return None if first is None else first.weight


def differs_in_channels(theirs: Tensor, ours: Tensor) -> bool:
    """Whether two weights have the same shape but for their input channels."""
    return theirs.dim() == ours.dim() > 1 and theirs.shape[1] != ours.shape[1] and _others(theirs) == _others(ours)


def repeat(weight: Tensor, channels: int) -> Tensor:
    """Input channel j becomes channel j mod N of the N there are, divided by how often that one is used.

    From one channel to M this is `weight / M` each. Where there are fewer than before, the first ones go on, times N / M.
    """
    there = weight.shape[1]
    chosen = [j % there for j in range(channels)]
    shares = weight.new_tensor([max(1.0, there / channels) / chosen.count(i) for i in chosen])
    return weight[:, chosen] * shares.view(1, -1, *[1] * (weight.dim() - 2))


def average(weight: Tensor, channels: int) -> Tensor:
    """Every input channel becomes the mean of the N there are, times N / M for M channels."""
    there = weight.shape[1]
    mean = weight.mean(1, keepdim=True) * (there / channels)
    return mean.repeat(1, channels, *[1] * (weight.dim() - 2))


def described(theirs: int, ours: int, policy: str) -> str:
    """What `repeat` or `average` did, for the report."""
    if policy == "Average":
        return f"{counted(theirs)} averaged into {ours}, scaled so that the response keeps its magnitude"
    what = f"repeated to {ours}" if ours > theirs else f"reduced to the first {ours}"
    return f"{counted(theirs)} {what}, scaled so that the response keeps its magnitude"


def counted(channels: int) -> str:
    """`1 input channel`, `2 input channels`."""
    return f"{channels} input channel{'s' if channels > 1 else ''}"


def _others(weight: Tensor) -> tuple[int, ...]:
    return (weight.shape[0], *weight.shape[2:])
