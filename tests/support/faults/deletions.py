"""People delete what the operator made."""

from __future__ import annotations

from pathlib import Path

from ..apiclient import Manifest, wait_until
from ..controlplane import ControlPlane
from .supervisor import Supervisor
from .trial import Count, Trial, insist

KINDS = (("batch/v1", "Job"), ("v1", "Pod"), ("v1", "ConfigMap"))


def deleted_by_hand(plane: ControlPlane, folder: Path, *, runs: int, seed: int) -> Count:
    """Of each third of the runs the Job, the pod or the work order is deleted in the middle of the training."""
    count = Count("Jobs, pods and ConfigMaps deleted by hand")
    with Trial(plane, folder, seed=seed) as trial, Supervisor(trial.operator()):
        trial.hold = True
        trial.prepare()
        for number in range(runs):
            trial.run(number)
        wait_until(lambda: trial.kubelet.steps().count("train") == runs, timeout=240, what="the pods of all trainings to run")
        found = {kind: trial.list(version, kind) for version, kind in KINDS}
        for number in trial.random.sample(range(runs), runs):
            kind = KINDS[number % len(KINDS)][1]
            target = next(one for one in found[kind] if name_of(one).startswith(f"run-{number:03}-"))
            insist(lambda target=target: trial.api.delete(target))
            count.tried += 1
        trial.hold = False
        return trial.settle(count)


def deleted_at_once(plane: ControlPlane, folder: Path, *, runs: int, seed: int) -> Count:
    """Each run's first Job is deleted as soon as it is there, whether or not a pod runs or its owner's status speaks of it."""
    count = Count("Jobs deleted by hand as soon as they are there")
    with Trial(plane, folder, seed=seed) as trial, Supervisor(trial.operator()):
        trial.hold = True
        trial.prepare()
        wait_until(lambda: not trial.unready(), timeout=240, what="the Plans to be ready")
        waiting = {f"run-{number:03}-" for number in range(runs)}

        def all_deleted() -> bool:
            for job in trial.list("batch/v1", "Job"):
                if found := {run for run in waiting if name_of(job).startswith(run)}:
                    insist(lambda job=job: trial.api.delete(job))
                    waiting.difference_update(found)
                    count.tried += 1
            return not waiting

        for number in range(runs):
            trial.run(number)
        wait_until(all_deleted, timeout=240, what=lambda: f"the Jobs of {sorted(waiting)}")
        trial.hold = False
        return trial.settle(count)


def name_of(manifest: Manifest) -> str:
    """An object's name."""
    return str(manifest["metadata"]["name"])
