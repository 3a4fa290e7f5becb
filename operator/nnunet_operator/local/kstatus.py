"""Where an object stands, read from its conditions as kstatus does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Any

from nnunet_trainer.contract.faults import ExitCode

Manifest = dict[str, Any]


class Standing(Enum):
    """What may still become of an object by itself."""

    GOING = "going on"
    READY = "ready"
    STALLED = "stalled"
    SUSPENDED = "suspended"


EXIT_CODES = {
    ExitCode.BAD_DATA: (
        *("InvalidCases", "InvalidDatasetJson", "InvalidSplits", "InvalidFingerprint", "InvalidFile", "MissingFile"),
        *("DatasetChanged", "BadData"),
        *("MissingCheckpoint", "DamagedCheckpoint", "NotACheckpoint", "UnsafeCheckpoint"),
        *("ObjectNotFound", "ArtifactDamaged", "ArtifactFormat", "ArtifactIncomplete", "ArtifactMismatch"),
        *("InvalidPreprocessedData", "MissingPreprocessedData", "NoCases", "TooFewCases"),
    ),
    ExitCode.GPU_OUT_OF_MEMORY: ("OutOfGPUMemory",),
    ExitCode.IO_ERROR: (
        *("StorageUnavailable", "OutOfDisk", "StorageUnreachable", "StorageFull", "StorageFailing", "ScratchFull"),
        *("ClockSkew", "CannotWrite", "CheckpointNotWritten"),
    ),
    ExitCode.TRY_AGAIN: (
        "BackoffLimitExceeded",
        "TooManyDisruptions",
        "DeadlineExceeded",
        "OutOfMemory",
        "TryAgain",
        "FoldsFailed",
    ),
}
"""The exit code that says best why something stalled; 78 for all other reasons."""


def condition(manifest: Manifest, type_: str) -> Manifest:
    """The condition of a type; an empty one when there is none."""
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == type_), {})


def of(manifest: Manifest) -> Standing:
    """Where an object stands; a spec that nobody has looked at yet is going on."""
    status = manifest.get("status") or {}
    if status.get("observedGeneration") != manifest["metadata"].get("generation"):
        return Standing.GOING
    if condition(manifest, "Stalled").get("status") == "True":
        return Standing.STALLED
    if condition(manifest, "Ready").get("status") == "True":
        return Standing.READY
    if manifest["spec"].get("suspend") and condition(manifest, "Ready").get("reason") == "Suspended":
        return Standing.SUSPENDED
    return Standing.GOING


def reason(manifest: Manifest) -> tuple[str, str]:
    """Reason and message of `Ready`."""
    ready = condition(manifest, "Ready")
    return ready.get("reason", ""), ready.get("message", "")


def exit_code(stalled: Manifest) -> ExitCode:
    """The exit code for an object that stalled."""
    why = reason(stalled)[0]
    return next((code for code, reasons in EXIT_CODES.items() if why in reasons), ExitCode.BAD_CONFIGURATION)


def backs_off(manifest: Manifest, now: datetime) -> bool:
    """Whether some work of an object waits for a moment to come before it is tried again."""
    return any(datetime.fromisoformat(text) > now for text in _values(manifest.get("status"), "notBefore"))


def _values(data: Any, name: str) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            if key == name and isinstance(value, str):
                yield value
            yield from _values(value, name)
    elif isinstance(data, list):
        for item in data:
            yield from _values(item, name)
