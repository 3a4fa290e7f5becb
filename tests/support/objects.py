"""Objects of the four kinds for a `MemoryWorld`, and what tests do with them again and again."""

from __future__ import annotations

import json
from typing import Any

from nnunet_operator.api.resources import KINDS

from .world import MemoryWorld, report_of

API = "nnunet.dev/v1alpha1"


def resource(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    """An object of one of our kinds."""
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def dataset(name: str = "data", /, **spec: Any) -> dict[str, Any]:
    """A Dataset."""
    source = {"uri": "s3://nnunet/raw/Dataset004_Hippocampus"}
    return resource("Dataset", name, **{"name": "Dataset004_Hippocampus", "source": source, **spec})


def plans(name: str = "plans", **spec: Any) -> dict[str, Any]:
    """The Plans of `data`."""
    return resource("Plans", name, **{"datasetRef": {"name": "data"}, **spec})


def transfer(name: str = "moved", source: str = "plans") -> dict[str, Any]:
    """A PlanTransfer to `data`."""
    spec = {"from": {"plansRef": {"name": source}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    return resource("PlanTransfer", name, **spec)


def run(name: str = "run", **spec: Any) -> dict[str, Any]:
    """A TrainingRun by `plans`."""
    return resource("TrainingRun", name, **{"plansRef": {"name": "plans"}, "folds": ["0"], **spec})


def recipe(**changes: Any) -> dict[str, Any]:
    """The spec of a trainer with a recipe."""
    return {"trainer": {"name": "mine", "base": "nnUNetTrainer", "recipe": changes}}


def first_pass(manifest: dict[str, Any], world: MemoryWorld | None = None) -> tuple[str, str, str]:
    """Reason and message of Ready after the object's first pass, and "Stalled" or else the status of Ready."""
    world = world or MemoryWorld()
    world.put(manifest)
    world.turn()
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    stalled = world.condition(kind, name, "Stalled")[0] == "True"
    status, reason, message = world.condition(kind, name)
    return reason, message, "Stalled" if stalled else status


def planned(world: MemoryWorld, name: str, digest: str, batch: int = 2, patch: tuple[int, ...] = (8, 8, 8)) -> None:
    """A Plans that is planned, not preprocessed."""
    manifest = world.put(plans(name))
    row = {"name": "3d_fullres", "state": "Pending", "batchSize": batch, "patchSize": list(patch), "networkDigest": digest}
    artifact = {"uri": f"s3://nnunet/plans/{name}", "digest": name}
    storage = {"uri": "s3://nnunet"}
    work = {"state": "Succeeded", "attempt": 0, "input": name}
    manifest["status"] = {
        "observedGeneration": 1, "configurations": [row], "artifact": artifact, "storage": storage, "work": work
    }  # fmt: skip


def finish(world: MemoryWorld, step: str, version: str = "1", **labels: str) -> None:
    """Finish the one Job of a step, and let what follows from it happen."""
    job = world.job(step=step, **labels)
    world.finish(job, report_of(job, version))
    world.settle()


def finish_open(world: MemoryWorld, version: str = "1", **labels: str) -> None:
    """Finish the first Job that has not ended, and let what follows from it happen."""
    job = next(job for job in world.jobs(**labels) if not job.get("status"))
    world.finish(job, report_of(job, version))
    world.settle()


def events(world: MemoryWorld, kind: str, name: str, since: int = 0) -> list[tuple[str, str]]:
    """Reason and message of an object's events, from the `since`-th event of all on."""
    return [(event.reason, event.message) for key, event in world.events[since:] if (key.kind, key.name) == (kind, name)]


def valid_status(world: MemoryWorld, kind: str, name: str) -> dict[str, Any]:
    """An object's status, that an API server would take."""
    status = world.status(kind, name)
    json.dumps(status, ensure_ascii=False, allow_nan=False).encode()
    model: Any = KINDS[kind].model_fields["status"].annotation
    assert model.model_validate(status, strict=False).to_json() == status, "another type, or longer than the schema takes"
    for compared in (status.get("compatibility") or [], status.get("configurations") or []):
        keys = [line.get("field", line.get("name")) for line in compared]
        assert len(keys) == len(set(keys))
    return status
