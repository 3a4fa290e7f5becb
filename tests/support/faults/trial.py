"""TrainingRuns in a namespace of their own, and what became of them."""

from __future__ import annotations

import http.client
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from nnunet_operator.manifests import names

from ..apiclient import ApiClient, ApiError, Manifest, wait_until
from ..controlplane import ControlPlane
from ..operator import OperatorProcess
from ..pretend import Ending, PretendKubelet, succeed
from .job_records import JobRecords

T = TypeVar("T")
API_VERSION = "nnunet.dev/v1alpha1"
STORAGE = {"NNUNET_STORAGE_URI": "s3://nnunet", "NNUNET_STORAGE_SECRET": "s3", "NNUNET_TRAINER_IMAGE": "example/trainer:1"}
KILLED = Ending(code=137)
AWAY = (OSError, http.client.HTTPException)


@dataclass
class Count:
    """What a fault has cost.

    Attributes:
        tried: how often it was caused.
        lost: objects that did not come to the end that they should have come to.
        doubled: attempts with a second Job, and pods of one piece of work that ran side by side.
        left: Jobs and work orders that nobody deleted, though nothing needs them.
        seconds: the longest that something measured took.
    """

    fault: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    seconds: float | None = None

    def __str__(self) -> str:
        took = f", took {self.seconds:.1f} s at most" if self.seconds is not None else ""
        line = (
            f"{self.fault:58} tried {self.tried:4}, lost {len(self.lost):3}, doubled {len(self.doubled):3}, left {len(self.left):3}"
        )
        return line + took + "".join(f"\n    {what}" for what in [*self.lost, *self.doubled, *self.left])


def insist(ask: Callable[[], T], *, timeout: float = 120) -> T:
    """Ask until the API server answers: it may be away, or overloaded."""
    answers: list[T] = []

    def asked() -> bool:
        try:
            answers.append(ask())
        except AWAY:
            return False
        except ApiError as error:
            if error.code < 500 and error.code != 429:
                raise
            return False
        return True

    wait_until(asked, timeout=timeout, what="an answer of the API server")
    return answers[0]


class Trial:
    """Runs, a pretended kubelet and a witness. Use it as a context manager.

    Args:
        seed: of everything that is left to chance.
        looks: a pod goes on running for so many looks of the kubelet at most.
        script: how pods end, in place of that.
        ip: the pods' addresses.
        forsaken: pods that are deleted never end, as on a node that is lost.
    """

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *,
        seed: int,
        looks: int = 6,
        script: Callable[[Manifest, Manifest], Ending | None] | None = None,
        ip: str | Callable[[Manifest], str] = "127.1.0.1",
        forsaken: bool = False,
    ) -> None:
        self.plane, self.folder, self.seed, self._looks = plane, folder, seed, looks
        self.api: ApiClient = plane.admin
        self.random = random.Random(seed)
        self.namespace = plane.create_namespace("faults")
        self.records = JobRecords(self.api, self.namespace)
        self.kubelet = PretendKubelet(self.api, self.namespace, script or self._script, ip=ip, stopped=None if forsaken else KILLED)
        self.hold = False
        """Trainings go on running as long as it is set."""
        self._seen: Counter[str] = Counter()
        self._wanted: set[tuple[str, str]] = set()

    def __enter__(self) -> Trial:
        self.records.__enter__()
        self.kubelet.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.kubelet.__exit__(*error)
            self.records.__exit__(*error)
        finally:
            insist(lambda: self.plane.delete_namespace(self.namespace))

    def operator(self, *arguments: str, kubeconfig: Path | None = None, **environment: str) -> OperatorProcess:
        """An operator for the namespace, not started yet."""
        return OperatorProcess(
            self.plane,
            self.folder,
            namespaces=[self.namespace],
            kubeconfig=kubeconfig,
            environment={**STORAGE, **environment},
            arguments=arguments,
        )

    # -- what people do --

    def prepare(self) -> None:
        """A Dataset and its Plans, which the runs need."""
        source = {"uri": "s3://nnunet/raw/Dataset001_Brain"}
        self.apply("Dataset", "brain", name="Dataset001_Brain", source=source)
        self.apply("Plans", "brain", datasetRef={"name": "brain"}, preprocessing={"configurations": ["2d"]})

    def run(self, number: int, **spec: Any) -> Manifest:
        """The TrainingRun of a number, of one fold."""
        spec = {"plansRef": {"name": "brain"}, "configuration": "2d", "folds": ["0"], **spec}
        return self.apply("TrainingRun", f"run-{number:03}", **spec)

    def apply(self, kind: str, name: str, /, **spec: Any) -> Manifest:
        """Create or change an object of any of our kinds; it should become Ready."""
        manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}, "spec": spec}
        self._wanted.add((kind, name))
        return insist(lambda: self.api.apply(manifest))

    def delete_runs(self) -> None:
        """Delete all TrainingRuns."""
        for manifest in self.list(API_VERSION, "TrainingRun"):
            insist(lambda manifest=manifest: self.api.delete(manifest))
            self._wanted.discard(("TrainingRun", manifest["metadata"]["name"]))

    def delete_one_pod(self) -> None:
        """A running pod of a training, by chance; none where none runs."""
        pods = [pod for pod in self.list("v1", "Pod") if pod["metadata"]["labels"].get(names.STEP) == "train"]
        if running := [pod for pod in pods if pod["status"].get("phase") == "Running"]:
            insist(lambda: self.api.delete(self.random.choice(running)))

    # -- what came of it --

    def list(self, api_version: str, kind: str) -> list[Manifest]:
        """The namespace's objects of a kind."""
        return insist(lambda: self.api.list(api_version, kind, self.namespace))

    def unready(self) -> list[str]:
        """What is not Ready yet, and why."""
        found: list[str] = []
        wanted = tuple(self._wanted)  # others add to it meanwhile
        for kind in sorted({kind for kind, _ in wanted}):
            there = {manifest["metadata"]["name"]: manifest for manifest in self.list(API_VERSION, kind)}
            for name in sorted(name for of, name in wanted if of == kind):
                if name not in there:
                    found.append(f"{kind} {name} is gone")
                elif (ready := ready_of(there[name])).get("status") != "True":
                    found.append(f"{kind} {name}: {ready.get('reason')}: {str(ready.get('message'))[:300]}")
        return found

    def pace(self, events: int, *, timeout: float = 120) -> bool:
        """Wait until so many changes of Jobs and pods have come about, or all is done; whether there is more to come."""
        until = self.records.events + events
        asked = count()

        def reached() -> bool:
            # All objects are listed now and then only: the operator is to have the cores.
            return self.records.events >= until or (next(asked) % 20 == 19 and not self.unready())

        wait_until(reached, timeout=timeout, what=lambda: f"{events} more changes: {self.unready()[:5]}")
        return bool(self.unready())

    def settle(self, result: Count, *, timeout: float = 300) -> Count:
        """Wait for the end of everything, and count."""
        try:
            wait_until(lambda: not self.unready(), timeout=timeout)
        except TimeoutError:
            result.lost += self.unready()
        try:
            wait_until(lambda: not self.left())
        except TimeoutError:
            result.left += self.left()
        result.doubled += self.records.doubled
        return result

    def left(self) -> Sequence[str]:
        """Jobs, and ConfigMaps with work orders."""
        orders = [one for one in self.list("v1", "ConfigMap") if "order.json" in (one.get("data") or {})]
        return [f"{one['kind']} {one['metadata']['name']}" for one in (*self.list("batch/v1", "Job"), *orders)]

    def _script(self, order: Manifest, pod: Manifest) -> Ending | None:
        uid = pod["metadata"]["uid"]
        self._seen[uid] += 1
        if self.hold and order["step"] == "train":
            return None
        lasts = random.Random(f"{self.seed} {pod['metadata']['name']}").randint(0, self._looks)
        return succeed(order, pod) if self._seen[uid] > lasts else None


def ready_of(manifest: Manifest) -> Manifest:
    """The Ready condition; empty when there is none."""
    found = (manifest.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == "Ready"), {})
