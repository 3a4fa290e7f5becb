"""The tensors of a network, each under all the keys that nnU-Net's state_dict has for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

HEADS = ".seg_layers."
_HEAD = re.compile(r"\.seg_layers\.|^out_\d+\.conv_out\.")
"""Of nnU-Net's networks, and of MedNeXt; a plug-in's network says of itself which they are (`heads`)."""
_PREFIXES = ("module.", "_orig_mod.")
_DECODER = re.compile(r"(decoder\.(?:stages|transpconvs|seg_layers)\.)(\d+)(\..+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter or buffer: a convolution of the encoder has four keys, which must never hold different values."""

    keys: tuple[str, ...]
    tensor: Tensor

    @property
    def key(self) -> str:
        """The shortest one, enough for people."""
        return min(self.keys, key=len)


def entries(network: nn.Module) -> list[Entry]:
    """All of a network's tensors, once each, in the order of its state_dict."""
    found: dict[int, tuple[Tensor, list[str]]] = {}
    for key, tensor in network.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (tensor, []))[1].append(key)
    return [Entry(tuple(keys), tensor) for tensor, keys in found.values()]


def plain_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that DistributedDataParallel and torch.compile put before a key."""
    return {_plain_key(key): tensor for key, tensor in weights.items()}


def _plain_key(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def of_head(key: str) -> bool:
    """Whether a tensor of this name makes logits."""
    return _HEAD.search(key) is not None


def duplicate(key: str) -> bool:
    """Whether nnU-Net has a shorter key for the same tensor."""
    return key.startswith("decoder.encoder.") or ".all_modules." in key


def decoder_stages(keys: Iterable[str]) -> int:
    """How many stages the decoder has."""
    found = (_DECODER.fullmatch(key) for key in keys)
    return 1 + max((int(match[2]) for match in found if match), default=-1)


def shifted(key: str, by: int) -> str:
    """The key of the stage of the same resolution in a decoder deeper by `by`: stages are counted from the bottleneck up."""
    match = _DECODER.fullmatch(key)
    return key if match is None or by == 0 else f"{match[1]}{int(match[2]) + by}{match[3]}"
