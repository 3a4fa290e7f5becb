"""What all steps share."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..artifacts import artifact, open_store
from ..artifacts.artifact import Artifact
from ..contract import pod, report
from ..contract.faults import Fault, Temporary
from ..contract.progress import Progress, ProgressHook
from ..contract.report import Report
from ..contract.work_order import DatasetOrder, Input, PlanOrder, PreprocessOrder, TrainOrder, TransferOrder
from ..extensions import digest_of, load_plugins, plugin_folders, provenance

PluggedOrder = DatasetOrder | PlanOrder | TransferOrder | PreprocessOrder | TrainOrder
"""Those that may name plug-ins."""


class Teller:
    """Tells a listener the phase that a step is in, and how far it is."""

    def __init__(self, step: str, listener: ProgressHook) -> None:
        self.step, self.listener = step, listener

    def __call__(self, phase: str, done: int = 0, total: int = 0) -> None:
        self.listener(Progress(step=self.step, phase=phase, done=done, total=total))

    def counter(self, phase: str, total: int) -> Callable[[], None]:
        """A function to call at each of `total` things that is done."""
        self(phase, 0, total)
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            self(phase, done, total)

        return count


def import_plugins(order: PluggedOrder) -> dict[str, str]:
    """Import installed plug-ins, and those that an order names.

    They are imported from a copy, as are those of worker processes that begin hours later: a ConfigMap that is changed meanwhile
    is changed in the pod too.

    Returns:
        the digest of each that the order names.

    Raises:
        BadConfiguration: one is missing, fails to import or registers nothing.
        Temporary: a ConfigMap is not there yet, or is another than when the order was written.
    """
    folder = plugin_folder()
    shutil.rmtree(folder, ignore_errors=True)
    for mounted in plugin_folders(pod.plugins(), order.plugins):
        copy = folder / mounted.name
        copy.mkdir(parents=True)
        for file in (file for file in mounted.iterdir() if file.is_file()):
            shutil.copyfile(file, copy / file.name)
        ordered, found = order.plugin_digests.get(mounted.name), digest_of(copy)
        if ordered is not None and ordered != found and any(copy.iterdir()):
            raise Temporary(
                "PluginChanged",
                f"The plug-in {mounted.name} was changed after this attempt was ordered ({ordered[:12]} → {found[:12]}).",
                hint="The next attempt is ordered with what its ConfigMap holds then, unless another has made something already.",
            )
    return {plugin.name: plugin.digest for plugin in load_plugins(folder, order.plugins) if not plugin.installed}


def plugin_folder() -> Path:
    """Where this process has its own copy of the plug-ins that its order names."""
    return pod.scratch() / "plugins" / str(os.getpid())


def with_plugins(named: Mapping[str, str], used: Iterable[provenance.Used]) -> list[dict[str, dict[str, str]]]:
    """What plug-ins add to a digest: those that an order names, and installed ones that are used; nothing where there is none."""
    found = {**provenance.digests(provenance.records(used)), **named}
    return [{"plugins": found}] if found else []


def read_input(given: Input, kind: str) -> Artifact:
    """An artifact that an order names.

    Raises:
        BadData: it is not whole, or another one.
    """
    return artifact.require(open_store(given.location), kind, given.digest)


def report_of(step: str, made: Artifact, *, found: bool) -> Report:
    """The report of a step whose whole result is one artifact."""
    entry = report.Artifact(kind=made.manifest.kind, uri=made.uri, digest=made.manifest.digest)
    detail = made.store.uri(made.key("report.json")) if "report.json" in made.files else None
    return Report(step=step, artifacts=[entry], summary={**made.manifest.summary, "found": found}, detail=detail)


def scratch(*parts: str) -> Path:
    """A folder of the pod's own disk, made."""
    folder = pod.scratch().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def named(folder: Path, uri: str) -> Iterator[None]:
    """Faults that name a staged copy name the original instead; those that name a URI already stay."""
    # Neither a part of a URI nor of a longer name.
    where = re.compile(rf"(?<![\w/]){re.escape(str(folder))}(?=$|[/\s,;:)'\"]|\.(?:\s|$))")
    try:
        yield
    except Fault as fault:
        fault.message = where.sub(lambda _: uri, fault.message)
        fault.findings = tuple(where.sub(lambda _: uri, line) for line in fault.findings)
        raise
