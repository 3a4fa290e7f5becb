"""Load a checkpoint's weights into a network, as far as they fit and as the policies say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.contract.work_order import PretrainedPolicies
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.planning.plans.difference import difference

from . import channels, tensors
from .heads import HeadMatch, source_labels
from .report import LoadReport, mismatch
from .tensors import Entry

SHOWN = 20


def load(
    network: nn.Module,
    path: Path,
    *,
    policies: PretrainedPolicies | None = None,
    labels: LabelManager | None = None,
    architecture: dict[str, Any] | None = None,
    allow_pickle: bool = False,
    source: str | None = None,
) -> LoadReport:
    """Load a checkpoint's weights into a network; by default all but the segmentation layers (nnU-Net's `-pretrained_weights`).

    Args:
        network: its weights are replaced; on an error none is.
        path: a checkpoint, ours or nnU-Net's.
        policies: what becomes of what does not fit as it is; default: an error.
        labels: the network's own, to match heads by label.
        architecture: the network's own in its plans, to say what is different about the file's.
        allow_pickle: see `checkpoint.load`.
        source: what the report says the weights are from; default `path`.

    Raises:
        BadData: the file cannot be read.
        BadConfiguration: `PretrainedMismatch`: keys are missing or have other shapes; the findings name each.
            `PretrainedWithoutLabels`: heads cannot be matched by label, because the file does not name its labels.
    """
    source = source or str(path)
    try:
        content = checkpoint.load(path, allow_pickle=allow_pickle)
    except BadData as fault:
        fault.message = fault.message.replace(str(path), source)
        raise
    policies = policies or PretrainedPolicies()
    match = None
    if policies.heads == "MatchByLabel":
        if labels is None:
            raise ValueError("labels are needed to match heads by label")
        match = HeadMatch(source_labels(content, source), labels)
    loading = _Loading(network, tensors.plain_keys(content["network_weights"]), policies, match, source)
    if loading.refused:
        raise _refusal(loading, _other_architecture(content, architecture))
    with torch.no_grad():
        for tensor, value in loading.values:
            tensor.copy_(value)
    return loading.report


class _Loading:
    """What shall become of each tensor; nothing is changed yet."""

    def __init__(
        self, network: nn.Module, weights: dict[str, Tensor], policies: PretrainedPolicies, match: HeadMatch | None, source: str
    ) -> None:
        self.weights, self.policies, self.match = weights, policies, match
        self.report = LoadReport(source=source)
        self.values: list[tuple[Tensor, Tensor]] = []
        self.stem = channels.stem(network)
        self.other_channels: tuple[int, int] | None = None
        # A network may say how weights of a smaller one become its own, and which of its modules make the logits.
        self.adapted = getattr(network, "adapted", None)
        self.heads = {id(tensor) for head in getattr(network, "heads", ()) for tensor in head.state_dict(keep_vars=True).values()}
        all_entries, looked_at = tensors.entries(network), set[str]()
        self.deeper = self._deeper(all_entries)
        for entry in all_entries:
            keys = [tensors.shifted(key, self.deeper) for key in entry.keys]
            looked_at.update(keys)
            self._decide(entry, next((weights[key] for key in keys if key in weights), None))
        self.report.unused.extend(
            key for key in weights if key not in looked_at and not tensors.duplicate(key) and (match or not tensors.of_head(key))
        )
        if match is not None:
            found = {*self.report.loaded, *(key for key, _ in self.report.adapted)}
            kept = any(entry.key in found for entry in all_entries if self._is_head(entry))
            self.report.kept_labels.extend(match.kept if kept else [])
            self.report.new_labels.extend(match.new if kept else [*match.kept, *match.new])
            self.report.notes.extend(match.notes)

    @property
    def refused(self) -> bool:
        """Whether something does not fit and may not be skipped, or nothing fits at all."""
        begins_anew = bool(self.report.mismatched or self.report.missing)
        return begins_anew and (self.policies.mismatched == "Fail" or not self.report.loaded)

    def _deeper(self, all_entries: list[Entry]) -> int:
        """By how many stages the file's decoder is deeper, where a network of another depth is allowed."""
        theirs, ours = (tensors.decoder_stages(keys) for keys in (self.weights, [key for e in all_entries for key in e.keys]))
        if self.policies.mismatched == "Fail" or theirs == ours or not theirs or not ours:
            return 0
        self.report.notes.append(
            f"The file's decoder has {theirs} stages, this one {ours}: stages of the same resolution are matched, the finest first."
        )
        return theirs - ours

    def _decide(self, entry: Entry, theirs: Tensor | None) -> None:
        if self._is_head(entry) and self.match is None:
            self._begin_head_anew(entry)
        elif theirs is None:
            self.report.missing.append(entry.key)
        elif self._is_head(entry):
            self._decide_head(entry, theirs)
        elif theirs.shape == entry.tensor.shape:
            self._take(entry, theirs)
        elif entry.tensor is self.stem and channels.differs_in_channels(theirs, entry.tensor):
            self._decide_stem(entry, theirs)
        elif self.adapted is not None and (own := self.adapted(entry.key, theirs, entry.tensor)) is not None:
            self._take(entry, *own)
        else:
            self._mismatched(entry, theirs)

    def _is_head(self, entry: Entry) -> bool:
        return id(entry.tensor) in self.heads or tensors.of_head(entry.key)

    def _begin_head_anew(self, entry: Entry) -> None:
        self.report.skipped.append(entry.key)
        self.report.heads.append(entry.key)

    def _decide_head(self, entry: Entry, theirs: Tensor) -> None:
        assert self.match is not None
        if not self.match.fits(theirs, entry.tensor):
            self._mismatched(entry, theirs)
        elif self.match.same:
            self._take(entry, theirs)
        elif self.match.kept:
            self._take(entry, self.match.matched(theirs, entry.tensor), self.match.described)
        else:
            self._begin_head_anew(entry)

    def _decide_stem(self, entry: Entry, theirs: Tensor) -> None:
        there, wanted = theirs.shape[1], entry.tensor.shape[1]
        self.other_channels = (there, wanted)
        match self.policies.input_channels:
            case "Repeat":
                self._take(entry, channels.repeat(theirs, wanted), channels.described(there, wanted, "Repeat"))
            case "Average":
                self._take(entry, channels.average(theirs, wanted), channels.described(there, wanted, "Average"))
            case "Reinitialize":
                self.report.skipped.append(entry.key)
                self.report.notes.append(
                    f"The file's network has {channels.counted(there)}, this one {wanted}: the stem begins anew."
                )
            case _:
                self._mismatched(entry, theirs)

    def _take(self, entry: Entry, value: Tensor, adapted: str | None = None) -> None:
        self.values.append((entry.tensor, value))
        if adapted is None:
            self.report.loaded.append(entry.key)
        else:
            self.report.adapted.append((entry.key, adapted))

    def _mismatched(self, entry: Entry, theirs: Tensor) -> None:
        self.report.mismatched.append((entry.key, tuple(theirs.shape), tuple(entry.tensor.shape)))


def _other_architecture(content: dict[str, Any], ours: dict[str, Any] | None) -> list[str]:
    """What differs between the architectures of the file's plans and of ours, where both are known."""
    arguments = content.get("init_args") or {}
    try:
        theirs = Plans(arguments["plans"]).configuration(arguments["configuration"]).architecture
    except (KeyError, TypeError, AttributeError, BadConfiguration, BadData):
        return []
    return [] if ours is None else [f"plans, the file's → this network's: {line}" for line in difference(theirs, ours)]


def _refusal(loading: _Loading, other: list[str]) -> BadConfiguration:
    report = loading.report
    shown = [*other, *map(mismatch, report.mismatched), *(f"{key}: not in the file" for key in report.missing)]
    more = [f"… and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    hint = (
        "Pretrain with plans that were transferred from this dataset (PlanTransfer), so that both networks are the same; "
        "or load what fits (spec.pretrained.mismatched: Skip, by hand --pretrained-mismatched Skip)."
    )
    if loading.policies.mismatched == "Skip":
        hint = "Take weights of a network like this one."
    elif loading.other_channels is not None and len(report.mismatched) == 1 and not report.missing:
        there, wanted = loading.other_channels
        hint = (
            f"The file's network has {channels.counted(there)}, this one {wanted}. Say how the first "
            "convolution is adapted: spec.pretrained.inputChannels (by hand --pretrained-input-channels) "
            "Repeat, Average or Reinitialize."
        )
    return BadConfiguration(
        "PretrainedMismatch",
        f"The weights of {report.source} do not fit this network: {len(report.mismatched)} tensors have another shape, "
        f"{len(report.missing)} are missing, {len(report.loaded)} fit.",
        findings=shown[:SHOWN] + more,
        hint=hint,
    )
