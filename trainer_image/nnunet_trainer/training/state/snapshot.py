"""What a step left, copied to host memory: the next step may change its tensors while a checkpoint is still being written."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

_Place = tuple[Any, ...]
_PLAIN = {float, int, bool, str, type(None)}


class SnapshotMemory:
    """Host memory for one copy of a training's state, taken once and used again: page-locked where the state is on a GPU.

    Args:
        device: of the training.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: dict[str, Tensor] = {}
        self._copied: dict[_Place, Tensor] = {}

    @property
    def bytes(self) -> int:
        """How much of it there is."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self._buffers.values())

    def take(self, content: dict[str, Any]) -> Snapshot:
        """Copy all tensors of a checkpoint's content. What was taken before is overwritten.

        On a GPU the copies are queued behind the step that was done and before the next one: nobody waits for them here.
        """
        self._copied.clear()
        before, self._buffers = self._buffers, {}
        copied = self._copy("", content, before)
        self._copied.clear()
        ready = None
        if self._device.type == "cuda":
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(self._device))
        return Snapshot(copied, ready)

    def _copy(self, path: str, value: Any, before: dict[str, Tensor]) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(path, value, before)
        if isinstance(value, dict):
            # A state_dict() is an ordered dictionary that bears the versions of its modules.
            made = copy.copy(value)
            for key, part in value.items():
                made[key] = self._copy(f"{path}/{key}", part, before)
            return made
        if isinstance(value, list | tuple):
            if _PLAIN.issuperset(map(type, value)):
                return type(value)(value)  # what was logged: a hundred thousand numbers after a thousand epochs
            return type(value)(self._copy(f"{path}/{i}", part, before) for i, part in enumerate(value))
        return value

    def _copy_tensor(self, path: str, tensor: Tensor, before: dict[str, Tensor]) -> Tensor:
        # nnU-Net's networks name the encoder's weights twice: what is one memory stays one, in the file too.
        storage = tensor.untyped_storage().data_ptr()
        place = (storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        known = self._copied.get(place)
        if known is not None:
            return known
        buffer = before.get(path)
        if buffer is None or (buffer.shape, buffer.dtype) != (tensor.shape, tensor.dtype) or buffer.stride() != tensor.stride():
            buffer = self._empty_like(tensor)
        buffer.copy_(tensor.detach(), non_blocking=True)
        self._buffers[path] = self._copied[place] = buffer
        return buffer

    def _empty_like(self, tensor: Tensor) -> Tensor:
        locked = self._device.type == "cuda"
        try:
            return torch.empty_like(tensor, device="cpu", pin_memory=locked, requires_grad=False)
        except RuntimeError:  # no memory may be locked: the copy takes longer, and is made all the same
            return torch.empty_like(tensor, device="cpu", requires_grad=False)


class Snapshot:
    """A checkpoint's content in host memory.

    Args:
        content: as a checkpoint file holds it.
        ready: on a GPU, passed when all copies are made.
    """

    def __init__(self, content: dict[str, Any], ready: torch.cuda.Event | None) -> None:
        self._content, self._ready = content, ready

    def wait(self) -> dict[str, Any]:
        """The content, when all of it has arrived."""
        if self._ready is not None:
            self._ready.synchronize()
        return self._content
