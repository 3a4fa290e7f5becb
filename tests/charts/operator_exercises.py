"""What the operator does on a cluster, and which rules of its Roles it needs for that: each rule has its exercise.

A rule that is added to the chart is named here by the exercise that needs it. One that is behind a value of the chart is needed by
an exercise that is declared with that value, and done where all such values are set.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.watch.relist import Relist
from support.apiclient import ApiClient, Manifest, wait_until
from support.audit import Rule
from support.controlplane import ROOT, ControlPlane
from support.operator import OperatorProcess
from support.pretend import Ending, PretendKubelet, succeed
from support.third_party import kueue

API_VERSION = "nnunet.dev/v1alpha1"
VALUES: dict[str, Any] = {}
"""Values of the chart that switch its optional rules on, collected from the exercises that need those."""


@dataclass
class Scene:
    """An operator at work under the chart's rights, and the pods of one namespace.

    Attributes:
        kubeconfig: of the operator's service account.
        start_replica: starts another operator under the same rights.
        held: names of runs whose pods go on running.
    """

    plane: ControlPlane
    namespace: str
    release: str
    operator: OperatorProcess
    kubeconfig: Path
    start_replica: Callable[[], OperatorProcess]
    held: set[str] = field(default_factory=set)

    @property
    def api(self) -> ApiClient:
        """The administrator."""
        return self.plane.admin

    def kubelet(self) -> PretendKubelet:
        """Pods succeed, but for those of runs that are held; those that are deleted end as a trainer does."""
        return PretendKubelet(self.api, self.namespace, self._end, stopped=Ending(143))

    def _end(self, order: Manifest, pod: Manifest) -> Ending | None:
        return None if order.get("run") in self.held else succeed(order, pod)

    def get(self, kind: str, name: str) -> Manifest:
        """An object of ours, or an empty one."""
        return self.api.get(API_VERSION, kind, self.namespace, name) or {}

    def ready(self, kind: str, name: str) -> Manifest:
        """Its condition Ready."""
        conditions: list[Manifest] = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Ready"), {})

    def until(self, kind: str, name: str, reason: str = "") -> None:
        """Wait until it is Ready, or not for this reason."""
        wait_until(
            lambda: self.ready(kind, name).get("reason") == reason if reason else self.ready(kind, name).get("status") == "True",
            what=lambda: f"{kind} {name} to be {reason or 'Ready'}, it is {self.ready(kind, name)}; {self.operator.log[-2000:]}",
        )

    def run(self, name: str, **spec: Any) -> Manifest:
        """Apply a TrainingRun by the quickstart's plans."""
        base = {"plansRef": {"name": "hippocampus"}, "folds": ["0"], "workers": {"gpusPerNode": 0}}
        meta = {"name": name, "namespace": self.namespace}
        return self.api.apply({"apiVersion": API_VERSION, "kind": "TrainingRun", "metadata": meta, "spec": {**base, **spec}})

    def children(self, kind: str, run: str, version: str = "v1") -> list[Manifest]:
        """The children of a run."""
        return self.api.list(version, kind, self.namespace, labels=f"nnunet.dev/owner-name={run}")

    def until_children(self, kind: str, run: str, version: str = "v1", *, there: bool = True) -> list[Manifest]:
        """Wait until a run has children of this kind, or none."""
        wait_until(
            lambda: bool(self.children(kind, run, version)) == there,
            what=f"{kind} of {run} to be {'there' if there else 'gone'}",
        )
        return self.children(kind, run, version)


Exercise = Callable[[Scene], None]
EXERCISES: dict[Exercise, frozenset[Rule]] = {}
"""By what is done, the rules that it needs. They are done in this order."""
OPTIONAL: dict[Exercise, frozenset[Rule]] = {}
"""Those that need rules which the chart grants with `VALUES` alone."""


def needs(resource: str, verbs: str) -> set[Rule]:
    """Rules of one resource: `jobs.batch` or `trainingruns/status.nnunet.dev`, and its verbs."""
    name, _, group = resource.partition(".")
    return {(group, name, verb) for verb in verbs.split()}


def exercise(*rules: set[Rule], **values: Any) -> Callable[[Exercise], Exercise]:
    """Declare an exercise, with the rules that it needs, and the values of the chart with which it has them."""

    def declare(function: Exercise) -> Exercise:
        (OPTIONAL if values else EXERCISES)[function] = frozenset().union(*rules)
        VALUES.update(values)
        return function

    return declare


def ours(verbs: str, suffix: str = "") -> Iterable[set[Rule]]:
    """Rules of all four kinds."""
    return (needs(f"{plural}{suffix}.nnunet.dev", verbs) for plural in ("datasets", "plans", "plantransfers", "trainingruns"))


@exercise(
    *ours("list watch"),
    *ours("patch", "/status"),
    needs("plans.nnunet.dev", "create patch"),
    needs("jobs.batch", "list watch create delete"),
    needs("pods", "list watch"),
    needs("configmaps", "create patch delete"),
    needs("events", "create"),
    needs("leases.coordination.k8s.io", "get create update"),
)
def the_whole_chain(scene: Scene) -> None:
    """All four kinds, in any order, until each is Ready."""
    files = sorted((ROOT / "examples" / "quickstart").glob("*.yaml"))
    manifests = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    random.Random(11).shuffle(manifests)
    for manifest in manifests:
        scene.api.apply({**manifest, "metadata": {**manifest["metadata"], "namespace": scene.namespace}})
    for manifest in manifests:
        scene.until(manifest["kind"], manifest["metadata"]["name"])
    assert scene.api.list("v1", "Event", scene.namespace), "nothing was said to people"
    lease = scene.api.get("coordination.k8s.io/v1", "Lease", scene.release, "nnunet-operator")
    assert lease is not None, "it leads by the lease of its own namespace"
    assert lease["spec"]["holderIdentity"]


@exercise(needs("services", "create patch delete"))
def a_training_on_two_nodes(scene: Scene) -> None:
    """Its pods find each other by a Service, which goes with the Job."""
    scene.held.add("gang")
    scene.run("gang", workers={"nodes": 2, "gpusPerNode": 1})
    scene.until_children("Service", "gang")
    scene.held.discard("gang")
    scene.until("TrainingRun", "gang")
    scene.until_children("Service", "gang", there=False)


@exercise(needs("jobs.batch", "create delete"), needs("events", "create patch"))
def disruption_suspension_and_deletion(scene: Scene) -> None:
    """A pod that was deleted is followed by another attempt; a run is suspended twice, goes on, and is deleted."""
    scene.held.add("stopped")
    manifest = scene.run("stopped")
    (pod,) = scene.until_children("Pod", "stopped")
    wait_until(lambda: scene.children("Pod", "stopped")[0]["status"].get("phase") == "Running", what="its pod to run")
    scene.api.delete(pod)
    wait_until(
        lambda: any(job["metadata"]["name"].endswith("-1") for job in scene.children("Job", "stopped", "batch/v1")),
        what=lambda: f"its second attempt: {scene.get('TrainingRun', 'stopped').get('status')}",
    )
    for suspend, reason in ((True, "Suspended"), (False, "Training"), (True, "Suspended")):
        scene.api.patch(manifest, {"spec": {"suspend": suspend}})
        scene.until("TrainingRun", "stopped", reason)
    scene.api.delete(manifest)
    scene.until_children("Job", "stopped", "batch/v1", there=False)


@exercise(needs("trainingruns.nnunet.dev", "delete"))
def an_object_whose_time_is_over(scene: Scene) -> None:
    """`ttlSecondsAfterFinished` deletes the run."""
    scene.run("expiring", ttlSecondsAfterFinished=0)
    wait_until(lambda: not scene.get("TrainingRun", "expiring"), what="the run to be deleted")


@exercise(needs("trainingruns.nnunet.dev", "patch"), needs("namespaces", "get"))
def results_that_go_with_their_run(scene: Scene) -> None:
    """`retention: Delete` holds the run by a finalizer, until a Job in a namespace that stays has deleted its results."""
    manifest = scene.run("unwanted", retention="Delete")
    scene.until("TrainingRun", "unwanted")
    scene.api.delete(manifest)
    wait_until(
        lambda: not scene.get("TrainingRun", "unwanted"),
        what=lambda: f"the run to be gone, it is {scene.ready('TrainingRun', 'unwanted')}",
    )


@exercise(needs("jobs.batch", "get"))
def a_job_that_is_there_already(scene: Scene) -> None:
    """One of somebody else's under the name of ours is looked at, told and left alone."""
    uid = scene.run("taken", suspend=True)["metadata"]["uid"]
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}
    meta = {"name": f"taken-{uid.replace('-', '')[:6]}-f0-0", "namespace": scene.namespace}
    spec = {"suspend": True, "template": template}
    scene.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})
    scene.api.patch(scene.get("TrainingRun", "taken"), {"spec": {"suspend": False}})
    scene.until("TrainingRun", "taken", "ChildRefused")


@exercise(needs("configmaps", "get"))
def a_plugin_that_is_not_there(scene: Scene) -> None:
    """Its ConfigMap is looked for before a Job is made."""
    scene.run("plugged", plugins=[{"configMapName": "losses"}])
    scene.until("TrainingRun", "plugged", "WaitingForPlugin")


@exercise(*ours("get"), needs("jobs.batch", "get"), needs("pods", "get"))
def a_watch_that_does_not_keep_up(scene: Scene) -> None:
    """What it owes is read by name, under the operator's own rights."""
    scene.held.add("watched")
    scene.run("watched")
    scene.until_children("Pod", "watched")

    async def compare() -> set[str]:
        api, cache = await connect(scene.kubeconfig), ObjectCache()
        try:
            await Relist(api, cache, (scene.namespace,), 60, lambda _: None).compare()
        finally:
            await api.close()
        return {key.kind for key in cache.keys("Dataset", "Plans", "PlanTransfer", "TrainingRun", "Job", "Pod")}

    assert asyncio.run(compare()) == {"Dataset", "Plans", "PlanTransfer", "TrainingRun", "Job", "Pod"}


@exercise(needs("podgroups.scheduling.k8s.io", "create patch delete"), gangScheduling=True)
def a_training_on_two_nodes_that_get_them_at_once(scene: Scene) -> None:
    """Its pods have a PodGroup, which goes with the Job."""
    scene.held.add("at-once")
    scene.run("at-once", workers={"nodes": 2, "gpusPerNode": 1})
    scene.until_children("PodGroup", "at-once", "scheduling.k8s.io/v1beta1")
    scene.held.discard("at-once")
    scene.until("TrainingRun", "at-once")
    scene.until_children("PodGroup", "at-once", "scheduling.k8s.io/v1beta1", there=False)


@exercise(needs("workloads.kueue.x-k8s.io", "list"), kueue={"workloads": True})
def a_run_in_a_queue_that_says_what_for(scene: Scene) -> None:
    """What Kueue says of its Workload stands in the run's condition."""
    scene.run("queued", queueName="gpus")
    (job,) = scene.until_children("Job", "queued", "batch/v1")
    kueue.workload(scene.api, job, "insufficient unused quota")
    wait_until(
        lambda: scene.ready("TrainingRun", "queued").get("message", "").endswith("waits in queue gpus: insufficient unused quota"),
        what=lambda: f"the run to say it: {scene.ready('TrainingRun', 'queued')}; {scene.operator.log[-2000:]}",
    )
    scene.api.patch(job, {"spec": {"suspend": False}})
    scene.until("TrainingRun", "queued")


@exercise(needs("leases.coordination.k8s.io", "get update"))
def another_replica_takes_over(scene: Scene) -> None:
    """It waits for the lease, and works when the first has stopped."""
    with scene.start_replica() as second:
        assert second.metric("nnunet_operator_leading") == 0
        scene.operator.stop()
        wait_until(lambda: second.metric("nnunet_operator_leading") == 1, what=lambda: f"the second to lead: {second.log[-2000:]}")
        scene.run("expired", ttlSecondsAfterFinished=0)
        wait_until(lambda: not scene.get("TrainingRun", "expired"), what="the second to work")
