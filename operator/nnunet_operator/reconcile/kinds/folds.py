"""The folds of a TrainingRun: one row of its status each, and the sum of them for people."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_trainer.contract.work_order import TrainOrder

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import State
from ...api.training_run import FoldStatus, ResultsStatus, TrainingRunStatus
from ..blocker import Blocker
from ..policies import rerun
from ..scope import Scope
from ..status import conditions
from ..work import ACTIVE, Startable, Work

Starts = Mapping[str, Startable | Blocker]


def works(scope: Scope[TrainingRunStatus]) -> dict[str, Work]:
    """A row for each fold of the spec, in its order."""
    spec, stored = scope.view.object.spec, scope.view.object.status
    found: dict[str, Work] = {}
    rows: list[FoldStatus] = []
    for name in dict.fromkeys(spec.folds):
        fold = scope.status.fold(name) or FoldStatus(name=name)
        rows.append(fold)
        found[name] = Work(
            owner_kind="TrainingRun",
            step="train",
            part=f"f{name}",
            title=f"fold {name}",
            status=fold,
            stored=stored.fold(name) or FoldStatus(name=name),
            policy=spec.failure_policy,
            artifact="run",
            labels={"configuration": spec.configuration, "fold": name},
            active_deadline=spec.active_deadline_seconds,
            owner_uid=scope.view.object.metadata.uid,
        )
    scope.status.folds = rows
    return found


def row(work: Work) -> FoldStatus:
    """A fold's status, with all that a fold has."""
    assert isinstance(work.status, FoldStatus)
    return work.status


def describe(fold: FoldStatus) -> str:
    """A finished fold in one line."""
    epochs = f" after {fold.epochs} epochs" if fold.epochs is not None else ""
    dice = f", validation Dice {fold.validation_dice:.4f}" if fold.validation_dice is not None else ""
    pseudo = f", pseudo-Dice {fold.pseudo_dice:.4f}" if not dice and fold.pseudo_dice is not None else ""
    began = f", from pretrained weights ({fold.pretrained.message})" if fold.pretrained and fold.pretrained.message else ""
    continued = f"; it {fold.continued}" if fold.continued else ""
    found = "; it was trained before and found in the storage" if fold.found else ""
    return f"fold {fold.name} is trained{epochs}{dice}{pseudo}{began}{continued}{found}"


def describe_all(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> str:
    """The good end in one line; what was changed behind its back since then is said."""
    status = scope.status
    done = "; ".join(describe(row(work)) for work in works.values()) if len(works) <= 5 else f"{len(works)} folds are trained"
    mean = f"; mean validation Dice {status.mean_dice:.4f}" if status.mean_dice is not None and len(works) > 1 else ""
    where = f". Results: {status.results.uri}" if status.results else ""
    changed = any(rerun.input_changed(starts[name], work) for name, work in works.items())
    since = ". The plans or the weights have changed since: set spec.rerun to a new value to train anew" if changed else ""
    return f"{done}{mean}{where}{since}"


def sum_up(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> None:
    """The columns of `kubectl get`, the times, where the results are."""
    status, rows = scope.status, [row(work) for work in works.values()]
    done = [fold for fold in rows if fold.state is State.SUCCEEDED]
    status.folds_done = f"{len(done)}/{len(rows)}"
    status.trainer = scope.view.object.spec.trainer.name
    going = [fold for fold in rows if fold.state in ACTIVE and fold.epoch is not None]
    slowest = min(going or [fold for fold in rows if fold.epoch is not None], key=lambda fold: fold.epoch or 0, default=None)
    status.epoch = "-" if slowest is None else f"{slowest.epoch}/{slowest.epochs or '?'}"
    validated = [fold.validation_dice for fold in done if fold.validation_dice is not None]
    status.mean_dice = round(sum(validated) / len(validated), 5) if validated and len(done) == len(rows) else None
    status.dice = _dice(rows, status.mean_dice)
    status.eta = next((fold.eta for fold in going if fold.eta and fold is slowest), "-")
    if status.results is None and done:
        status.results = _results(done[0])
    begun = [fold.start_time for fold in rows if fold.start_time is not None]
    status.start_time = min(begun, default=None)
    ended = [fold.completion_time for fold in rows if fold.completion_time is not None and fold.state.finished]
    status.completion_time = max(ended) if len(ended) == len(rows) else None
    # Of what was begun on: other plans that are there by now are none of the run's.
    begun_on = (start for name, start in starts.items() if rerun.is_input(start, works[name]))
    status.plans = next((order.plans.digest for start in begun_on if isinstance(order := start.order, TrainOrder)), status.plans)


def set_trained(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> None:
    """The condition Trained."""
    overall = conditions.summary(list(works.values()))
    if overall == "Ready":
        conditions.set_own(scope, kinds.TRAINED, True, reasons.TRAINED, describe_all(scope, works, starts))
    else:
        conditions.set_own(scope, kinds.TRAINED, False, *conditions.explain(list(works.values()), overall))


def _dice(rows: list[FoldStatus], mean: float | None) -> str:
    if mean is not None:
        return f"{mean:.3f}"
    known = [fold.pseudo_dice for fold in rows if fold.pseudo_dice is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"


def _results(fold: FoldStatus) -> ResultsStatus | None:
    # `…/nnUNet_results/Dataset…/Trainer__Plans__Configuration/fold_0` → `…/nnUNet_results`
    head, found, _ = (fold.folder or "").partition("/nnUNet_results/")
    if found:
        return ResultsStatus(uri=f"{head}/nnUNet_results")
    return ResultsStatus(uri=fold.artifact.uri) if fold.artifact else None
