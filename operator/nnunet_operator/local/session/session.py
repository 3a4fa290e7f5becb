"""One call of the shell that works: from taking the store to the end of all work, or to a signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from nnunet_trainer.contract import uri

from ...api import kstatus
from ...api.fields.uris import StorageSpec
from ...api.kstatus import Status
from ...api.resources import KINDS
from ...reconcile.view import Heard, Settings
from ..machine import job_controller, secrets
from ..machine.kubelet.host import Host
from ..machine.kubelet.process_runner import Runner
from ..machine.node import Node
from ..machine.scheduler import Machine
from ..object_store.store import Store
from . import installed_trainer
from .progress_thread import ProgressThread
from .reconcile_loop import ReconcileLoop
from .uri_map import UriMap

Manifest = dict[str, Any]

PAUSE = 0.1
LOOK_SECONDS = 1.0
"""Where nothing is written, whether all is done is asked this often."""
DRAINED = "The local shell was stopped; the next one goes on."


@dataclass(frozen=True)
class Snapshot:
    """What a person may want to see: the four kinds' objects, living pods, and the progress last heard, by the pod's uid."""

    objects: list[Manifest]
    pods: list[Manifest]
    heard: dict[str, Heard]


class Session:
    """The machine at work for one store.

    Args:
        store: the objects.
        machine: what may be used.
        secrets_folder: one folder a Secret, one file a key.
        claims: one folder a PersistentVolumeClaim.
        mapped: URI prefixes and the folders that stand in for them; kept with the store.
        ask_every: seconds between two questions to a pod.
    """

    def __init__(
        self,
        store: Store,
        machine: Machine,
        *,
        secrets_folder: Path | None = None,
        claims: Path | None = None,
        mapped: Sequence[tuple[str, Path]] = (),
        ask_every: float = 1.0,
    ) -> None:
        self.store = store
        self.secrets_folder = secrets_folder
        trainer = installed_trainer.program()
        programs = {"nnunet-trainer": trainer} if trainer else {}
        host = Host(contents=self._contents, environment=dict(os.environ), claims=claims, programs=programs)
        self.node = Node(store, Runner(store.root / "pods", host, log=self.log), machine)
        self.progress = ProgressThread(ask_every)
        storage = StorageSpec(uri=uri.of_path(store.root / "artifacts"))
        self.settings = Settings(storage=storage, local_files=True, names_pass=installed_trainer.knows_more(), one_machine=True)
        self.loop = ReconcileLoop(store, self.node, self.settings, self.progress, UriMap(store, mapped))
        self.signals = 0

    def log(self, pod: Manifest) -> Path:
        """Where a pod's output goes: by whose work it does, so that it outlives the pod."""
        return self.store.logs(pod) / f"{pod['metadata']['name']}.log"

    def run(
        self,
        show: Callable[[Snapshot], None],
        *,
        note: Callable[[str], None] = print,
        forever: bool = False,
        done: Callable[[], bool] | None = None,
    ) -> bool:
        """Work until all is done, stuck or stopped.

        Args:
            show: called whenever something may have changed.
            note: called with a line for people.
            forever: stay when all is done.
            done: another end than that of all work.

        Returns:
            False when a signal ended it.
        """
        shown: tuple[int, int] = (-1, -1)
        asked: tuple[int, float] = (-1, 0.0)
        hurried = False

        def wait() -> None:
            nonlocal shown
            news = (self.store.revision(), self.progress.news)
            if news != shown:
                shown = news
                show(self.snapshot())
            time.sleep(PAUSE)

        def ended() -> bool:
            nonlocal asked, hurried
            if self.signals and not self.node.draining:
                if count := len(self.node.running()):
                    note(f"Stopping: waiting for {count} running to save what was done. Press again to stop at once.")
                self.node.drain(DRAINED)
                return False
            if self.signals > 1 and not hurried:
                hurried = True
                self.node.hurry()
            if self.node.draining:
                return not self.node.running()
            now = (self.store.revision(), time.monotonic())
            if now[0] == asked[0] and now[1] - asked[1] < LOOK_SECONDS:
                return False
            asked = now
            return done() if done else not forever and self.finished()

        self.progress.start()
        try:
            with self._signals():
                self.loop.run(ended, wait)
        finally:
            self.progress.stop()
        show(self.snapshot())
        return not self.signals

    def snapshot(self) -> Snapshot:
        """What stands in the store now."""
        objects = [manifest for kind in KINDS for manifest in self.store.all(kind)]
        return Snapshot(objects, self.node.living(), self.progress.heard)

    def finished(self) -> bool:
        """Nothing will change any more by itself."""
        objects = self.snapshot().objects
        if all(kstatus.compute(manifest) is not Status.IN_PROGRESS for manifest in objects):
            return not self.node.living()
        return self.stuck()

    def stuck(self) -> bool:
        """What is not done waits for something that is not here: another object, a GPU, a ConfigMap."""
        now = datetime.now(UTC)
        never = self.node.stuck()
        if any(pod["metadata"]["uid"] not in never for pod in self.node.living()):
            return False
        for job in self.store.all("Job"):
            pods = self.store.owned(job["metadata"]["uid"], "Pod")
            if not job_controller.finished(job) and not (pods and all(pod["metadata"]["uid"] in never for pod in pods)):
                return False
        in_progress = [manifest for manifest in self.snapshot().objects if kstatus.compute(manifest) is Status.IN_PROGRESS]
        return not any(_backs_off(manifest, now) or not manifest.get("status") for manifest in in_progress)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def count(_number: int, _frame: FrameType | None) -> None:
            self.signals += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _contents(self, kind: Literal["ConfigMap", "Secret"], namespace: str, name: str) -> dict[str, bytes] | None:
        if kind == "Secret":
            return secrets.find(name, self.secrets_folder, os.environ)
        found = self.store.get(kind, namespace, name)
        return {key: value.encode() for key, value in (found.get("data") or {}).items()} if found else None


def _backs_off(manifest: Manifest, now: datetime) -> bool:
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
