"""Segmentation heads that go on where source and target have a label of the same name."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.labels import LabelManager


def source_labels(content: dict[str, Any], source: str) -> LabelManager:
    """The labels that a checkpoint was trained on.

    Raises:
        BadConfiguration: the checkpoint does not say.
    """
    described = (content.get("init_args") or {}).get("dataset_json")
    hint = "Leave heads at Reinitialize, or take a checkpoint that nnU-Net or this trainer wrote."
    if not isinstance(described, dict):
        raise BadConfiguration(
            "PretrainedWithoutLabels",
            f"Heads shall be matched by label, but {source} does not name its labels: it has no init_args.dataset_json.",
            hint=hint,
        )
    try:
        return LabelManager(described)
    except BadData as fault:
        raise BadConfiguration(
            "PretrainedWithoutLabels", f"The labels that {source} was trained on cannot be read: {fault.message}", hint=hint
        ) from fault


class HeadMatch:
    """Which output channel of the target goes on from which one of the source. Names match exactly; so does `background`."""

    def __init__(self, theirs: LabelManager, ours: LabelManager) -> None:
        names = theirs.head_names
        self.theirs = len(names)
        self.rows = [(i, names.index(name)) for i, name in enumerate(ours.head_names) if name in names]
        self.kept = [name for name in ours.head_names if name in names]
        self.new = [name for name in ours.head_names if name not in names]
        self.same = names == ours.head_names
        kinds = {True: "regions (a sigmoid each)", False: "labels (a softmax over all)"}
        self.notes = [f"The file's labels: {', '.join(names)}."]
        if theirs.has_regions != ours.has_regions:
            self.notes.append(f"The file's heads are of {kinds[theirs.has_regions]}, this network's of {kinds[ours.has_regions]}.")

    def fits(self, theirs: Tensor, ours: Tensor) -> bool:
        """Whether a head (its weight or bias) can be taken over row by row."""
        return theirs.shape[0] == self.theirs and theirs.shape[1:] == ours.shape[1:]

    def matched(self, theirs: Tensor, ours: Tensor) -> Tensor:
        """`ours` with the rows that go on."""
        result = ours.detach().clone()
        for row, source in self.rows:
            result[row] = theirs[source].to(result)
        return result

    @property
    def described(self) -> str:
        """For the report."""
        return f"{len(self.kept)} of {len(self.kept) + len(self.new)} rows kept"
