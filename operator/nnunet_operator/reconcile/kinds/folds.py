"""The folds of a TrainingRun: one row of its status each, and the sum of them for people."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_trainer.contract.work_order import Location, TrainOrder

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import State
from ...api.resources import TrainingRun
from ...api.training_run import FoldStatus, ResultsStatus, TrainingRunStatus
from .. import locations
from ..policies import rerun
from ..scope import Scope
from ..status import conditions, events
from ..view import View
from ..work import ACTIVE, Blocker, Ready, Work

Starts = Mapping[str, Ready | Blocker]


def lay_out(scope: Scope[TrainingRunStatus]) -> dict[str, Work]:
    """A row for each fold of the spec, in its order."""
    spec, stored = scope.view.object.spec, scope.view.object.status
    works: dict[str, Work] = {}
    rows: list[FoldStatus] = []
    for name in dict.fromkeys(spec.folds):
        found = scope.status.fold(name) or FoldStatus(name=name)
        rows.append(found)
        works[name] = Work(
            step="train",
            part=f"f{name}",
            title=f"fold {name}",
            status=found,
            stored=stored.fold(name) or FoldStatus(name=name),
            policy=spec.failure_policy,
            artifact="run",
            labels={"configuration": spec.configuration, "fold": name},
            active_deadline=spec.active_deadline_seconds,
        )
    scope.status.folds = rows
    return works


def row(work: Work) -> FoldStatus:
    """A fold's status, with all that a fold has."""
    assert isinstance(work.status, FoldStatus)
    return work.status


def store(view: View[TrainingRun]) -> Location:
    """How this run's results are reached. (A fold can only have succeeded if there is a storage.)"""
    found = locations.storage(view)
    return Location(uri="") if isinstance(found, Blocker) else found


def never_mixed(works: Mapping[str, Work], start: Ready | Blocker) -> Ready | Blocker:
    """Folds of one run are all trained on the same plans, data and weights; what has changed since is said."""
    pinned = next((work.status.input for work in works.values() if work.status.input is not None), None)
    if isinstance(start, Blocker) or pinned is None or start.input == pinned:
        return start
    text = (
        "the plans, the preprocessed data, the pretrained weights or the previous stage are others than those that this run began "
        "with. "
        "Set spec.rerun to a new value to train all of its folds on the new ones."
    )
    return Blocker(reasons.REFERENCE_CHANGED, text)


def train_anew_where_changed(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> list[Work]:
    """On a rerun: folds that were trained on what is no longer there start from the beginning. Returns them."""
    found = [work for name, work in works.items() if rerun.changed(work, starts[name])]
    for work in found:
        rerun.again(scope, work)
        _forget(row(work))
    return found


def tell_of_changes(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> None:
    """Say once that what was trained on is no longer what is there: the run keeps its results until it is told otherwise."""
    status = scope.status
    now = next((start.input for name, start in starts.items() if rerun.changed(works[name], start)), None)  # type: ignore[union-attr]
    if now is not None and now != status.changed_input:
        text = (
            "The plans, the preprocessed data or the pretrained weights are others than those that this run is trained with. "
            "It keeps them; set spec.rerun to a new value to train on the new ones."
        )
        scope.out.events.append(events.say(reasons.REFERENCE_CHANGED, text))
    status.changed_input = now


def describe(fold: FoldStatus) -> str:
    """A finished fold in one line."""
    epochs = f" after {fold.epochs} epochs" if fold.epochs is not None else ""
    dice = f", validation Dice {fold.validation_dice:.4f}" if fold.validation_dice is not None else ""
    pseudo = f", pseudo-Dice {fold.pseudo_dice:.4f}" if not dice and fold.pseudo_dice is not None else ""
    began = f", from pretrained weights ({fold.pretrained.message})" if fold.pretrained and fold.pretrained.message else ""
    return f"fold {fold.name} is trained{epochs}{dice}{pseudo}{began}"


def outcome(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> str:
    """The good end in one line; what was changed behind its back since then is said."""
    status = scope.status
    done = "; ".join(describe(row(work)) for work in works.values()) if len(works) <= 5 else f"{len(works)} folds are trained"
    mean = f"; mean validation Dice {status.mean_dice:.4f}" if status.mean_dice is not None and len(works) > 1 else ""
    where = f". Results: {status.results.uri}" if status.results else ""
    changed = any(rerun.changed(work, starts[name]) for name, work in works.items())
    since = ". The plans or the weights have changed since: set spec.rerun to a new value to train anew" if changed else ""
    return f"{done}{mean}{where}{since}"


def sum_up(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> None:
    """The columns of `kubectl get`, the times, the Trained condition."""
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
    orders = [start.order for name, start in starts.items() if isinstance(start, Ready) and works[name].status.input == start.input]
    status.plans = next((order.plans.digest for order in orders if isinstance(order, TrainOrder)), status.plans)
    stands = conditions.standing(list(works.values()))
    if stands == "Ready":
        conditions.own(scope, kinds.TRAINED, True, reasons.TRAINED, outcome(scope, works, starts))
    else:
        conditions.own(scope, kinds.TRAINED, False, *conditions.explain(list(works.values()), stands))


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


def _forget(fold: FoldStatus) -> None:
    """Nothing of what was trained on other plans is progress of the new training."""
    for name in FoldStatus.model_fields.keys() - {"name", "attempt", "restarts", "disruptions", "state"}:
        setattr(fold, name, FoldStatus.model_fields[name].get_default(call_default_factory=True))
