"""How many trainings run at the same time as one: it follows from the manifests, and with it the threads of each, and its numbers.

Who starts a moment earlier or later would otherwise decide how a training's sums are split up, and with that their last bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...api import kstatus
from ...api.kstatus import Status
from ...api.resources import TrainingRun
from ...manifests import names
from ...reconcile.kinds import invalid
from ...reconcile.references.dependencies import key_of, owner_of, runs_before
from ...reconcile.view import Key

Manifest = dict[str, Any]


def is_training(pod: Manifest) -> bool:
    """Whether a pod trains a fold."""
    return bool((pod["metadata"].get("labels") or {}).get(names.STEP) == "train")


def pods_beside(pod: Manifest, objects: Iterable[Manifest]) -> int:
    """How many pods of trainings may run at once with a training's pod, it among them, were there room for all.

    Args:
        pod: the pod of a training.
        objects: all TrainingRuns.

    Those of the runs that are not done and that begin after as many others as its own run does: what begins with another's results
    runs after it.
    """
    runs: dict[Key, TrainingRun] = {}
    unfinished: set[Key] = set()
    for manifest in objects:
        resource = invalid.parse(manifest)
        if isinstance(resource, TrainingRun):
            runs[key_of(resource)] = resource
            if kstatus.compute(manifest) is Status.IN_PROGRESS:
                unfinished.add(key_of(resource))
    own = owner_of(pod)
    if own is None or own not in runs:
        return 1
    level = _level(own, runs)
    return sum(_pods(runs[key]) for key in {own, *unfinished} if _level(key, runs) == level)


def _level(key: Key, runs: Mapping[Key, TrainingRun], after: tuple[Key, ...] = ()) -> int:
    """How many runs, one after another, come before a run; one that is not there, or leads back, does not."""
    before = [Key(key.kind, key.namespace, name) for name in runs_before(runs[key])]
    path = (*after, key)
    return max((1 + _level(other, runs, path) for other in before if other in runs and other not in path), default=0)


def _pods(run: TrainingRun) -> int:
    spec = run.spec
    return min(len(spec.folds), spec.max_parallel_folds) * spec.workers.nodes
