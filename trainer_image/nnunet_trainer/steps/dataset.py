"""The step `dataset`: verify the raw data, take their digest, extract the fingerprint, write the splits."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Mapping
from typing import Any

from ..artifacts import ObjectInfo, ObjectStore, artifact, open_store
from ..artifacts.artifact import Artifact
from ..artifacts.writer import ArtifactWriter
from ..contract import keys
from ..contract.faults import BadData, Fault
from ..contract.json_text import codec
from ..contract.progress import ProgressHook
from ..contract.report import Report
from ..contract.work_order import DatasetOrder
from ..dataset import description, msd_description, parallel, splits
from ..dataset.raw import RawDataset
from ..dataset.verification.findings import Finding
from ..dataset.verification.findings import warnings as few_lines
from ..extensions import provenance
from ..fingerprint import extractors
from ..fingerprint.extraction import extract
from . import msd
from .common import Teller, import_plugins, named, report_of, scratch, with_plugins
from .raw import FILES, Source, SourceFiles, recorded_files

log = logging.getLogger(__name__)


def carry_out(order: DatasetOrder, listener: ProgressHook) -> Report:
    """Make `datasets/<name>/<digest>`: dataset.json, dataset_fingerprint.json, splits_final.json, files.json, report.json.

    Raises:
        BadData: dataset.json or cases with faults; all of them are named.
        BadConfiguration: a plug-in, or the extractor that it brings, cannot be used.
    """
    tell = Teller("dataset", listener)
    decisive = choices(order, import_plugins(order))
    extractors.make(order.extractor, order.extractor_parameters)  # before anything is fetched
    source, storage = Source(order.source, order.layout, order.name), open_store(order.storage)
    tell("listing")
    listing = source.listing()
    if known := _read_before(order.name, decisive, source, storage, listing):
        return report_of("dataset", known, found=True)
    _check_description(source, listing)
    folder = source.stage(listing, tell.counter("staging", len(listing)))
    beside = source.companions(folder)
    if further := set(whole := source.with_companions(listing, beside)) - set(listing):
        listing = whole
        source.stage(further)
    files = source.record(folder, listing, beside, tell.counter("taking digests", len(listing)))
    digest = files.digest(*decisive)
    prefix = keys.dataset(order.name, digest)
    if there := artifact.find_whole(storage, prefix):
        return report_of("dataset", there, found=True)
    with named(folder, source.uri), named(scratch("converted", order.name), source.uri):
        raw = RawDataset.open(source.layout_folder(folder), name=order.name)
        warnings = [*_verify(raw, tell), *_few_cases(raw, order.group_by)]
        fingerprint = extract(
            raw,
            parallel.cpu_limit(),
            extractor=order.extractor,
            parameters=order.extractor_parameters,
            progress=lambda done, total: tell("fingerprinting", done, total),
        )
    tell("uploading")
    _write(order, decisive, source, storage, raw, files, fingerprint, warnings, digest)
    return report_of("dataset", artifact.require(storage, "dataset", digest, prefix), found=False)


def choices(order: DatasetOrder, plugins: Mapping[str, str] | None = None) -> list[Any]:
    """What of an order decides its artifact beside the files; nothing where all is as nnU-Net does it.

    Args:
        order: the order.
        plugins: the digests of those that it names.
    """
    extractor = None if order.extractor == "DatasetFingerprintExtractor" else order.extractor
    readers = [("reader", name) for name in provenance.names("reader")]  # which one reads is known only when files are there
    parameters = [{"parameters": order.extractor_parameters}] if order.extractor_parameters else []
    further = [*parameters, *with_plugins(plugins or {}, [("extractor", order.extractor), *readers])]
    return [order.group_by, extractor, None if order.layout == "nnUNetV2" else order.layout, *further]


def _read_before(
    name: str, decisive: list[Any], source: Source, storage: ObjectStore, listing: Mapping[str, ObjectInfo]
) -> Artifact | None:
    """The artifact of exactly these files, when sizes and tags show it without reading them again."""
    base = f"datasets/{name}/"
    for info in storage.list(base):
        if not info.key.endswith(f"/{keys.MANIFEST}"):
            continue
        try:
            found = artifact.find(storage, info.key.removesuffix(f"/{keys.MANIFEST}"))
            if not found or found.manifest.inputs.get("choices") != decisive:
                continue
            if source.same(recorded_files(found), dict(listing)) and not artifact.damaged(found):
                return found
        except Fault:
            continue  # a damaged artifact is no reason not to make this one
    return None


def _check_description(source: Source, listing: Mapping[str, ObjectInfo]) -> None:
    """dataset.json first: whatever is wrong with it, and with what it names, is known before the images are fetched."""
    if source.layout == "MSD":
        described = msd_description.parse(source.read("dataset.json"), source.store.uri("dataset.json"))
        entries = msd_description.entries(described)
        msd.check_files(entries, listing)
        if left := msd_description.unlisted(entries, listing):
            log.warning("%s: training does not name %s; left out", source.store.uri("dataset.json"), ", ".join(sorted(left)))
        return
    staged = source.stage(["dataset.json"]) / "dataset.json"
    with named(staged.parent, source.uri):
        description.check(description.read_json(staged), staged)


def _verify(raw: RawDataset, tell: Teller) -> list[Finding]:
    """What is odd about the data without being a fault."""
    from ..dataset.verification.verify import verify

    tell("verifying", 0, len(raw.cases))
    found = verify(raw.folder, parallel.cpu_limit())
    findings = [f for f in found if f.fatal]
    if not findings:
        return found
    cases = {f.case for f in findings if f.case}
    every = len(cases | set(raw.cases))  # a label without an image is the rest of a case
    count = f"{len(cases)} of {every} {'case' if every == 1 else 'cases'}" if cases else raw.name
    raise BadData(
        "InvalidCases",
        f"{count} cannot be trained on",
        findings=[str(f) for f in findings],
        hint="Repair the files, then set spec.rerun to a new value.",
    )


def _few_cases(raw: RawDataset, group_by: str | None) -> list[Finding]:
    """Told before anything waits for a GPU."""
    few = None if (raw.folder / splits.FILE).is_file() else splits.shortage(list(raw.cases), group_by)
    return [Finding("", "", few, fatal=False)] if few else []


def _write(
    order: DatasetOrder,
    decisive: list[Any],
    source: Source,
    storage: ObjectStore,
    raw: RawDataset,
    files: SourceFiles,
    fingerprint: dict[str, Any],
    warnings: list[Finding],
    digest: str,
) -> None:
    summary = {
        "cases": len(raw.cases),
        "channels": raw.channel_names,
        "labels": raw.dataset_json["labels"],
        "fileEnding": raw.file_ending,
        "medianSpacing": _medians(fingerprint["spacings"]),
        "medianShape": _medians(fingerprint["shapes_after_crop"]),
        "sizeBytes": sum(f.size for f in files.files),
        "reader": raw.reader,
        **({"warnings": few_lines(warnings)} if warnings else {}),
    }
    given = raw.folder / splits.FILE
    folds = description.read_json(given) if given.is_file() else splits.make_splits(list(raw.cases), order.group_by)
    writer = ArtifactWriter(storage, keys.dataset(order.name, digest), "dataset", digest)
    writer.put_json("dataset.json", raw.dataset_json)
    writer.put_json("dataset_fingerprint.json", json.loads(json.dumps(fingerprint)))
    writer.put_json(splits.FILE, folds)
    writer.put_json(FILES, codec.to_plain(files))
    writer.put_json("report.json", {**summary, "cases": list(raw.cases), "warnings": [str(f) for f in warnings]})
    writer.finish(summary, {"source": source.uri, "choices": decisive})


def _medians(rows: list[list[float]]) -> list[float]:
    return [round(statistics.median(column), 6) for column in zip(*rows, strict=True)]
