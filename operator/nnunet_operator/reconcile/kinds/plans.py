"""The life of a Plans."""

from __future__ import annotations

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import State, WorkStatus
from ...api.plans import ConfigurationStatus, PlansStatus
from ...api.resources import Dataset, Plans
from .. import locations
from ..lifecycle import advance as life
from ..observed import results
from ..orders import work_orders
from ..outcome import Outcome
from ..policies import rerun
from ..references import component_names, configuration, dependencies
from ..scope import Scope
from ..status import conditions, events
from ..view import View
from ..work import Blocker, Ready, Work


def reconcile(view: View[Plans]) -> Outcome:
    """The life of a Plans: wait for the dataset, plan (or transfer), then preprocess each configuration by itself."""
    scope = Scope.begin(view, view.object.status)
    plan, rows = planning(scope), preprocessing(scope)
    scope.status.plans_name = scope.status.plans_name or view.object.spec.plans_name
    if rerun.asked(scope):
        rerun.tell_tried(scope, rerun.failed(scope, [plan, *rows.values()]))
    start = dependencies.cycle(view) or component_names.bar(view) or work_orders.planning(view, plan)
    if rerun.changed(plan, start):
        rerun.again(scope, plan)
        _tell_of_changes(scope, plan)
    elif _was_restored(scope, plan):
        rerun.again(scope, plan)
    if result := life.advance(scope, plan, start):
        results.plans(scope.status, result.report)
        life.succeed(plan, result, reasons.PLANNED, "")
    if isinstance(start, Ready) and start.input == plan.status.input:
        _remember_inputs(scope)
    for name, row in rows.items():
        start = _may_preprocess(scope, plan, name) or work_orders.preprocessing(view, scope.status, row, name)
        if rerun.changed(row, start):
            rerun.again(scope, row)
            _forget(row.status)
            text = f"The plans, or the data, of {name} are others than those that it was preprocessed with: preprocessed anew."
            scope.out.events.append(events.say(reasons.PLANS_CHANGED, text))
        elif _was_restored(scope, row):
            rerun.again(scope, row)
        _expect(scope, name, start)
        if result := life.advance(scope, row, start):
            results.preprocessed(_row(scope.status, name), result.report)
            life.succeed(row, result, reasons.PREPROCESSED, _preprocessed(_row(scope.status, name)))
    _mark_unasked(scope, rows)
    _planned(scope, plan)
    _all_preprocessed(scope, list(rows.values()))
    scope.status.cases = _cases(scope.status, list(rows))
    conditions.conclude(scope, [plan] if plan.status.state is not State.SUCCEEDED else list(rows.values()), *_done(scope))
    return scope.end()


def planning(scope: Scope[PlansStatus]) -> Work:
    """The planning, or the transfer."""
    spec = scope.view.object.spec
    transfer = spec.transfer_from
    stored = scope.view.object.status.work or WorkStatus()
    scope.status.work = scope.status.work or WorkStatus()
    return Work(
        step="transfer" if transfer else "plan",
        part="transfer" if transfer else "plan",
        title=f"the transfer from {transfer.plans_ref.name}" if transfer else f"planning for {spec.dataset_ref.name}",
        status=scope.status.work,
        stored=stored,
        policy=spec.failure_policy,
        artifact="plans",
    )


def preprocessing(scope: Scope[PlansStatus]) -> dict[str, Work]:
    """The preprocessing of each configuration asked for."""
    spec, stored = scope.view.object.spec, scope.view.object.status
    works: dict[str, Work] = {}
    for name in dict.fromkeys(spec.preprocessing.configurations):
        row = scope.status.configuration(name)
        if row is None:
            row = ConfigurationStatus(name=name)
            scope.status.configurations = sorted([*scope.status.configurations, row], key=lambda row: row.name)
        works[name] = Work(
            step="preprocess",
            part=name if name not in ("plan", "transfer") else f"configuration {name}",  # those are Jobs already
            title=f"preprocessing {name}",
            status=row,
            stored=stored.configuration(name) or ConfigurationStatus(name=name),
            policy=spec.failure_policy,
            artifact="preprocessed",
            labels={"configuration": name},
        )
    return works


def describe(status: PlansStatus) -> str:
    """What was planned, in one line."""
    parts = [_configuration(row) for row in status.configurations if row.patch_size and row.batch_size]
    warned = "".join(f". Warning: {warning.rstrip('.')}" for warning in status.warnings or [])
    return (f"{status.plans_name}: " if status.plans_name else "") + ("; ".join(parts) or "planned") + warned


def _configuration(row: ConfigurationStatus) -> str:
    text = f"{row.name}: patch {'×'.join(map(str, row.patch_size or []))}, batch {row.batch_size}"
    if row.spacing:
        text += f", spacing {'×'.join(f'{size:.3g}' for size in row.spacing)} mm"
    return text + (f", about {row.estimated_gpu_memory_gb:.3g} GB" if row.estimated_gpu_memory_gb else "")


def _tell_of_changes(scope: Scope[PlansStatus], plan: Work) -> None:
    """Why what was planned is planned anew: the dataset is another, or, of a transfer, the other plans are."""
    status, spec = scope.status, scope.view.object.spec
    dataset = scope.view.reference("Dataset", spec.dataset_ref.name)
    now = dataset.status.artifact if isinstance(dataset, Dataset) else None
    if spec.transfer_from and status.dataset and now and status.dataset.digest == now.digest:
        name = spec.transfer_from.plans_ref.name
        scope.out.events.append(
            events.say(reasons.PLANS_CHANGED, f"Plans {name} are others than before: {plan.title} begins anew.")
        )
        return
    text = f"Dataset {spec.dataset_ref.name} is another than before: {plan.title} begins anew, and what follows from it."
    scope.out.events.append(events.say(reasons.DATASET_CHANGED, text))


def _was_restored(scope: Scope[PlansStatus], work: Work) -> bool:
    """It failed as files had changed since the dataset was read; the dataset was read since then, and is what it was."""
    dataset = scope.view.reference("Dataset", scope.view.object.spec.dataset_ref.name)
    read = dataset.status.work.completion_time if isinstance(dataset, Dataset) and dataset.status.work else None
    status = work.status
    changed = status.state is State.FAILED and status.reason == reasons.DATASET_CHANGED
    return bool(changed and read and status.completion_time and read > status.completion_time)


def _may_preprocess(scope: Scope[PlansStatus], plan: Work, name: str) -> Blocker | None:
    if plan.status.state is not State.SUCCEEDED:
        return Blocker(plan.status.reason or reasons.PLANNING, "waits for the plans")
    plans = scope.view.object.model_copy(update={"status": scope.status})
    if missing := configuration.unknown(plans, name):
        return missing
    row = scope.status.configuration(name)
    if row is not None and row.preprocessable is False:
        text = f"configuration {name} lacks fields that decide its data (spacing, normalization …). Complete it in spec.patch."
        return Blocker(reasons.CONFIGURATION_NOT_PREPROCESSED, text)
    return None


def _expect(scope: Scope[PlansStatus], name: str, start: Ready | Blocker) -> None:
    """How many cases there are to preprocess, as soon as it is known that they will be."""
    row, dataset = _row(scope.status, name), scope.view.reference("Dataset", scope.view.object.spec.dataset_ref.name)
    if row.cases_total is None and isinstance(start, Ready) and isinstance(dataset, Dataset):
        row.cases_total = dataset.status.cases


def _mark_unasked(scope: Scope[PlansStatus], rows: dict[str, Work]) -> None:
    """A configuration that nobody wants preprocessed waits for nothing."""
    for row in scope.status.configurations:
        if row.name not in rows and row.state is State.PENDING:
            row.state = State.PLANNED


def _remember_inputs(scope: Scope[PlansStatus]) -> None:
    """What a TrainingRun and a transfer have to know of what these plans were made for, as it was then."""
    view, status = scope.view, scope.status
    dataset = view.reference("Dataset", view.object.spec.dataset_ref.name)
    store = locations.storage(view)
    if isinstance(store, Blocker) or not isinstance(dataset, Dataset):
        return
    status.storage = locations.status(store)
    status.dataset_name = dataset.spec.name
    status.dataset = dataset.status.artifact
    status.layout = dataset.spec.source.layout
    of_dataset = locations.storage(view, dataset)
    status.source = locations.status(locations.source(dataset, store if isinstance(of_dataset, Blocker) else of_dataset))


def _planned(scope: Scope[PlansStatus], plan: Work) -> None:
    done = plan.status.state is State.SUCCEEDED
    message = describe(scope.status) if done else plan.status.message or ""
    conditions.own(scope, kinds.PLANNED, done, plan.status.reason or reasons.PLANNING, message)
    lines = scope.status.compatibility
    if lines is None:
        return
    differ = [line for line in lines if line.verdict not in AGREEING]
    told = "; ".join(f"{line.field}: {line.source} → {line.target} ({line.verdict})" for line in differ)
    told = told or "; ".join(f"{line.field}: {line.verdict}" for line in lines)
    conditions.own(scope, kinds.COMPATIBLE, not differ, reasons.MISMATCH if differ else reasons.COMPATIBLE, told)


AGREEING = ("same", "transferred", "recomputed")


def _all_preprocessed(scope: Scope[PlansStatus], rows: list[Work]) -> None:
    if conditions.standing(rows) == "Ready":
        conditions.own(scope, kinds.PREPROCESSED, True, reasons.PREPROCESSED, _done(scope)[1])
        return
    conditions.own(scope, kinds.PREPROCESSED, False, *conditions.explain(rows, conditions.standing(rows)))


def _done(scope: Scope[PlansStatus]) -> tuple[str, str]:
    names = scope.view.object.spec.preprocessing.configurations
    rows = [row for name in names if (row := scope.status.configuration(name)) and row.preprocessed]
    return reasons.PREPROCESSED, "; ".join(_preprocessed(row) for row in rows)


def _preprocessed(row: ConfigurationStatus) -> str:
    found = " (found, not made again)" if row.found else ""
    return f"{row.name}: {row.cases_done if row.cases_done is not None else 'all'} cases preprocessed{found}"


def _cases(status: PlansStatus, names: list[str]) -> str:
    rows = [row for name in names if (row := status.configuration(name))]
    total = sum(row.cases_total or 0 for row in rows)
    return f"{sum(row.cases_done or 0 for row in rows)}/{total}" if total else "-"


def _row(status: PlansStatus, name: str) -> ConfigurationStatus:
    row = status.configuration(name)
    assert row is not None
    return row


def _forget(row: WorkStatus) -> None:
    assert isinstance(row, ConfigurationStatus)
    row.preprocessed = row.cases_done = row.cases_total = row.size_bytes = row.found = None
