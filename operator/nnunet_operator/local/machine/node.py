"""The machine as a Kubernetes node over the store: starts the pods that have room, watches them, ends them with their grace."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ...reconcile.observed.failures import STOPPED_BY_SHELL
from ..object_store import garbage_collection
from ..object_store.store import Store
from . import job_controller
from .kubelet import pod_status
from .kubelet.process_runner import Runner, address
from .scheduler import Machine, place, room_for, threads_of_each, threads_of_trainings
from .side_by_side import is_training, pods_beside

Manifest = dict[str, Any]

NODE = "local"
GPUS = "local.nnunet.dev/gpus"
THREADS = "local.nnunet.dev/threads"
ENDED = ("Succeeded", "Failed")


class Node:
    """Jobs and pods of a store, carried out.

    Args:
        store: where they lie; this process must be the one that works on it.
        runner: how processes are started.
        machine: what there is to share out.
    """

    def __init__(self, store: Store, runner: Runner, machine: Machine) -> None:
        self.store, self.runner, self.machine = store, runner, machine
        self.starts = True  # whether anything new may start
        self.may_start: Callable[[Manifest], bool] = lambda _: True  # of what may start, which Jobs and pods
        self.draining = False  # all that runs was asked to end
        self._never: set[str] = set()  # uids of pods that ask for more than there is
        self._seen = -1  # the store's revision that nothing was left to do about

    def tick(self, now: datetime) -> None:
        """One turn: what ended, what is to be deleted, what may start."""
        for pod in self.store.all("Pod"):
            self._watch(pod)
        revision = self.store.revision()
        if revision == self._seen:
            return
        garbage_collection.collect(self.store)
        for job in self.store.all("Job"):
            self._control(job, now)
        if self.starts:
            self._schedule()
        self._seen = revision

    def living(self) -> list[Manifest]:
        """Pods that have their share of the machine."""
        return [pod for pod in self.store.all("Pod") if _bound(pod) and pod["status"].get("phase") not in ENDED]

    def drain(self, message: str) -> None:
        """Start nothing more, and ask every process to end; the reconcilers see a disruption, not a failure."""
        self.starts, self.draining = False, True
        for pod in self.running():
            self.store.set_status(pod, pod_status.disrupted(pod["status"], time.time(), STOPPED_BY_SHELL, message))
            self.runner.stop(pod, self._grace(pod))

    def stuck(self) -> set[str]:
        """The uids of pods that cannot start, whatever else ends: no such GPU, a ConfigMap or a Secret that is not there."""
        return self._never | {pod["metadata"]["uid"] for pod in self.living() if _waits_for(pod) == "CreateContainerConfigError"}

    def running(self) -> list[Manifest]:
        """Pods whose process was started and has not ended."""
        return [pod for pod in self.living() if self.runner.started(pod)]

    def hurry(self) -> None:
        """Give the processes that are still there no more time."""
        for pod in self.running():
            self.runner.stop(pod, 0)

    def _watch(self, pod: Manifest) -> None:
        deleted = pod["metadata"].get("deletionTimestamp")
        if _bound(pod) and pod["status"].get("phase") not in ENDED:
            status = pod["status"]
            if self.starts and self.may_start(pod) and not (deleted or self.runner.begun(pod)):
                status = self._start(pod)
            elif self.runner.started(pod):
                status = self.runner.status(pod)
            if status != pod["status"]:
                self.store.set_status(pod, status)
                pod["status"] = status
        if not deleted:
            return
        if self.runner.started(pod) and pod["status"].get("phase") not in ENDED:
            self.runner.stop(pod, self._grace(pod))
        elif not self.runner.alive(pod) and not self._is_awaited(pod):
            self.runner.forget(pod)
            self.store.remove(pod)

    def _is_awaited(self, pod: Manifest) -> bool:
        """Whether its Job has yet to take note of its end; Kubernetes holds a pod by a finalizer until then."""
        if pod["status"].get("phase") not in ENDED:
            return False
        jobs = self.store.all("Job", pod["metadata"]["namespace"])
        job = next((job for job in jobs if job["metadata"]["uid"] == _controller(pod)), None)
        return job is not None and not (job["metadata"].get("deletionTimestamp") or job_controller.finished(job))

    def _start(self, pod: Manifest) -> Manifest:
        given = pod["metadata"].get("annotations", {})
        others = [ip for other in self.living() if (ip := self.runner.ip(other))]
        ip = self.runner.ip(pod) or address(pod["metadata"]["uid"], others)
        threads = int(given[THREADS]) if THREADS in given else None
        return self.runner.start(pod, ip, self._held(pod) if GPUS in given else None, threads)

    def _control(self, job: Manifest, now: datetime) -> None:
        if job_controller.finished(job) and not job["metadata"].get("deletionTimestamp"):
            return
        if job["spec"].get("suspend"):
            # It waits for Kueue, which is not here: the machine's own queue does its work.
            meta = job["metadata"]
            job = self.store.edit("Job", meta["namespace"], meta["name"], lambda new: new["spec"].update(suspend=False)) or job
        own = [pod for pod in self.store.all("Pod", job["metadata"]["namespace"]) if _controller(pod) == job["metadata"]["uid"]]
        result = job_controller.sync(job, own, now)
        if result.gone:
            self.store.remove(job)
            return
        for pod in result.delete:
            self.store.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], pod["metadata"]["uid"])
        if self.starts and self.may_start(job):
            for pod in result.create:
                self.store.create(pod)
        self.store.set_status(job, result.status)

    def _schedule(self) -> None:
        pods = [pod for pod in self.store.all("Pod") if self.may_start(pod)]
        queue = [
            p
            for p in pods
            if not _bound(p) and not p["metadata"].get("deletionTimestamp") and p["status"].get("phase") == "Pending"
        ]
        if not queue:
            self._never = set()
            return
        running = [(pod, self._held(pod)) for pod in self.living()]
        placement = place(queue, running, self.machine)
        self._never = {pod["metadata"]["uid"] for pod, _ in placement.never}
        busy = len(running) + len(placement.start)
        for pod, gpus in placement.start:
            self._bind(pod, gpus, self._threads(pod, busy))
        for pod, message in [*placement.wait, *placement.never]:
            self.store.set_status(pod, pod_status.unschedulable(pod["status"], time.time(), message))

    def _threads(self, pod: Manifest, busy: int) -> int:
        """Threads of a pod's numerical libraries, where `busy` pods run in all."""
        if not is_training(pod):
            return threads_of_each(busy, self.machine)
        beside = min(pods_beside(pod, self.store.all("TrainingRun")), room_for(pod, self.machine))
        return threads_of_trainings(beside, self.machine)

    def _bind(self, pod: Manifest, gpus: list[str], threads: int) -> None:
        def change(new: Manifest) -> None:
            new["spec"]["nodeName"] = NODE
            new["metadata"].setdefault("annotations", {}).update({GPUS: ",".join(gpus), THREADS: str(threads)})
            new["status"] = pod_status.scheduled(new["status"], time.time())

        meta = pod["metadata"]
        if bound := self.store.edit("Pod", meta["namespace"], meta["name"], change, meta["uid"]):
            self._watch(bound)

    def _held(self, pod: Manifest) -> list[str]:
        return [gpu for gpu in pod["metadata"].get("annotations", {}).get(GPUS, "").split(",") if gpu]

    def _grace(self, pod: Manifest) -> float:
        own = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        return float(pod["metadata"].get("deletionGracePeriodSeconds", own))


def _bound(pod: Manifest) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _controller(pod: Manifest) -> str | None:
    return next((r["uid"] for r in pod["metadata"].get("ownerReferences", []) if r.get("controller")), None)


def _waits_for(pod: Manifest) -> str | None:
    statuses = pod["status"].get("containerStatuses") or [{}]
    reason: str | None = (statuses[0].get("state", {}).get("waiting") or {}).get("reason")
    return reason
