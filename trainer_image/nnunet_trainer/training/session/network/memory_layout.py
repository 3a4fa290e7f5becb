"""In which order a network's tensors lie in memory, and how instances are normalized there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from nnunet_trainer.architecture.channels_last import NormalizedBy
from nnunet_trainer.architecture.memory_format import channels_last_format

CONTIGUOUS, CHANNELS_LAST = "channels first", "channels last"
FUSED, COMPILED = "channels last with fused normalization", "channels last with compiled normalization"
NORMALIZED_BY: dict[str, NormalizedBy] = {CHANNELS_LAST: "torch", CONTIGUOUS: "torch", COMPILED: "expression", FUSED: "kernels"}
"""Of each candidate, in the order in which they are tried."""
OWN = (CHANNELS_LAST, CONTIGUOUS)
"""Those of torch alone."""


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """What was chosen.

    Attributes:
        name: one of `NORMALIZED_BY`.
        device: name of the GPU that it was found on; None: it was not tried.
        seconds: of a step, by name.
        compiled: whether torch.compile's networks were tried.
        left_out: why others were no candidates, by name.
    """

    name: str = CHANNELS_LAST
    device: str | None = None
    seconds: dict[str, float] | None = None
    compiled: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def normalized_by(self) -> NormalizedBy:
        """How instances are normalized."""
        return NORMALIZED_BY[self.name]

    def format(self, dimensions: int) -> torch.memory_format:
        """torch's, of a network of 2 or 3 dimensions."""
        if self.name == CONTIGUOUS:
            return torch.contiguous_format
        return channels_last_format(dimensions)

    def saved(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return asdict(self)

    def said(self) -> list[str]:
        """Lines for the log."""
        if self.seconds is None:
            lines = [f"Memory layout: {self.name}."]
        else:
            times = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in self.seconds.items())
            how = "compiled, on" if self.compiled else "on"
            lines = [f"Memory layout: {self.name}; forward and backward {how} {self.device} take: {times}."]
        return [*lines, *(f"Memory layout: not {name}: {why}." for name, why in self.left_out.items())]


def restored(saved: Any) -> MemoryLayout:
    """Of what a checkpoint holds; the default where that is no layout."""
    if not isinstance(saved, dict) or saved.get("name") not in NORMALIZED_BY:
        return MemoryLayout()
    names = "device", "seconds", "compiled", "left_out"  # the last two are of newer checkpoints
    return MemoryLayout(saved["name"], **{name: saved[name] for name in names if name in saved})
