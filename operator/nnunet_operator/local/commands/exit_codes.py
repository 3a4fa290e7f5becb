"""The exit code of a call whose objects do not become ready."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.faults import ExitCode

from ...api import kstatus

Manifest = dict[str, Any]

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
        "TooManyDisruptions",
        "DeadlineExceeded",
        "OutOfMemory",
        "TryAgain",
        "FoldsFailed",
    ),
}
"""The exit code that says best why something stalled; 78 for all other reasons."""


def of_failed(manifest: Manifest) -> ExitCode:
    """The exit code for an object that failed."""
    reason, _ = kstatus.reason(manifest)
    return next((code for code, reasons in EXIT_CODES.items() if reason in reasons), ExitCode.BAD_CONFIGURATION)
