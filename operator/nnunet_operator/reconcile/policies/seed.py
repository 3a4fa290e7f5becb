"""`spec.seed`: where it is absent, made from namespace and name, so that the same object made anew has the same results."""

from __future__ import annotations

import hashlib
import re

from ...api.resources import TrainingRun
from ...api.training_run import TrainingRunStatus
from ...manifests import names
from ..scope import Scope
from ..view import View


def keep(scope: Scope[TrainingRunStatus]) -> int:
    """The seed of all folds of a run, which its status keeps: it is part of the address of their results."""
    asked = scope.view.object.spec.seed
    if asked is not None:
        scope.status.seed = asked
    elif scope.status.seed is None:
        scope.status.seed = _first(scope.view)
    return scope.status.seed


def of_name(namespace: str, name: str) -> int:
    """Below 2**32. Not the fold's: the fold is part of every random key anyway."""
    return _number(f"{namespace}/{name}")


def of_uid(uid: str) -> int:
    """Of a run that began with version 0.1.0, whose seeds were made from the uid, before a status kept them."""
    return _number(uid)


def _first(view: View[TrainingRun]) -> int:
    run = view.object
    begun = [job["metadata"].get("annotations") or {} for job in view.jobs]
    # Of a Job whose status write was lost.
    said = [str(annotations.get(names.SEED)) for annotations in begun]
    kept = next((int(text) for text in said if re.fullmatch("[0-9]{1,10}", text) and int(text) < 2**32), None)
    if kept is not None:
        return kept
    if begun or any(fold.attempt is not None for fold in run.status.folds):
        return of_uid(run.metadata.uid)
    return of_name(run.metadata.namespace, run.metadata.name)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
