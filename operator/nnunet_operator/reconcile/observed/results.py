"""What a successful step reported, as status: from then on it stands there, whatever becomes of the Job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnunet_trainer.contract.report import Artifact, Report
from nnunet_trainer.contract.work_order import Location

from ...api.common import ArtifactStatus
from ...api.dataset import DatasetStatus, FingerprintStatus
from ...api.plans import CompatibilityLine, ConfigurationStatus, PlansStatus, PluginStatus
from ...api.starting_point import PretrainedStatus
from ...api.training_run import CheckpointStatus, FoldStatus
from .. import locations
from ..blocker import Blocker
from . import report_summary as read
from .report_checks import LONGEST_URI

PLANNED = ("patch_size", "batch_size", "spacing", "median_shape", "estimated_gpu_memory_gb", "network_digest", "preprocessable")
"""What a row knows of the plans alone."""

MOST_CONFIGURATIONS = 64

LONGEST_SENTENCE, LONGEST_DETAIL = 1024, 2048

PRETRAINED_COUNTS = ("loaded", "adapted", "skipped", "mismatched", "missing", "unused")


def dataset(status: DatasetStatus, report: Report) -> None:
    """Cases, channels, labels and the fingerprint in short."""
    said = report.summary
    status.artifact = _artifact(report, "dataset")
    status.cases = read.integer(said, "cases")
    status.channels = read.texts(said, "channels", most=64)
    status.labels = read.texts(said, "labels")
    status.fingerprint = FingerprintStatus(
        median_spacing=read.numbers(said, "medianSpacing"),
        median_shape=read.numbers(said, "medianShape"),
        size_bytes=read.integer(said, "sizeBytes", read.MOST_BYTES),
        reader=read.text(said, "reader", 128),
        file_ending=read.text(said, "fileEnding", 32),
    )
    status.warnings = read.lines(said, "warnings", most=16)
    status.report = _detail(report)


def plans(status: PlansStatus, report: Report) -> None:
    """What was planned; rows of configurations that are preprocessed already keep that."""
    said = report.summary
    status.artifact = _artifact(report, "plans")
    status.plans_name = read.text(said, "plansName", 100) or status.plans_name
    status.planner = read.text(said, "planner", 100)
    status.calibration = read.text(said, "calibration", 512)
    planned = read.maps(said, "configurations")
    rows = {row.name: row for row in status.configurations}
    for name, row in rows.items():
        if name not in planned:
            for field in PLANNED:
                setattr(row, field, None)
    for name, shape in planned.items():
        if len(name) <= 63 and (name in rows or len(rows) < MOST_CONFIGURATIONS):
            _configuration(rows.setdefault(name, ConfigurationStatus(name=name)), shape)
    status.configurations = [rows[name] for name in sorted(rows)]
    plugins = (_plugin(item) for item in read.objects(said, "plugins") if read.text(item, "name"))
    status.plugins = list({plugin.name: plugin for plugin in plugins}.values()) or None
    status.warnings = read.lines(said, "warnings")
    status.compatibility = _unique(_line(item) for item in read.objects(said, "compatibility")) or None
    status.report = _detail(report)


def preprocessed(row: ConfigurationStatus, report: Report) -> None:
    """Where the data of a configuration lies."""
    said = report.summary
    row.preprocessed = _artifact(report, "preprocessed")
    row.cases_total = row.cases_done = read.integer(said, "cases")
    row.size_bytes = read.integer(said, "sizeBytes", read.MOST_BYTES)
    row.found = read.flag(said, "found")


def fold(row: FoldStatus, report: Report, store: Location | Blocker) -> None:
    """Losses, Dice, and where checkpoints and results lie."""
    said, artifact = report.summary, report.artifact("run")
    assert artifact is not None
    row.epochs = read.integer(said, "epochs") or row.epochs
    row.epoch = row.epochs if row.epochs is not None else row.epoch
    row.train_loss = _rounded(read.number(said, "trainLoss"), row.train_loss)
    row.val_loss = _rounded(read.number(said, "valLoss"), row.val_loss)
    row.pseudo_dice = _rounded(read.share(said, "emaPseudoDice"), row.pseudo_dice)
    row.validation_dice = _rounded(read.share(said, "validationDice"), None)
    row.dice_per_label = read.shares(said, "dicePerLabel")
    resumed = read.integer(said, "resumedFromEpoch")
    row.resumed_from_epoch = row.resumed_from_epoch if resumed is None else resumed
    row.found = read.flag(said, "found")
    seconds = _not_negative(read.number(said, "seconds"))
    row.seconds = None if seconds is None else round(seconds)
    row.folder = read.text(said, "folderUri", LONGEST_URI)
    # A fold can only have succeeded if there was a storage; it may be gone from the settings since.
    access = Location(uri="") if isinstance(store, Blocker) else store
    row.artifact = locations.status(locations.at(artifact.uri[:LONGEST_URI], access))
    row.digest = artifact.digest[:128]
    row.checkpoint = _checkpoint(said, "checkpointUri", row.epochs, read.text(said, "checkpointSha256", 64)) or row.checkpoint
    row.best = _checkpoint(said, "bestUri", None, read.text(said, "bestSha256", 64))
    row.pretrained = _pretrained(said.get("pretrained"))
    row.continued = read.text(said, "continued", LONGEST_SENTENCE)
    row.eta = None


def _pretrained(said: Any) -> PretrainedStatus | None:
    source = read.text(said, "source", LONGEST_URI) if isinstance(said, dict) else None
    if source is None:
        return None
    counts = {name: count for name in PRETRAINED_COUNTS if (count := read.integer(said, name)) is not None and count >= 0}
    return PretrainedStatus(source=source, message=read.text(said, "message", LONGEST_SENTENCE), **counts)


def _checkpoint(said: dict[str, Any], key: str, epoch: int | None, sha256: str | None) -> CheckpointStatus | None:
    uri = read.text(said, key, LONGEST_URI)
    return CheckpointStatus(uri=uri, epoch=epoch, sha256=sha256) if uri else None


def _configuration(row: ConfigurationStatus, said: dict[str, Any]) -> None:
    row.patch_size = read.integers(said, "patchSize", 3)
    row.batch_size = read.integer(said, "batchSize")
    row.spacing = read.numbers(said, "spacing", 3)
    row.median_shape = read.numbers(said, "medianShape", 3)
    row.estimated_gpu_memory_gb = _not_negative(read.number(said, "estimatedGpuMemoryGB"))
    row.network_digest = read.text(said, "networkDigest", 128)
    row.previous_stage = read.text(said, "previousStage", 63)
    row.previous_stage_folds = read.integer(said, "previousStageFolds")
    # A planned row is known by this; a report that was cut may lack it.
    row.preprocessable = read.flag(said, "preprocessable") is not False


def _plugin(said: dict[str, Any]) -> PluginStatus:
    return PluginStatus(
        name=read.text(said, "name", 253) or "?",
        version=read.text(said, "version", 128),
        digest=read.text(said, "digest", 128),
        needed=read.flag(said, "needed"),
    )


def _line(said: dict[str, Any]) -> CompatibilityLine:
    return CompatibilityLine(
        field=read.text(said, "field", 128) or "?",
        source=_said(said, "source"),
        target=_said(said, "target"),
        verdict=_said(said, "verdict") or "",
    )


def _said(line: dict[str, Any], key: str) -> str | None:
    value = line.get(key)
    if isinstance(value, (dict, list)):
        return (
            ", ".join(f"{k}: {v}" for k, v in value.items())[:512] if isinstance(value, dict) else ", ".join(map(str, value))[:512]
        )
    return None if value is None else str(value)[:512]


def _unique(lines: Iterable[CompatibilityLine]) -> list[CompatibilityLine]:
    return list({line.field: line for line in lines}.values())


def _artifact(report: Report, kind: str) -> ArtifactStatus:
    found: Artifact | None = report.artifact(kind)
    assert found is not None
    return ArtifactStatus(uri=found.uri[:LONGEST_URI], digest=found.digest[:128])


def _detail(report: Report) -> str | None:
    return report.detail[:LONGEST_DETAIL] if report.detail else None


def _not_negative(value: float | None) -> float | None:
    return value if value is not None and value >= 0 else None


def _rounded(value: float | None, otherwise: float | None) -> float | None:
    return otherwise if value is None else round(value, 5)
