"""Which files of a fold are wanted, and what each is to be called in nnU-Net's results folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nnunet_trainer.artifacts import artifact
from nnunet_trainer.artifacts.store import ObjectStore
from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadData

from .places import FoldPlace

MODEL_FILES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
"""Beside the folds, of all of them."""

GROUPS = {
    "checkpoints": re.compile(r"checkpoint_[a-z]+\.pth"),
    "validation": re.compile(rf"(?:validation|{keys.PREDICTED_NEXT_STAGE})/.*"),
    "logs": re.compile(r"training_log.*|progress\.png|debug\.json|report\.json|events\..*"),
}
"""What `--only` names, as paths in a fold's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedFile:
    """One object of the storage, and the file that it becomes. Without `sha256` the storage does not say what it should hold."""

    key: str
    target: str  # below the folder that stands for nnUNet_results
    size: int
    sha256: str | None = None


def wanted(store: ObjectStore, place: FoldPlace, only: str | None = None) -> list[WantedFile]:
    """The files of a fold.

    Args:
        store: rooted at the run's prefix.
        place: of the fold.
        only: one of `GROUPS`; None: all.

    Raises:
        BadData: the fold's manifest is not there, or cannot be read.
    """
    found = list(_of_finished(store, place) if place.done else _of_unfinished(store, place))
    group = GROUPS[only] if only else None
    head = f"{place.below}/"
    model = f"{place.below.rpartition('/')[0]}/"

    def is_meant(target: str) -> bool:
        inner = target.removeprefix(head) if target.startswith(head) else target.removeprefix(model)
        return group is None or bool(group.fullmatch(inner)) or (only == "checkpoints" and inner in MODEL_FILES)

    return [file for file in found if is_meant(file.target)]


def _of_finished(store: ObjectStore, place: FoldPlace) -> Iterator[WantedFile]:
    prefix = f"nnUNet_results/{place.below}"
    whole = artifact.require(store, "run", prefix=prefix)
    model = place.below.rpartition("/")[0]
    for name in MODEL_FILES:
        if info := store.stat(f"nnUNet_results/{model}/{name}"):
            yield WantedFile(key=info.key, target=f"{model}/{name}", size=info.size)
    for path, entry in whole.files.items():
        if not all(keys.is_one_name(part) for part in path.split("/")):
            raise BadData("ArtifactDamaged", f"{whole.uri}/{keys.MANIFEST} names a file {path!r}, which no training writes.")
        # nnU-Net looks for these beside the folds; the fold's own copy is the one with a digest.
        folder = model if path.startswith(f"{keys.PREDICTED_NEXT_STAGE}/") else place.below
        yield WantedFile(key=whole.key(path), target=f"{folder}/{path}", size=entry.size, sha256=entry.sha256)


def _of_unfinished(store: ObjectStore, place: FoldPlace) -> Iterator[WantedFile]:
    """The newest checkpoint, as nnU-Net calls the one that a training goes on from, and the logs so far."""
    key = str(place.checkpoint["uri"]).removeprefix(f"{place.run}/")
    if info := store.stat(key):
        sha256 = place.checkpoint.get("sha256")
        yield WantedFile(key=key, target=f"{place.below}/checkpoint_latest.pth", size=info.size, sha256=sha256)
    for key, size in logs(store, place):
        yield WantedFile(key=key, target=f"{place.below}/{key.rpartition('/')[2]}", size=size)


def logs(store: ObjectStore, place: FoldPlace) -> list[tuple[str, int]]:
    """Key and size of each `training_log_….txt` of a fold, in the order in which they were begun."""
    if place.done:
        below = f"nnUNet_results/{place.below}/training_log"
        found = [(info.key, info.size) for info in store.list(below)]
    else:
        pattern = re.compile(rf"attempts/[^/]+/fold_{re.escape(place.fold)}/training_log[^/]*")
        found = [(info.key, info.size) for info in store.list("attempts/") if pattern.fullmatch(info.key)]
        by_name = {key.rpartition("/")[2]: (key, size) for key, size in found}  # a later attempt keeps the earlier ones' too
        found = list(by_name.values())
    return sorted(found, key=lambda item: _begun(item[0]))


def _begun(key: str) -> list[int]:
    """The moment in a log's name: `training_log_2026_11_3_09_05_07.txt`; its numbers have no zeros in front."""
    return [int(number) for number in re.findall(r"\d+", key.rpartition("/")[2])]
