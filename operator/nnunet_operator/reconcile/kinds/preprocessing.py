"""The preprocessing of a Plans' configurations: one row of its status each."""

from __future__ import annotations

from collections.abc import Mapping

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import State, WorkStatus
from ...api.plans import ConfigurationStatus, PlansStatus
from ..blocker import Blocker
from ..lifecycle.advance import advance
from ..observed import results
from ..orders import preprocessing as orders
from ..policies import rerun, suspend
from ..references import configuration
from ..references.resolved import PlansReferences
from ..scope import Scope
from ..status import conditions
from ..work import Startable, Work
from .planning import was_restored


def works(scope: Scope[PlansStatus]) -> dict[str, Work]:
    """The preprocessing of each configuration asked for."""
    spec, stored = scope.view.object.spec, scope.view.object.status
    found: dict[str, Work] = {}
    for name in dict.fromkeys(spec.preprocessing.configurations):
        row = scope.status.configuration(name)
        if row is None:
            row = ConfigurationStatus(name=name)
            scope.status.configurations = sorted([*scope.status.configurations, row], key=lambda row: row.name)
        found[name] = Work(
            owner_kind="Plans",
            step="preprocess",
            part=name if name not in ("plan", "transfer") else f"configuration {name}",  # those are Jobs already
            title=f"preprocessing {name}",
            status=row,
            stored=stored.configuration(name) or ConfigurationStatus(name=name),
            policy=spec.failure_policy,
            artifact="preprocessed",
            labels={"configuration": name},
        )
    return found


def preprocess(scope: Scope[PlansStatus], references: PlansReferences, plan: Work, work: Work, name: str) -> None:
    """Preprocess a configuration once it is planned, and anew when the plans or the data are others."""
    start = _not_planned(scope, plan, name) or orders.preprocess(references, scope.status, work, name)
    if rerun.input_changed(start, work):
        rerun.start_over(scope, work)
        _forget(work.status)
        text = f"The plans, or the data, of {name} are others than those that it was preprocessed with: preprocessed anew."
        scope.outcome.record(reasons.PLANS_CHANGED, text)
    elif was_restored(references, work):
        rerun.start_over(scope, work)
    row, dataset = _row(scope.status, name), references.dataset.object
    if row.cases_total is None and isinstance(start, Startable) and dataset is not None:
        row.cases_total = dataset.status.cases  # as soon as it is known that they will be preprocessed
    suspend.apply(scope, [work])
    if result := advance(scope, work, start):
        results.preprocessed(row, result.report)
        work.succeed(reasons.PREPROCESSED, _describe(row), result.at)


def mark_unasked(scope: Scope[PlansStatus], works: Mapping[str, Work]) -> None:
    """A configuration that nobody wants preprocessed waits for nothing."""
    for row in scope.status.configurations:
        if row.name not in works and row.state is State.PENDING:
            row.state = State.PLANNED


def set_preprocessed(scope: Scope[PlansStatus], works: Mapping[str, Work]) -> None:
    """The condition Preprocessed, and how many cases are done of all."""
    rows = [row for name in works if (row := scope.status.configuration(name))]
    total = sum(row.cases_total or 0 for row in rows)
    scope.status.cases = f"{sum(row.cases_done or 0 for row in rows)}/{total}" if total else "-"
    overall = conditions.summary(list(works.values()))
    if overall == "Ready":
        conditions.set_own(scope, kinds.PREPROCESSED, True, *done(scope))
    else:
        conditions.set_own(scope, kinds.PREPROCESSED, False, *conditions.explain(list(works.values()), overall))


def done(scope: Scope[PlansStatus]) -> tuple[str, str]:
    """The reason and the message of the good end."""
    names = scope.view.object.spec.preprocessing.configurations
    rows = [row for name in names if (row := scope.status.configuration(name)) and row.preprocessed]
    return reasons.PREPROCESSED, "; ".join(_describe(row) for row in rows)


def _not_planned(scope: Scope[PlansStatus], plan: Work, name: str) -> Blocker | None:
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


def _describe(row: ConfigurationStatus) -> str:
    found = " (found, not made again)" if row.found else ""
    return f"{row.name}: {row.cases_done if row.cases_done is not None else 'all'} cases preprocessed{found}"


def _row(status: PlansStatus, name: str) -> ConfigurationStatus:
    row = status.configuration(name)
    assert row is not None
    return row


def _forget(row: WorkStatus) -> None:
    assert isinstance(row, ConfigurationStatus)
    row.preprocessed = row.cases_done = row.started_cases = row.cases_total = row.size_bytes = row.found = None
    if row.model_extra:  # of another version
        row.model_extra.clear()
