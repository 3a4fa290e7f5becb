"""`why`: from an object down what it refers to and what it makes, to what it waits for in the end."""

from __future__ import annotations

from datetime import datetime

from nnunet_trainer.contract.faults import unknown_name

from ...api import kstatus, reasons
from ...api.common import State
from ...api.conditions import READY, condition_of
from ...api.kstatus import Status
from ...api.resources import Resource
from ...controller.object_client import key_of
from ...manifests import ownership
from ...reconcile.blocker import STALLING
from ...reconcile.kinds import invalid
from ...reconcile.references.dependencies import needed_by, wanted_by
from ...reconcile.view import Key, Manifest
from ...reconcile.work import ACTIVE
from .. import parts, printer_columns
from ..object_names import short
from ..parts import Part
from ..reader import ObjectReader
from .explanation import Explanation
from .waiting_pods import explain_job, is_unnoticed

WAITS_FOR = {
    reasons.WAITING_FOR_DATASET: ("Dataset",),
    reasons.WAITING_FOR_PLANS: ("Plans", "PlanTransfer"),
    reasons.WAITING_FOR_TRAINING_RUN: ("TrainingRun",),
    reasons.DEPENDENCY_FAILED: ("Dataset", "Plans", "PlanTransfer", "TrainingRun"),
    reasons.REFERENCE_CYCLE: (),
}
"""Which kinds a reason makes look at."""

HEALS = STALLING | {reasons.INVALID_SPEC}
"""Of what is stalled: it goes on by itself when the cause is mended."""

MOST_PARTS = 6
"""Pieces of work that are told one by one."""


def explain(manifest: Manifest, reader: ObjectReader, now: datetime, command: str, *, work: str = "") -> Explanation:
    """Why an object is not Ready.

    Args:
        manifest: of one of the four kinds.
        reader: whatever else is looked at is asked of it.
        now: the time.
        command: how this command line is called, for what is to be typed: `kubectl nnunet`.
        work: what makes somebody look at objects that nobody has looked at, where that is not an operator on a cluster.
    """
    walk = _Walk(reader, now, command, work)
    walk.object(manifest, 0)
    return walk.found


class _Walk:
    def __init__(self, reader: ObjectReader, now: datetime, command: str, work: str) -> None:
        self.reader, self.now, self.command, self.work = reader, now, command, work
        self.found = Explanation()
        self._seen: set[Key] = set()

    def object(self, manifest: Manifest, depth: int) -> None:
        """One object, and what it waits for."""
        self._seen.add(key_of(manifest))
        name, meta = short(manifest), manifest["metadata"]
        reason, message = kstatus.reason(manifest)
        said = f"{reason}: {message}" if message else reason
        if deleted := meta.get("deletionTimestamp"):
            held = ", ".join(meta.get("finalizers") or ()) or "what it owns"
            self.found.step(depth, name, f"is being deleted for {self._age(deleted)}; {held} holds it. {said}", "waiting")
            self.found.met(reason)
            self._parts(manifest, depth + 1)
            return
        status = manifest.get("status") or {}
        if status.get("observedGeneration") is None:
            age = self._age(meta["creationTimestamp"])
            self.found.step(depth, name, f"was made {age} ago, and no operator has looked at it", "bad")
            self._no_operator(meta["namespace"])
            return
        if status["observedGeneration"] != meta.get("generation"):
            self.found.step(depth, name, f"its spec was changed, and no operator has looked at it since. Before: {said}", "waiting")
            self._no_operator(meta["namespace"])
            return
        if kstatus.compute(manifest) is Status.CURRENT:
            self.found.step(depth, name, f"is Ready ({said}): it waits for nothing", "good")
            return
        self.found.met(reason)
        match kstatus.compute(manifest):
            case Status.SUSPENDED:
                self.found.step(depth, name, f"is suspended, by its spec.suspend. {message}", "waiting")
                self.found.advise(f"Let it go on: {self.command} resume {name}")
                return
            case Status.FAILED:
                self.found.step(depth, name, f"is stalled for {self._not_ready(manifest)}: {said}", "bad")
                if reason not in HEALS:
                    self.found.then = f"When that is mended: {self.command} rerun {name}"
            case _:
                self.found.step(depth, name, f"is not Ready for {self._not_ready(manifest)}: {said}", "waiting")
        self._below(manifest, reason, depth + 1)

    def _below(self, manifest: Manifest, reason: str, depth: int) -> None:
        """What an object that is not Ready refers to, and what it makes."""
        if reason == reasons.INVALID_SPEC:  # what its status says of its work is of before
            return
        resource = invalid.parse(manifest)
        if reason in WAITS_FOR:
            for key in needed_by(resource):
                if key.kind in WAITS_FOR[reason]:
                    self._reference(key, reason, depth)
        if reason == reasons.PLUGIN_CHANGED:
            self._made_with(resource, manifest, depth)
        self._children(resource, manifest, depth)
        self._parts(manifest, depth)

    def _made_with(self, resource: Resource, manifest: Manifest, depth: int) -> None:
        """The Plans that were made with a plug-in that is said to be another now."""
        found = [self.reader.get(*key) for key in needed_by(resource) if key.kind == "Plans"]
        for plans in [manifest] if resource.kind == "Plans" else found:
            for each in ((plans or {}).get("status") or {}).get("plugins") or []:
                if plans is None or not each.get("needed") or each["name"] not in kstatus.reason(manifest)[1]:
                    continue
                name, digest = short(plans), str(each.get("digest") or "")[:12]
                self.found.step(depth, name, f"was made with the plug-in {each['name']} (digest {digest})", "waiting")
                transferred = (plans["spec"].get("transferFrom") or {}).get("plansRef")
                origin = f"plans/{transferred['name']}" if transferred else name
                then = f", then {self.command} rerun {short(manifest)}" if origin != short(manifest) else ""
                self.found.advise(f"Put the ConfigMap back; or plan anew with it as it is now: {self.command} rerun {origin}{then}")

    def _reference(self, key: Key, reason: str, depth: int) -> None:
        if key in self._seen:
            return
        other = self.reader.get(*key)
        if other is None and key.kind == "Plans":  # a PlanTransfer is about to make it
            other = self.reader.get("PlanTransfer", key.namespace, key.name)
        if other is None:
            known = [each["metadata"]["name"] for each in self.reader.all(key.kind, key.namespace)]
            self._seen.add(key)
            self.found.step(
                depth, f"{key.kind.lower()}/{key.name}", f"is not there. {unknown_name(key.kind, key.name, known)}", "bad"
            )
            self.found.advise(
                f"Apply the {key.kind} {key.name} in namespace {key.namespace}, or correct the name that refers to it."
            )
            return
        status = kstatus.compute(other)
        if status is Status.CURRENT or (reason == reasons.DEPENDENCY_FAILED and status is not Status.FAILED):
            return
        if key_of(other) not in self._seen:
            self.object(other, depth)

    def _children(self, resource: Resource, manifest: Manifest, depth: int) -> None:
        """A PlanTransfer's own Plans."""
        for key in wanted_by(resource):
            child = self.reader.get(*key)
            if child is None or key in self._seen or not ownership.is_controlled_by(child, manifest):
                continue
            if kstatus.compute(child) is not Status.CURRENT:
                self.object(child, depth)

    def _parts(self, manifest: Manifest, depth: int) -> None:
        """The pieces of work that are not done, each down to its pods."""
        work = [part for part in parts.of(manifest) if part.state not in (State.SUCCEEDED, State.PLANNED)]
        told = [part for part in work if not part.only_waits(kstatus.reason(manifest)[0])]
        for part in told[:MOST_PARTS]:
            self._part(part, manifest, depth)
        if len(told) > MOST_PARTS:
            self.found.step(depth, f"and {len(told) - MOST_PARTS} more", "")

    def _part(self, part: Part, manifest: Manifest, depth: int) -> None:
        status = part.status
        attempt = f", attempt {part.attempt}" if part.attempt else ""
        message = str(status.get("message") or "")
        said = f": {message}" if message and message not in kstatus.reason(manifest)[1] else ""
        left = printer_columns.until(until, self.now) if (until := status.get("notBefore")) else ""
        again = f"; the next attempt starts in {left}" if left else ""
        meaning = "bad" if part.state == State.FAILED else "waiting"
        self.found.step(depth, part.title, f"{part.state}{attempt}{said}{again}", meaning)
        self.found.met(str(status.get("reason") or ""))
        if part.state == State.FAILED:
            return
        jobs = [job for job in self.reader.owned(manifest, "Job") if part.owns(job) and ownership.is_controlled_by(job, manifest)]
        if jobs:
            newest = max(jobs, key=lambda job: (job["metadata"].get("creationTimestamp", ""), job["metadata"]["name"]))
            pods = self.reader.owned(manifest, "Pod")
            explain_job(newest, pods, self.reader, self.now, self.found, depth + 1)
            if part.state in ACTIVE and is_unnoticed(newest, self.now):
                self._no_operator(manifest["metadata"]["namespace"])

    def _no_operator(self, namespace: str) -> None:
        self.found.advise(self.work or f"Does an operator run, and does it work in namespace {namespace}? nnunet-operator diagnose")

    def _not_ready(self, manifest: Manifest) -> str:
        ready = condition_of(manifest, READY)
        return self._age(ready.get("lastTransitionTime") or manifest["metadata"]["creationTimestamp"])

    def _age(self, stamp: str) -> str:
        return printer_columns.age(stamp, self.now)
