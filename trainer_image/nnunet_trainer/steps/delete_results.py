"""The step `delete_results`: what a TrainingRun with `retention: Delete` has left in its storage goes, and nothing else.

Only prefixes `runs/<namespace>/<run>/<digest>` in which the run is noted as an owner, and nobody beside it (`steps.owners`), are
touched; of those only files that a training writes, by their names and by the manifests of the folds. Whatever else lies there
stays, and so does all of which it is not sure whose it is; the report says what stays and why.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from ..artifacts import ObjectInfo, ObjectStore, artifact, open_store
from ..artifacts.parallel import for_each
from ..contract import keys, report
from ..contract.faults import BadData, BadUsage, Fault
from ..contract.keys import MANIFEST, PREDICTED_NEXT_STAGE
from ..contract.progress import ProgressHook
from ..contract.report import Report
from ..contract.work_order import DeleteResultsOrder
from . import owners
from .common import Teller

UNSIGNED = "nobody: a version before 0.2.0 wrote them"
MOST_SHOWN = 3
"""Names that a sentence shows."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_MODEL = r"nnUNet_results/[^/]+/[^/]+"
_FOLD = re.compile(rf"(?P<folder>{_MODEL}/fold_(?:all|[0-9]{{1,2}}))/(?P<file>.+)")
_WRITTEN = re.compile(
    rf"attempts/.+|{_MODEL}/(plans|dataset|dataset_fingerprint)[.]json|{_MODEL}/{PREDICTED_NEXT_STAGE}/[^/]+/[^/]+"
)
_WRITTEN_IN_A_FOLD = re.compile(
    r"checkpoint_[a-z]+[.]pth|training_log[^/]*|progress[.]png|(debug|report|manifest)[.]json|"
    rf"validation(_after_ep_[0-9]+)?/[^/]+|{PREDICTED_NEXT_STAGE}/[^/]+/[^/]+"
)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Done:
    """What became of the prefixes."""

    deleted: int = 0
    size: int = 0
    kept: list[str] = field(default_factory=list)


def carry_out(order: DeleteResultsOrder, listener: ProgressHook) -> Report:
    """Delete a run's results. Done again, it goes on where it was interrupted.

    Raises:
        BadUsage: the order names no run.
        BadConfiguration: the storage refuses it.
        StorageFault: the storage cannot be reached.
    """
    _check(order)
    tell = Teller(order.step, listener)
    tell("reading")
    store, done = open_store(order.storage), _Done()
    top = keys.runs(order.namespace, order.run)
    for run, infos in _by_run(store, top):
        found = list(infos)
        whose = owners.of(store, run).uids
        if order.owner in whose:
            _delete_run(store, run, order, found, done, tell)
        else:
            why = " and ".join(owners.describe(store, run, uid) for uid in sorted(whose)) or UNSIGNED
            done.kept.append(f"{store.uri(run)}: its results are noted as those of {why}")
    for line in done.kept:
        log.warning("kept: %s", line)
    summary = {"deleted": done.deleted, "sizeBytes": done.size, "kept": done.kept}
    entry = report.Artifact(kind="deletion", uri=store.uri(top), digest=order.owner)
    return Report(step=order.step, artifacts=[entry], summary=summary)


def _check(order: DeleteResultsOrder) -> None:
    """No name may lead to another prefix."""
    for name, pattern in ((order.namespace, _LABEL), (order.run, _LABEL), (order.owner, _UID)):
        if not pattern.fullmatch(name) or ".." in name:
            raise BadUsage("InvalidWorkOrder", f"{name!r} is no name of a namespace, a TrainingRun or its uid.")


def _by_run(store: ObjectStore, top: str) -> Iterable[tuple[str, Iterable[ObjectInfo]]]:
    """All objects below `runs/<namespace>/<run>`, by the prefix of their digest. What lies beside such prefixes is nobody's."""
    found = [info for info in store.list(f"{top}/") if re.match(r"[0-9a-f]{16}/.", info.key.removeprefix(f"{top}/"))]
    return groupby(found, lambda info: f"{top}/{info.key.removeprefix(f'{top}/').partition('/')[0]}")


def _delete_run(
    store: ObjectStore, run: str, order: DeleteResultsOrder, found: list[ObjectInfo], done: _Done, tell: Teller
) -> None:
    try:
        others = owners.announce_deletion(store, run, order)
        if others:
            names = " and ".join(owners.describe(store, run, uid) for uid in sorted(others))
            done.kept.append(f"{store.uri(run)}: its results are those of {names} too")
        else:
            _delete_files(store, run, found, done, tell)
            with contextlib.suppress(Fault):  # some stores do not know how, some people may not
                store.discard_unfinished(f"{run}/attempts/")
    finally:
        owners.end_deletion(store, run, order)
    owners.leave(store, run, order)
    _remove_empty_folders(store, run)


def _delete_files(store: ObjectStore, run: str, found: list[ObjectInfo], done: _Done, tell: Teller) -> None:
    is_written, strange = _written_files(store, run, found), []
    mine = []
    for info in found:
        name = info.key.removeprefix(f"{run}/")
        if name.startswith("owners/"):
            continue
        (mine if is_written(name) and _is_within(store, run, info.key) else strange).append(info)
    # Manifests last: what an interruption leaves is known by them.
    parts = [info for info in mine if not info.key.endswith(f"/{MANIFEST}")]
    manifests = [info for info in mine if info.key.endswith(f"/{MANIFEST}")]
    count = tell.counter("deleting", len(mine))

    def delete(info: ObjectInfo) -> None:
        store.delete(info.key)
        count()

    for group in (parts, manifests):
        for_each(group, delete)
    done.deleted += len(mine)
    done.size += sum(info.size for info in mine)
    if strange:
        names = ", ".join(info.key.removeprefix(f"{run}/") for info in strange[:MOST_SHOWN])
        more = f" and {len(strange) - MOST_SHOWN} more" if len(strange) > MOST_SHOWN else ""
        done.kept.append(f"{store.uri(run)}: no training wrote {names}{more}")


def _written_files(store: ObjectStore, run: str, found: list[ObjectInfo]) -> Callable[[str], bool]:
    """Whether a training wrote a file, by its name below the run's prefix."""
    listed: set[str] = set()
    for info in found:
        if info.key.endswith(f"/{MANIFEST}") and (fold := _FOLD.fullmatch(info.key.removeprefix(f"{run}/"))):
            with contextlib.suppress(BadData):  # it cannot be read: then its names tell
                there = artifact.find(store, f"{run}/{fold['folder']}")
                listed |= {f"{fold['folder']}/{path}" for path in there.files} if there else set()

    def is_written(name: str) -> bool:
        fold = _FOLD.fullmatch(name)
        by_name = _WRITTEN_IN_A_FOLD.fullmatch(fold["file"]) if fold else _WRITTEN.fullmatch(name)
        return name in listed or by_name is not None

    return is_written


def _is_within(store: ObjectStore, run: str, key: str) -> bool:
    """Whether a file lies where its name says: a folder may be a link to another place."""
    path, root = store.local_path(key), store.local_path("")
    if path is None or root is None:
        return True
    return path.parent.resolve().is_relative_to(root.resolve() / run)


def _remove_empty_folders(store: ObjectStore, run: str) -> None:
    """A mounted store keeps folders: those of the run that are empty go, and the one above them."""
    start = store.local_path(run)
    if start is None:
        return
    for folder, _, _ in os.walk(start, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    with contextlib.suppress(OSError):
        start.parent.rmdir()
