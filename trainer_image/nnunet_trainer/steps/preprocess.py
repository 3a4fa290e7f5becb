"""The step `preprocess`: one shard of a dataset's cases for one configuration. Each finished case is kept at once."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..artifacts import ObjectStore, artifact, digests, open_store
from ..artifacts.artifact import Artifact
from ..artifacts.digests import FileEntry
from ..artifacts.parallel import THREADS, for_each
from ..artifacts.writer import ArtifactWriter, as_json
from ..contract import keys, pod, report
from ..contract.faults import BadData, BadUsage
from ..contract.json_text import codec
from ..contract.progress import ProgressHook
from ..contract.report import Report
from ..contract.work_order import PreprocessOrder
from ..dataset import parallel
from ..dataset.raw import RawDataset
from ..dataset.readers import by_name
from ..planning.plans import Configuration, Plans, plugins
from ..preprocessing.dataset import preload, preprocess_and_store
from ..preprocessing.memory import memory_estimate
from ..preprocessing.storage import SUFFIXES
from .common import Teller, import_plugins, named, read_input, report_of, scratch
from .raw import Source, case_files

DONE = "done/"
COPIED = ("dataset.json", "dataset_fingerprint.json", "splits_final.json")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneCase:
    """A case's marker: written after its files, so that a case without it is made again."""

    case: str
    files: list[FileEntry] = field(default_factory=list)


def carry_out(order: PreprocessOrder, listener: ProgressHook) -> Report:
    """Make this shard's part of `preprocessed/<dataset>/<digest>`; whoever sees all cases done writes the manifest.

    Raises:
        BadData: the dataset changed after it was read, or a case cannot be preprocessed.
        BadConfiguration: the plans have no such configuration, or need a plug-in that is missing or another.
    """
    tell = Teller("preprocess", listener)
    tell("reading")
    import_plugins(order)
    dataset, found = read_input(order.dataset, "dataset"), read_input(order.plans, "plans")
    plans = Plans(found.read_json(f"{found.manifest.summary['plansName']}.json"))
    plugins.require(plans.content, plugins.FOR_DATA)
    configuration = plans.configuration(order.configuration)
    digest = keys.preprocessed_digest(order.dataset.digest, configuration.preprocessing_fields())
    storage, prefix = open_store(order.storage), keys.preprocessed(order.dataset_name, digest)
    if there := artifact.find_whole(storage, prefix):
        return report_of("preprocess", there, found=True)
    source = Source(order.source, order.layout, order.dataset_name)
    recorded = source.refuse_changes(dataset)
    files = case_files(source.described, order.layout, [f.path for f in recorded.files])
    there = {f.path for f in recorded.files}
    for paths in files.values():
        paths += [beside for path in list(paths) for beside in (recorded.companions or {}).get(path, ()) if beside in there]
    shard = own_shard(sorted(files), order.shards)
    work = _Shard(storage, prefix, source, plans, configuration, tell, shard, complete=recorded.companions is not None)
    work.carry_out(files)
    made = _conclude(order, dataset, storage, prefix, digest, sorted(files))
    if made is not None:
        return report_of("preprocess", made, found=False)
    summary = {"configuration": order.configuration, "cases": len(files), "shardCases": len(shard), "found": False}
    entry = report.Artifact(kind="preprocessed", uri=storage.uri(prefix), digest=digest)
    return Report(step="preprocess", artifacts=[entry], summary=summary)


def own_shard(cases: list[str], shards: int) -> list[str]:
    """The cases of this pod's completion index: every `shards`-th."""
    index = int(os.environ.get(pod.ENV_SHARD, "0"))
    if not 0 <= index < shards:
        raise BadUsage("InvalidWorkOrder", f"{pod.ENV_SHARD} is {index}; the order has {shards} shards.")
    return cases[index::shards]


class _Shard:
    """The cases of one pod: staged in chunks, preprocessed, uploaded each as it is finished."""

    def __init__(
        self,
        storage: ObjectStore,
        prefix: str,
        source: Source,
        plans: Plans,
        configuration: Configuration,
        tell: Teller,
        cases: list[str],
        *,
        complete: bool,
    ) -> None:
        """`complete`: the companions of images were written down when the dataset was read."""
        self.complete = complete
        self.storage, self.prefix, self.source, self.tell = storage, prefix, source, tell
        self.plans, self.configuration, self.cases = plans, configuration, cases
        self.out = scratch("preprocessed", configuration.data_identifier)

    def carry_out(self, files: dict[str, list[str]]) -> None:
        whole = _whole(self.storage, self.prefix, self.cases)
        left = [case for case in self.cases if case not in whole]
        done = len(self.cases) - len(left)
        if done:
            log.info("%d of %d cases are done already", done, len(self.cases))
        self.tell("preprocessing", done, len(self.cases))
        mounted = self.source.store.local_path("") is not None
        size = max(1, len(left)) if mounted else max(16, 4 * parallel.cpu_limit())
        for chunk in (left[i : i + size] for i in range(0, len(left), size)):
            staged = self.source.stage(list(dict.fromkeys(["dataset.json", *(path for case in chunk for path in files[case])])))
            if not self.complete:
                self._refuse_companions(staged)
            folder = self.source.layout_folder(staged, chunk)
            with named(staged, self.source.uri):
                self._chunk(RawDataset.open(folder, name=self.source.name), chunk, done)
            done += len(chunk)
            if not mounted:
                shutil.rmtree(staged)

    def _refuse_companions(self, staged: Path) -> None:
        """Of data that was read when companions were no part of it, none may have any: they would not have been staged."""
        beside = self.source.companions(staged)
        if there := sorted(self.source.with_companions({}, beside)):
            raise BadData(
                "DatasetChanged",
                f"{self.source.uri} was read when what is read beside the images was no part of a dataset; {there[0]} is.",
                hint="Give the Dataset a new spec.rerun, which reads it again.",
            )

    def _chunk(self, raw: RawDataset, chunk: list[str], done: int) -> None:
        missing = [c for c in chunk if c not in raw.cases]
        if missing:
            raise BadData("InvalidCases", f"{raw.folder} has no case {', '.join(missing[:5])}.")
        self.out.mkdir(parents=True, exist_ok=True)
        plans, name = self.plans.content, self.configuration.name
        jobs = [(case, raw.cases[case], plans, name, raw.dataset_json, self.out) for case in chunk]
        weights = [memory_estimate(raw.cases[case], self.configuration) for case in chunk]
        with ThreadPoolExecutor(THREADS) as pool:
            uploads: list[Future[None]] = []
            workers = parallel.num_workers(None, len(jobs))
            for index, _ in parallel.run(preprocess_and_store, jobs, workers, weights, preload(self.configuration)):
                case = chunk[index]
                uploads.append(pool.submit(self._keep, case, raw.cases[case].label, raw.file_ending))
                self.tell("preprocessing", done + len(uploads), len(self.cases))
            for upload in uploads:
                upload.result()

    def _ground_truth(self, case: str, label: Path, ending: str) -> list[tuple[str, Path]]:
        """A label under the case's name, with its companions: their names in the artifact and the files."""
        reader, name = by_name(self.plans.image_reader_writer), f"{case}{ending}"
        if not reader.companions(label, label=True):
            return [(f"gt_segmentations/{name}", label)]
        copies = reader.copy_label(label, self.out / "gt_segmentations" / name)
        return [(f"gt_segmentations/{copy.name}", copy) for copy in copies]

    def _keep(self, case: str, label: Path | None, ending: str) -> None:
        """Upload a case's files, then its marker; what is uploaded leaves scratch."""
        parts = [(f"cases/{path.name}", path) for path in _parts(self.out, case)]
        if label is not None:
            parts += self._ground_truth(case, label, ending)
        entries = []
        for name, path in parts:
            self.storage.put_file(path, f"{self.prefix}/{name}")
            entries.append(digests.entry(path, name))
        self.storage.put(f"{self.prefix}/{DONE}{case}.json", as_json(codec.to_plain(DoneCase(case=case, files=entries))))
        for _, path in parts:
            if path.is_relative_to(self.out):
                path.unlink()


def _parts(folder: Path, case: str) -> list[Path]:
    return [folder / f"{case}{suffix}" for suffix in SUFFIXES]


def _whole(storage: ObjectStore, prefix: str, cases: Sequence[str]) -> dict[str, DoneCase]:
    """The cases that have their marker, and files of the sizes that it says: by a listing, without reading them."""
    sizes = {info.key: info.size for info in storage.list(f"{prefix}/")}
    found: dict[str, DoneCase] = {}

    def look(case: str) -> None:
        marker = f"{prefix}/{DONE}{case}.json"
        if marker not in sizes:
            return
        try:
            done = codec.loads(DoneCase, storage.get(marker))
        except codec.CodecError:
            done = DoneCase(case=case)
        if done.files and all(sizes.get(f"{prefix}/{entry.path}") == entry.size for entry in done.files):
            found[case] = done
        else:
            log.warning("Case %s is preprocessed again: what %s has of it is damaged.", case, storage.uri(prefix))

    for_each(cases, look)
    return {case: found[case] for case in cases if case in found}


def _conclude(
    order: PreprocessOrder, dataset: Artifact, storage: ObjectStore, prefix: str, digest: str, cases: list[str]
) -> Artifact | None:
    """Write the manifest when every case of every shard is done; None when other shards have some left."""
    whole = _whole(storage, prefix, cases)
    if len(whole) < len(cases):
        return None
    writer = ArtifactWriter(storage, prefix, "preprocessed", digest)
    for done in whole.values():
        for entry in done.files:
            writer.add(entry)
    for name in COPIED:
        writer.put_bytes(name, dataset.read(name))
    size = writer.size
    summary = {"configuration": order.configuration, "cases": len(cases), "shardCases": len(own_shard(cases, order.shards))}
    writer.finish({**summary, "sizeBytes": size}, {"dataset": order.dataset.digest, "plans": order.plans.digest})
    return artifact.require(storage, "preprocessed", digest, prefix)
