"""Whether a report answers the order that was given: what a pod says is checked before it counts."""

from __future__ import annotations

import re
from dataclasses import replace

from nnunet_trainer.contract import uri
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.report import Report

PLACES = ("folderUri", "checkpointUri", "bestUri")
"""What a summary says of places in the storage."""
LONGEST_URI = 2048
SHOWN = 200
"""Characters of what was said that are shown."""

_DIGEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]{0,127}")


def problem(report: Report, step: str, artifact: str, storage: str | None) -> str | None:
    """Why a report does not count, as a clause; None when it does.

    Args:
        report: of a step that succeeded.
        step: the step that was ordered.
        artifact: the kind of artifact that the step makes.
        storage: the URI of the order's storage; None where that is not known: then no URI is checked against it.
    """
    if report.step != step:
        return f"it is of step {report.step[:SHOWN]!r}, not of {step}"
    made = report.artifact(artifact)
    if made is None:
        return f"it names no artifact of kind {artifact}"
    if not _DIGEST.fullmatch(made.digest):
        return f"the digest of its artifact, {made.digest[:SHOWN]!r}, is none"
    if not _counts(made.uri, storage):
        where = f"below the storage of its order, {storage}" if storage is not None else "the URI of a place"
        return f"its artifact, {made.uri[:SHOWN]!r}, is not {where}"
    return None


def only_below(report: Report, storage: str | None) -> Report:
    """A report without what it says of places outside the storage of its order: nobody is sent there."""
    kept = {key: value for key, value in report.summary.items() if key not in PLACES or _counts(value, storage)}
    return replace(report, summary=kept, detail=report.detail if _counts(report.detail, storage) else None)


def _counts(place: object, storage: str | None) -> bool:
    return isinstance(place, str) and len(place) <= LONGEST_URI and (storage is None or is_below(place, storage))


def is_below(place: str, storage: str) -> bool:
    """Whether a URI names something within a storage. One that cannot be read, or leaves its root by `..`, does not."""
    try:
        found, root = uri.parse(place), uri.parse(storage)
    except BadConfiguration:
        return False
    folder = root.path.rstrip("/")
    inside = found.path.startswith(f"{folder}/") if folder or root.scheme == "file" else bool(found.path)
    return (found.scheme, found.authority) == (root.scheme, root.authority) and inside
