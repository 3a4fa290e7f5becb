"""Weights from another training: all but the segmentation layers, with a report of what was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from . import checkpoint

HEADS = ".seg_layers."
SHOWN = 20
_PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """What became of each key. A shape stands as (in the file, in the network); keys that are one tensor count once each."""

    source: str
    loaded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Segmentation layers: they depend on the labels and begin anew."""
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """In the network, not in the file."""
    unused: list[str] = field(default_factory=list)
    """In the file, not in the network."""

    def summary(self) -> dict[str, Any]:
        """For the step's report."""
        return {
            "source": self.source,
            "loaded": len(self.loaded),
            "skipped": self.skipped,
            "mismatched": [_mismatch(entry) for entry in self.mismatched],
            "unused": len(self.unused),
        }

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded", f"{len(self.skipped)} of the segmentation layers begin anew"]
        if self.unused:
            parts.append(f"{len(self.unused)} of the file not used")
        return f"Pretrained weights from {self.source}: {', '.join(parts)}."


def _mismatch(entry: tuple[str, tuple[int, ...], tuple[int, ...]]) -> str:
    key, theirs, ours = entry
    return f"{key}: {'×'.join(map(str, theirs)) or 'scalar'} in the file, {'×'.join(map(str, ours)) or 'scalar'} in the network"


def compare(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> LoadReport:
    """What of `weights` fits `network`; nothing is changed."""
    report = LoadReport(source=source)
    ours = network.state_dict()
    for key, tensor in ours.items():
        if HEADS in key:
            report.skipped.append(key)
        elif key not in weights:
            report.missing.append(key)
        elif weights[key].shape != tensor.shape:
            report.mismatched.append((key, tuple(weights[key].shape), tuple(tensor.shape)))
        else:
            report.loaded.append(key)
    report.unused.extend(key for key in weights if key not in ours and HEADS not in key)
    return report


def load(network: nn.Module, path: Path, *, allow_pickle: bool = False, source: str | None = None) -> LoadReport:
    """Load a checkpoint's weights into a network, all but the segmentation layers (nnU-Net's `-pretrained_weights`).

    Args:
        network: its weights are replaced.
        path: a checkpoint, ours or nnU-Net's.
        allow_pickle: see `checkpoint.load`.
        source: what the report says the weights are from; default `path`.

    Raises:
        BadData: the file cannot be read.
        BadConfiguration: `PretrainedMismatch`: keys are missing or have other shapes; the findings name each.
    """
    try:
        content = checkpoint.load(path, allow_pickle=allow_pickle)
    except BadData as fault:
        fault.message = fault.message.replace(str(path), source or str(path))
        raise
    weights = {_plain_key(key): value for key, value in content["network_weights"].items()}
    report = compare(network, weights, source or str(path))
    if report.mismatched or report.missing:
        raise _mismatch_fault(report)
    with torch.no_grad():
        network.load_state_dict({key: weights[key] for key in report.loaded}, strict=False)
    return report


def _plain_key(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _mismatch_fault(report: LoadReport) -> BadConfiguration:
    # Each convolution stands under four keys; the shortest one is enough to understand.
    shown = [_mismatch(entry) for entry in report.mismatched if not _duplicate(entry[0])]
    shown += [f"{key}: not in the file" for key in report.missing if not _duplicate(key)]
    more = [f"… and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    return BadConfiguration(
        "PretrainedMismatch",
        f"The weights of {report.source} do not fit this network: {len(report.mismatched)} tensors have another shape, "
        f"{len(report.missing)} are missing, {len(report.loaded)} fit.",
        findings=shown[:SHOWN] + more,
        hint="Pretrain with plans that were transferred from this dataset (PlanTransfer), so that both networks are the same.",
    )


def _duplicate(key: str) -> bool:
    return key.startswith("decoder.encoder.") or ".all_modules." in key
