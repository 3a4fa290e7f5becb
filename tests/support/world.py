"""A world in memory: objects, a Job controller and a kubelet that do as they are told, and a shell that carries Outcomes out."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import yaml
from nnunet_operator.api.fields.uris import StorageSpec
from nnunet_operator.controller.carry_out import carry_out, without_nulls
from nnunet_operator.controller.object_client import AlreadyExists
from nnunet_operator.manifests import names
from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.kinds.invalid import parse
from nnunet_operator.reconcile.outcome import Event, Outcome
from nnunet_operator.reconcile.references.dependencies import needed_by
from nnunet_operator.reconcile.view import Heard, Key, Manifest, Settings
from nnunet_operator.reconcile.view_builder import build_view
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Artifact, Error, Report, encode

KINDS = ("Dataset", "Plans", "PlanTransfer", "TrainingRun")
START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
CHAIN = """
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: data}
spec: {name: Dataset004_Hippocampus, source: {uri: "s3://nnunet/raw/Dataset004_Hippocampus"}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Plans
metadata: {name: plans}
spec: {datasetRef: {name: data}, preprocessing: {configurations: [3d_fullres]}}
"""
"""A dataset named `data` and its plans, named `plans`."""

STORAGE = Settings(storage=StorageSpec(uri="s3://nnunet", endpoint="http://127.0.0.1:8333", secret_name="s3"))


def stamp(moment: datetime) -> str:
    """As Kubernetes writes moments."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class MemoryWorld:
    """What an API server, a Job controller and kubelets would hold. `namespace` is always `default`."""

    def __init__(self, settings: Settings = STORAGE) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.settings = settings
        self.now = START
        self.heard: dict[str, Heard] = {}
        self.workloads: dict[str, Manifest] = {}  # by the uid of their Job
        self.plugins: dict[str, str | None] = {}  # digests of ConfigMaps of plug-ins; None: there is none
        self.events: list[tuple[Key, Event]] = []
        self._deleted_pods: dict[str, list[Manifest]] = {}  # by the uid of their Job
        self._deleted_jobs: dict[str, list[Manifest]] = {}  # by the uid of their owner
        self.writes = 0
        self.created: list[str] = []  # names of all Jobs ever created
        self.namespace_terminating = False
        self.background = True  # a deleted Job is gone at once, and its pods end after it; else it stays until they have ended
        self._uids = itertools.count(1)

    # What `build_view` asks.
    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return self.objects.get(Key(kind, namespace, name))

    def owned(self, uid: str, kind: str) -> list[Manifest]:
        return [
            o for k, o in self.objects.items() if k.kind == kind and o["metadata"].get("labels", {}).get(names.OWNER_UID) == uid
        ]

    def of_namesakes(self, kind: str, namespace: str, name: str, uid: str) -> list[Manifest]:
        wanted = {names.OWNER_KIND: kind, names.OWNER_NAME: name}
        found = [(o, o["metadata"].get("labels") or {}) for k, o in self.objects.items() if k.kind in ("Job", "Pod")]
        return [o for o, labels in found if wanted.items() <= labels.items() and labels.get(names.OWNER_UID) != uid]

    def dependents(self, key: Key) -> list[Manifest]:
        return [o for k, o in self.objects.items() if k.kind in KINDS and key in needed_by(parse(o))]

    def deleted_pods(self, job: str) -> list[Manifest]:
        return self._deleted_pods.get(job, [])

    def deleted_jobs(self, uid: str) -> list[Manifest]:
        return self._deleted_jobs.get(uid, [])

    # What people do.
    def put(self, manifest: Manifest | str) -> Manifest:
        """Create or change objects, as `kubectl apply` does; returns the last."""
        if isinstance(manifest, str):
            for document in yaml.safe_load_all(manifest):
                last = self.put(document)
            return last
        manifest = copy.deepcopy(manifest)
        key = Key(manifest["kind"], "default", manifest["metadata"]["name"])
        old = self.objects.get(key)
        meta = manifest["metadata"]
        meta["namespace"] = "default"
        if old is None:
            meta.update(uid=f"{next(self._uids):06x}-0000", generation=1, creationTimestamp=stamp(self.now))
            self.objects[key] = manifest
            return manifest
        if old.get("spec") != manifest.get("spec"):
            old["spec"] = manifest.get("spec")
            old["metadata"]["generation"] += 1
            self.writes += 1
        return old

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        """Change fields of an object's spec."""
        manifest = self.objects[Key(kind, "default", name)]
        manifest["spec"].update(spec)
        manifest["metadata"]["generation"] += 1

    def remove(self, kind: str, name: str, *, seen: bool = False) -> None:
        """Delete an object and, as the garbage collector does, what it owns. `seen`: a Job's coming and going was watched."""
        gone = self.objects.pop(Key(kind, "default", name), None)
        if gone is None:
            return
        uid = gone["metadata"]["uid"]
        self._deleted_pods.pop(uid, None)
        self._deleted_jobs.pop(uid, None)
        if seen:
            self._deleted_jobs.setdefault(gone["metadata"]["ownerReferences"][0]["uid"], []).append(gone)
        for key, child in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in child["metadata"].get("ownerReferences", [])):
                self.remove(key.kind, key.name)

    def wait(self, **delta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**delta)

    # What a shell does.
    def outcome(self, kind: str, name: str) -> Outcome | None:
        """What the reconciler says of an object now."""
        going = self.namespace_terminating
        view = build_view(
            self,
            Key(kind, "default", name),
            self.now,
            self.settings,
            self.heard,
            workloads=self.workloads,
            plugins=self.plugins,
            namespace_terminating=going,
        )
        return reconcile(view) if view is not None else None

    def carry_out(self, key: Key, outcome: Outcome, *, steps: int | None = None) -> bool:
        """Make an Outcome so; with `steps`, only its first so many writes (the operator is killed then). True if that was any."""
        before = self.writes
        about = self.objects[key]
        with contextlib.suppress(_Killed):
            _at_once(carry_out(_WorldClient(self, steps), self, about, outcome))  # type: ignore[arg-type]
            if outcome.settled and key in self.objects:
                self._check_settled(key)
        return self.writes > before

    def _check_settled(self, key: Key) -> None:
        """What an Outcome says of itself holds: another pass has nothing to do, whatever its Jobs' pods do."""
        uid, status = self.objects[key]["metadata"]["uid"], copy.deepcopy(self.status(key.kind, key.name))
        pods = [pod for pod in self.owned(uid, "Pod") if pod["kind"] == "Pod"]
        for gone in ([], pods):
            others = {k: o for k, o in self.objects.items() if o not in gone}
            with mock.patch.object(self, "objects", others):
                again = self.outcome(key.kind, key.name)
            assert again is not None
            assert without_nulls(again.status) == status
            assert not [*again.apply, *again.create, *again.create_missing, *again.delete, *again.delete_once_stored]

    async def record(self, about: Manifest, events: list[Event]) -> None:
        """As `EventRecorder`, with every repetition."""
        self.events += [(Key(about["kind"], "default", about["metadata"]["name"]), event) for event in events]

    def turn(self) -> bool:
        """Reconcile every object once. True if anything changed."""
        changed = False
        for key in [key for key in self.objects if key.kind in KINDS]:
            outcome = self.outcome(key.kind, key.name)
            if outcome is not None:
                changed |= self.carry_out(key, outcome)
        return changed

    def settle(self, limit: int = 50) -> None:
        """Reconcile until nothing changes any more."""
        for _ in range(limit):
            if not self.turn():
                return
        raise AssertionError("it never settles")

    def apply(self, child: Manifest) -> bool:
        """As an API server applies a manifest; whether it changed anything."""
        key = Key(child["kind"], "default", child["metadata"]["name"])
        old = self.objects.get(key)
        if old is not None and old.get("immutable") and old["data"] != child["data"]:
            raise AssertionError(f"{key} is immutable")
        if old is not None and all(old.get(field) == child.get(field) for field in ("spec", "data")):
            return False
        self.writes += 1
        self.put(child)
        return True

    def create(self, job: Manifest) -> Manifest:
        """As an API server creates an object."""
        key = Key(job["kind"], "default", job["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists
        self.writes += 1
        if key.kind == "Job":
            self.created.append(key.name)
        return self.put(job)

    def delete(self, kind: str, name: str, uid: str) -> bool:
        """Delete an object; the pods of a Job get their grace."""
        found = self.objects.get(Key(kind, "default", name))
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return False
        self.writes += 1
        if found["metadata"].get("finalizers"):
            found["metadata"].setdefault("deletionTimestamp", stamp(self.now))
            return True
        living = [pod for pod in self.pods(name) if pod["status"]["phase"] in ("Pending", "Running")] if kind == "Job" else []
        for pod in living:
            pod["metadata"].setdefault("deletionTimestamp", stamp(self.now + timedelta(seconds=300)))  # it is never put off
        if not living:
            self.remove(kind, name)
        elif self.background:
            del self.objects[Key(kind, "default", name)]
            for pod in self.pods(name):
                if pod not in living:
                    self.remove("Pod", pod["metadata"]["name"])
        else:
            found["metadata"]["deletionTimestamp"] = stamp(self.now)
        return True

    def write_finalizers(self, about: Manifest, finalizers: list[str]) -> None:
        """Replace an object's finalizers; it goes with its last one when that was asked for."""
        found = self.objects[Key(about["kind"], "default", about["metadata"]["name"])]
        self.writes += 1
        found["metadata"]["finalizers"] = list(finalizers)
        if not finalizers and found["metadata"].get("deletionTimestamp"):
            self.remove(about["kind"], about["metadata"]["name"])

    def write_status(self, about: Manifest, status: Manifest) -> None:
        """Write a status, unless it is stored so."""
        found = self.objects.get(Key(about["kind"], "default", about["metadata"]["name"]))
        if found is not None and found.get("status") != status:
            json.dumps(status)
            found["status"] = copy.deepcopy(status)
            self.writes += 1

    # What the Job controller and the kubelet do.
    def jobs(self, **labels: str) -> list[Manifest]:
        """Jobs with these labels of ours (step, fold, configuration, attempt, owner_name …)."""
        wanted = {f"nnunet.dev/{key.replace('_', '-')}": value for key, value in labels.items()}
        found = [o for k, o in self.objects.items() if k.kind == "Job"]
        return [job for job in found if wanted.items() <= job["metadata"]["labels"].items()]

    def job(self, **labels: str) -> Manifest:
        """The one Job with these labels."""
        found = self.jobs(**labels)
        assert len(found) == 1, [job["metadata"]["name"] for job in found]
        return found[0]

    def pods(self, job: str) -> list[Manifest]:
        """The pods of a Job."""
        return [o for k, o in self.objects.items() if k.kind == "Pod" and o["metadata"]["labels"]["job-name"] == job]

    def schedule(self, job: Manifest, *, node: str | None = "node-a") -> list[Manifest]:
        """Make a Job's pods; without a node they stay unscheduled."""
        if pods := self.pods(job["metadata"]["name"]):
            return pods
        template, name = job["spec"]["template"], job["metadata"]["name"]
        pods = []
        for index in range(job["spec"].get("completions", 1)):
            condition = {"type": "PodScheduled", "status": "True" if node else "False", "lastTransitionTime": stamp(self.now)}
            if not node:
                condition |= {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
            labels = {**template["metadata"]["labels"], "job-name": name, "batch.kubernetes.io/job-completion-index": str(index)}
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-{index}-{next(self._uids):05x}",
                    "labels": labels,
                    "ownerReferences": [
                        {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
                    ],
                },
                "spec": copy.deepcopy(template["spec"]) | ({"nodeName": node} if node else {}),
                "status": {"phase": "Pending", "conditions": [condition]},
            }
            pods.append(self.put(pod))
        return pods

    def run(self, job: Manifest) -> list[Manifest]:
        """Let a Job's pods run."""
        pods = self.schedule(job)
        for pod in pods:
            pod["status"]["phase"] = "Running"
            pod["status"]["containerStatuses"] = [{"name": "trainer", "state": {"running": {"startedAt": stamp(self.now)}}}]
        return pods

    def hold(self, job: Manifest, reason: str, message: str = "") -> None:
        """Let a Job's pods wait on their node."""
        for pod in self.schedule(job):
            waiting = {"reason": reason, "message": message}
            pod["status"]["containerStatuses"] = [{"name": "trainer", "state": {"waiting": waiting}}]

    def say(self, job: Manifest, **progress: Any) -> None:
        """Let a Job's first pod answer on /progress."""
        step = job["metadata"]["labels"]["nnunet.dev/step"]
        uid = self.pods(job["metadata"]["name"])[0]["metadata"]["uid"]
        self.heard[uid] = Heard(progress=Progress(step=step, **progress), at=self.now)

    def finish(self, job: Manifest, report: Report | str | None = None) -> None:
        """End a Job well. The report is the step's usual one, or what is given; an empty text is no report."""
        text = encode(report_of(job) if report is None else report) if not isinstance(report, str) else report
        for pod in self.run(job):
            self._end(pod, 0, text)
        self._conclude(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")

    def fail(
        self, job: Manifest, code: int = 1, text: str = "", error: Error | None = None, oom: bool = False, **said: Any
    ) -> None:
        """End a Job's first pod with an exit code, and the Job with it."""
        pods = self.run(job)
        step = job["metadata"]["labels"]["nnunet.dev/step"]
        said = encode(Report(step=step, error=error, summary=said)) if error else text
        self._end(pods[0], code, said, reason="OOMKilled" if oom else "Error")
        for pod in pods[1:]:
            self._end(pod, 143, "")
        if code in (64, 65, 71, 78):
            what = f"Container trainer for pod default/{pods[0]['metadata']['name']} failed with exit code {code}"
            self._conclude(job, "Failed", "PodFailurePolicy", f"{what} matching FailJob rule at index 1")
        else:
            self._conclude(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")

    def disrupt(self, job: Manifest, reason: str = "PreemptionByScheduler", *, gone: bool = False, **summary: Any) -> None:
        """Evict a Job's first pod; `gone`: nothing of it is left."""
        pods = self.run(job)
        error = Error(code=143, reason="Stopped", message="stopped with a checkpoint")
        pods[0]["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": reason})
        self._end(pods[0], 143, encode(Report(step="train", error=error, summary=summary)))
        what = f"Pod default/{pods[0]['metadata']['name']} has condition DisruptionTarget"
        self._conclude(job, "Failed", "PodFailurePolicy", f"{what} matching FailJob rule at index 0")
        if gone:
            self.drop_pods(job)

    def drop_pods(self, job: Manifest) -> None:
        """Nothing of a Job's pods is left."""
        for pod in self.pods(job["metadata"]["name"]):
            self.remove("Pod", pod["metadata"]["name"])

    def delete_pods_by_hand(self, job: Manifest, code: int = 143, *, took: int = 5, grace: int = 300, **summary: Any) -> None:
        """Somebody deletes a Job's pods; they end after `took` seconds, and are gone before the Job says Failed."""
        pods = self.run(job)
        for pod in pods:
            ends = self.now + timedelta(seconds=grace)
            pod["metadata"] |= {"deletionTimestamp": stamp(ends), "deletionGracePeriodSeconds": grace}
        self.wait(seconds=took)
        error = Error(code=code, reason="Stopped", message="stopped with a checkpoint")
        for pod in pods:
            self._end(pod, code, encode(Report(step="train", error=error, summary=summary)) if code == 143 else "")
        self.lose_pods(job)
        self._conclude(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")

    def lose_pods(self, job: Manifest) -> None:
        """A Job's pods are deleted, and were watched until the end: what they said last is known."""
        pods = self.pods(job["metadata"]["name"])
        self.drop_pods(job)
        self.keep_deleted(job, *pods)

    def keep_deleted(self, job: Manifest, *pods: Manifest) -> None:
        """Keep what pods that are gone said last, as those that named this Job as their controller."""
        self._deleted_pods.setdefault(job["metadata"]["uid"], []).extend(pods)

    def end_deletions(self, *, overdue: bool = False) -> None:
        """Let what was asked to go have gone; `overdue`: only what had its grace."""
        for key, found in list(self.objects.items()):
            asked = found["metadata"].get("deletionTimestamp")
            if asked and not found["metadata"].get("finalizers") and (not overdue or asked <= stamp(self.now)):
                self.remove(key.kind, key.name)

    def _end(self, pod: Manifest, code: int, message: str, reason: str = "") -> None:
        ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "finishedAt": stamp(self.now)}
        pod["status"]["phase"] = "Failed" if code else "Succeeded"
        pod["status"]["containerStatuses"] = [{"name": "trainer", "state": {"terminated": {**ended, "message": message}}}]

    def _conclude(self, job: Manifest, kind: str, reason: str, message: str) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": stamp(self.now)}
        job.setdefault("status", {})["conditions"] = [condition]

    # What tests look at.
    def status(self, kind: str, name: str) -> Manifest:
        """An object's status."""
        return self.objects[Key(kind, "default", name)].get("status", {})

    def exists(self, kind: str, name: str) -> bool:
        """Whether there is an object."""
        return Key(kind, "default", name) in self.objects

    def condition(self, kind: str, name: str, of: str = "Ready") -> tuple[str, str, str]:
        """(status, reason, message) of a condition; three dashes when there is none."""
        found = [c for c in self.status(kind, name).get("conditions", []) if c["type"] == of]
        return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("-", "-", "-")

    def fold(self, name: str, fold: str = "0") -> Manifest:
        """A row of a TrainingRun's folds."""
        return next(row for row in self.status("TrainingRun", name)["folds"] if row["name"] == fold)

    def order(self, job: Manifest) -> dict[str, Any]:
        """A Job's work order."""
        volumes: Iterable[dict[str, Any]] = job["spec"]["template"]["spec"]["volumes"]
        name = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "order")
        order: dict[str, Any] = json.loads(self.objects[Key("ConfigMap", "default", name)]["data"]["order.json"])
        return order


class _Killed(Exception):
    """The operator ends here."""


class _WorldClient:
    """The world as `carry_out` needs it. The operator is killed before the write after the `steps`-th."""

    def __init__(self, world: MemoryWorld, steps: int | None) -> None:
        self._world, self._left = world, steps

    def known(self, key: Key) -> Manifest | None:
        return self._world.get(*key)

    def learn(self, manifest: Manifest) -> None:
        pass

    async def get(self, key: Key) -> Manifest | None:
        return self._world.objects.get(key)

    async def apply(self, manifest: Manifest, *, force: bool) -> bool:
        self._step()
        return self._world.apply(manifest)

    async def create(self, manifest: Manifest) -> Manifest:
        self._step()
        return self._world.create(manifest)

    async def delete(self, key: Key, uid: str) -> bool:
        self._step()
        return self._world.delete(key.kind, key.name, uid)

    async def write_finalizers(self, about: Manifest, finalizers: list[str]) -> None:
        self._step()
        self._world.write_finalizers(about, finalizers)

    async def write_status(self, about: Manifest, status: Manifest) -> bool:
        self._step()
        self._world.write_status(about, status)
        return True

    def _step(self) -> None:
        if self._left == 0:
            raise _Killed
        if self._left is not None:
            self._left -= 1


def _at_once(work: Coroutine[Any, Any, bool]) -> None:
    """Run what never waits, without an event loop: thousands of times in some tests."""
    with contextlib.suppress(StopIteration):
        work.send(None)
        raise AssertionError("it waited")


def _container(pod: Manifest) -> dict[str, Any]:
    statuses = pod["status"].get("containerStatuses") or [{}]
    state: dict[str, Any] = statuses[0].get("state", {})
    return state


def report_of(job: Manifest, version: str = "1") -> Report:
    """What a step reports when all goes well. Another `version` is another content."""
    labels = job["metadata"]["labels"]
    step, owner = labels["nnunet.dev/step"], labels["nnunet.dev/owner-name"]
    configuration, fold = labels.get("nnunet.dev/configuration", ""), labels.get("nnunet.dev/fold", "")
    storage = job["metadata"].get("annotations", {}).get(names.STORAGE_URI, "s3://nnunet")
    if step == "dataset":
        artifact = Artifact(kind="dataset", uri=f"{storage}/datasets/{owner}/{version}", digest=f"d-{owner}-{version}")
        summary: dict[str, Any] = {
            "cases": 12,
            "channels": {"0": "MRI"},
            "labels": {"background": 0, "Anterior": 1},
            "fileEnding": ".nii.gz",
            "medianSpacing": [1.0, 1.0, 1.0],
            "medianShape": [36, 50, 35],
            "sizeBytes": 1000,
            "reader": "SimpleITKIO",
        }
    elif step in ("plan", "transfer"):
        artifact = Artifact(kind="plans", uri=f"{storage}/plans/{owner}/{version}", digest=f"p-{owner}-{version}")
        shape = {"patchSize": [40, 56, 40], "batchSize": 2, "spacing": [1.0, 1.0, 1.0], "preprocessable": True}
        summary = {
            "plansName": "nnUNetPlans",
            "planner": "ExperimentPlanner",
            "configurations": {"2d": {**shape, "patchSize": [56, 40]}, "3d_fullres": shape},
        }
        if step == "transfer":
            same = {"field": "channels", "source": "MRI", "target": "MRI", "verdict": "same"}
            summary["compatibility"] = [same, {"field": "labels", "source": "2", "target": "1", "verdict": "differs"}]
    elif step == "delete_results":
        artifact = Artifact(kind="deletion", uri=f"{storage}/runs/default/{owner}", digest="uid")
        summary = {"deleted": 12, "sizeBytes": 1000, "kept": []}
    elif step == "preprocess":
        uri = f"{storage}/preprocessed/{owner}/{configuration}/{version}"
        artifact = Artifact(kind="preprocessed", uri=uri, digest=f"x-{owner}-{configuration}-{version}")
        summary = {"configuration": configuration, "cases": 12, "sizeBytes": 1000, "found": False}
    else:
        uri = f"{storage}/runs/default/{owner}/{version}"
        artifact = Artifact(kind="run", uri=uri, digest=f"r-{owner}-{version}")  # the same for all folds
        folder = f"{uri}/nnUNet_results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__{configuration}/fold_{fold}"
        summary = {
            "fold": fold,
            "epochs": 10,
            "trainer": "nnUNetTrainer",
            "folderUri": folder,
            "checkpointUri": f"{folder}/checkpoint_final.pth",
            "checkpointSha256": "ab" * 32,
            "bestUri": f"{folder}/checkpoint_best.pth",
            "trainLoss": -0.5,
            "valLoss": -0.4,
            "emaPseudoDice": 0.8,
            "validationDice": None if fold == "all" else 0.85,
            "dicePerLabel": {"1": 0.85},
            "seconds": 60.0,
        }
    return Report(step=step, artifacts=[artifact], summary=summary)
