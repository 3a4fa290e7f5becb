"""What became of each tensor when weights were loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .tensors import of_head

TensorShape = tuple[int, ...]

NAMED = 8
"""More labels than this are not read in a sentence."""

COUNTED = ("loaded", "adapted", "skipped", "mismatched", "missing", "unused")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """A tensor stands here once, by its shortest key, however many keys nnU-Net has for it."""

    source: str
    loaded: list[str] = field(default_factory=list)
    """As they are in the file."""
    adapted: list[tuple[str, str]] = field(default_factory=list)
    """Made to fit by a policy: the key, and what was done."""
    skipped: list[str] = field(default_factory=list)
    """They begin anew because a policy says so: the segmentation layers, a stem of other channels."""
    heads: list[str] = field(default_factory=list)
    """Those among them that are of segmentation layers."""
    mismatched: list[tuple[str, TensorShape, TensorShape]] = field(default_factory=list)
    """They begin anew because their shape is another: the key, the shape in the file, in the network."""
    missing: list[str] = field(default_factory=list)
    """They begin anew because the file does not have them."""
    unused: list[str] = field(default_factory=list)
    """In the file, not in the network."""
    kept_labels: list[str] = field(default_factory=list)
    """Labels or regions whose segmentation heads go on."""
    new_labels: list[str] = field(default_factory=list)
    """Labels or regions whose segmentation heads begin anew; filled where heads are matched by label."""
    notes: list[str] = field(default_factory=list)
    """What else a person should know."""

    def summary(self) -> dict[str, Any]:
        """Counts and one sentence: short enough for a status."""
        return {"source": self.source, **{name: len(getattr(self, name)) for name in COUNTED}, "message": self.sentence()}

    def tensors(self) -> dict[str, list[str]]:
        """Every tensor that was not simply loaded, by what became of it, and the labels whose heads were matched."""
        return {
            "adapted": [f"{key}: {done}" for key, done in self.adapted],
            "skipped": list(self.skipped),
            "mismatched": [mismatch(entry) for entry in self.mismatched],
            "missing": list(self.missing),
            "unused": list(self.unused),
            "keptLabels": list(self.kept_labels),
            "newLabels": list(self.new_labels),
        }

    @property
    def matched_labels(self) -> bool:
        """Whether heads were matched by label."""
        return bool(self.kept_labels or self.new_labels)

    def sentence(self) -> str:
        """The counts in words."""
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.adapted:
            parts.append(f"{len(self.adapted)} adapted")
        heads = sum(self._is_head(key) for key in self.skipped)
        if heads:
            parts.append(f"{heads} of the segmentation layers begin anew")
        if len(self.skipped) > heads:
            parts.append(f"{len(self.skipped) - heads} asked to begin anew")
        if self.mismatched:
            parts.append(f"{len(self.mismatched)} of another shape begin anew")
        if self.missing:
            parts.append(f"{len(self.missing)} that the file does not have begin anew")
        if self.unused:
            parts.append(f"{len(self.unused)} of the file not used")
        text = ", ".join(parts)
        if self.matched_labels:
            text += f"; heads kept: {_some(self.kept_labels)}; heads that begin anew: {_some(self.new_labels)}"
        return text

    def _is_head(self, key: str) -> bool:
        return key in self.heads or of_head(key)

    def __str__(self) -> str:
        return f"Pretrained weights from {self.source}: {self.sentence()}."

    def lines(self) -> list[str]:
        """For a log: the sentence, then a line for each tensor that does not begin as it is in the file, but whole heads."""
        return [
            str(self),
            *(f"  {note}" for note in self.notes),
            *(f"  adapted: {key}: {done}" for key, done in self.adapted),
            *(f"  begins anew: {key}" for key in self.skipped if not self._is_head(key)),
            *(f"  begins anew: {mismatch(entry)}" for entry in self.mismatched),
            *(f"  begins anew: {key}: not in the file" for key in self.missing),
        ]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (", ".join(names[:NAMED]) or "none") + more


def mismatch(entry: tuple[str, TensorShape, TensorShape]) -> str:
    """One line with both shapes."""
    key, theirs, ours = entry
    return f"{key}: {_shape(theirs)} in the file, {_shape(ours)} in the network"


def _shape(sizes: TensorShape) -> str:
    return "×".join(map(str, sizes)) or "scalar"
