"""The ConfigMaps of `spec.plugins`: there before a Job is made, written into its order, and the same for all folds of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from nnunet_trainer.contract.json_text import untrusted_json
from nnunet_trainer.contract.work_order import DeleteResultsOrder, WorkOrder

from ...api import reasons
from ...api.common import State
from ...api.conditions import condition_of
from ...api.fields import plugins
from ...api.plans import PluginStatus
from ...api.training_run import FoldStatus, TrainingRun, TrainingRunStatus
from ...manifests import names
from ..blocker import Blocker
from ..view import Manifest, View
from ..work import ACTIVE, Startable, Work
from .component_names import CREATE_ANOTHER
from .resolved import RunReferences

AGAIN = timedelta(seconds=15)
"""So often is looked for one that is missing, or that was changed: ConfigMaps are not watched."""
LONGEST_ANNOTATION, LONGEST_DIGEST = 2**18, 128
"""Characters: as the API server takes annotations, and as a status keeps digests."""


def missing(view: View[Any], order: WorkOrder) -> Blocker | None:
    """One that an order needs and that is not there: its pod would take a GPU to say so."""
    absent = [name for name in _named(order) if name in view.plugins and view.plugins[name] is None]
    if not absent:
        return None
    text = f"waits for the ConfigMap {', '.join(absent)} of spec.plugins: namespace {view.object.metadata.namespace} has none"
    return Blocker(reasons.WAITING_FOR_PLUGIN, text)


def ordered(view: View[Any], order: WorkOrder) -> WorkOrder:
    """The order with what its plug-ins are now: its pods refuse others."""
    if isinstance(order, DeleteResultsOrder) or not (digests := _digests(view, _named(order))):
        return order
    return dataclasses.replace(order, plugin_digests=digests)


def recall(view: View[TrainingRun], status: TrainingRunStatus) -> bool:
    """Tell from a Job what plug-ins a run began with, where the status that should say it was never written; whether it was so."""
    if status.plugins is None:
        wanted = plugins.names(view.object.spec.plugins)
        status.plugins = next((digests for job in view.jobs if (digests := _annotated(job, wanted))), None)
        return status.plugins is not None
    return False


def has_begun(works: Iterable[Work]) -> bool:
    """Whether a fold of a run is trained, or being trained: until then a plug-in may be mended."""
    return any(
        work.status.state in (*ACTIVE, State.SUCCEEDED)
        or (isinstance(work.status, FoldStatus) and (work.status.epoch or work.status.checkpoint))
        for work in works
    )


def require_same(
    view: View[Any], references: RunReferences, start: Startable | Blocker, kept: Mapping[str, str]
) -> Startable | Blocker:
    """Folds of one run are all trained by the same plug-ins (`kept`: once it has begun), and those that its plans need are still
    those of the plans."""
    if isinstance(start, Blocker):
        return start
    plans = references.plans.object
    of_plans = {each.name: each.digest for each in (plans.status.plugins if plans else None) or () if each.needed}
    made = f"Plans {references.plans.name} was made"
    origin = plans.spec.transfer_from.plans_ref.name if plans and plans.spec.transfer_from else references.plans.name
    anew = f"put it back, or set spec.rerun of Plans {origin} to a new value: they are then planned anew with it."
    other = f"put it back. {CREATE_ANOTHER.format('TrainingRun')}"
    for name, now in _digests(view, _named(start.order)).items():
        for before, since, do in ((of_plans.get(name), made, anew), (kept.get(name), "this run began", other)):
            if before and before != now:
                text = f"the ConfigMap {name} of spec.plugins was changed since {since} ({before[:12]} → {now[:12]}): {do}"
                return Blocker(reasons.PLUGIN_CHANGED, text)
    return start


def changed(view: View[Any], made_with: Iterable[PluginStatus]) -> list[str]:
    """The ConfigMaps that hold something else now than when a Plans was made with them; one that is missing has not changed."""
    now = _digests(view, plugins.names(view.object.spec.plugins))
    return [each.name for each in made_with if each.digest and now.get(each.name, each.digest) != each.digest]


def keep(view: View[TrainingRun], status: TrainingRunStatus, *, begun: bool) -> None:
    """Tell in the status of a run, in the pass that makes Jobs, by what plug-ins its folds are trained."""
    if not begun or status.plugins is None:
        status.plugins = _digests(view, plugins.names(view.object.spec.plugins)) or None


def _digests(view: View[Any], wanted: Iterable[str]) -> dict[str, str]:
    return {name: digest for name in wanted if (digest := view.plugins.get(name)) is not None}


def _annotated(job: Manifest, wanted: Iterable[str]) -> dict[str, str]:
    """What a Job that has not failed was ordered with; of an annotation that somebody else has written nothing."""
    if condition_of(job, "Failed", "True"):
        return {}
    text = (job["metadata"].get("annotations") or {}).get(names.PLUGIN_DIGESTS, "{}")
    try:
        said = untrusted_json.parse(text, LONGEST_ANNOTATION)
    except ValueError:
        return {}
    found = {name: said.get(name) for name in wanted} if isinstance(said, dict) else {}
    return {name: digest for name, digest in found.items() if isinstance(digest, str) and len(digest) <= LONGEST_DIGEST}


def _named(order: WorkOrder) -> list[str]:
    return [] if isinstance(order, DeleteResultsOrder) else list(order.plugins)
