"""What an object refers to, what is missing about it, and whom a change concerns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...api import reasons
from ...api.conditions import READY, STALLED, find, is_true
from ...api.resources import Plans, PlanTransfer, Resource, TrainingRun
from ...manifests import names
from ..status.sentences import first_sentence
from ..view import Key, Manifest, View
from ..work import Blocker

WAITING = {
    "Dataset": reasons.WAITING_FOR_DATASET,
    "Plans": reasons.WAITING_FOR_PLANS,
    "PlanTransfer": reasons.WAITING_FOR_PLANS,
    "TrainingRun": reasons.WAITING_FOR_TRAINING_RUN,
}
HEALS = "See there; this goes on by itself once that is mended."


def needed_by(resource: Resource) -> list[Key]:
    """The objects that this one refers to, by name, in its own namespace. A change of one of them concerns it."""
    space = resource.metadata.namespace
    match resource:
        case Plans():
            source = resource.spec.transfer_from
            transfer = [Key("Plans", space, source.plans_ref.name)] if source else []
            return [Key("Dataset", space, resource.spec.dataset_ref.name), *transfer]
        case PlanTransfer():
            return [
                Key("Plans", space, resource.spec.from_.plans_ref.name),
                Key("Dataset", space, resource.spec.to.dataset_ref.name),
            ]
        case TrainingRun():
            spec = resource.spec
            pretrained = spec.pretrained.run_ref if spec.pretrained else None
            previous = spec.previous_stage.run_ref if spec.previous_stage else None
            runs = dict.fromkeys(run.name for run in (pretrained, previous) if run)
            return [Key("Plans", space, spec.plans_ref.name), *(Key("TrainingRun", space, name) for name in runs)]
    return []


def owner_of(manifest: Manifest) -> Key | None:
    """The object of our kinds that owns a child (a Job, a Pod, a Plans made by a PlanTransfer), by its labels."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(names.MANAGED_BY) != names.MANAGER or names.OWNER_KIND not in labels:
        return None
    return Key(labels[names.OWNER_KIND], metadata.get("namespace", ""), labels.get(names.OWNER_NAME, ""))


def wakes(changed: Key, resources: Iterable[Resource]) -> list[Key]:
    """Those of these objects that a change of one object concerns: it is referred to, or its name is wanted for a child."""
    return [key_of(resource) for resource in resources if changed in needed_by(resource) or changed in wanted_by(resource)]


def wanted_by(resource: Resource) -> list[Key]:
    """Objects of our kinds that this one makes: a PlanTransfer makes a Plans of its own name."""
    if isinstance(resource, PlanTransfer):
        return [Key("Plans", resource.metadata.namespace, resource.metadata.name)]
    return []


def key_of(resource: Resource) -> Key:
    """An object's identity."""
    return Key(resource.kind, resource.metadata.namespace, resource.metadata.name)


def wait_for(view: View[Any], kind: str, name: str, field: str, condition: str) -> Resource | Blocker:
    """The referenced object once a condition of it is True, or why it is not."""
    found = view.reference(kind, name)
    if found is None:
        return Blocker(WAITING[kind], f"waits for {kind} {name} ({field}), which does not exist")
    if is_true(found.status.conditions, condition):
        return found
    return standing(found, f"to be {condition}")


def standing(found: Resource, until: str) -> Blocker:
    """Why one has to wait for an object that exists, in its own words."""
    what = f"{found.kind} {found.metadata.name}"
    ready = find(found.status.conditions, READY)
    if is_true(found.status.conditions, STALLED) and ready is not None:
        return failed(what, ready.reason, ready.message)
    # Its reason alone: its message changes with every epoch, and would be written to all who wait.
    now = f"; it is {ready.reason}" if ready else ""
    return Blocker(WAITING[found.kind], f"waits for {what} {until}{now}")


def failed(what: str, reason: str, message: str) -> Blocker:
    """A dependency that does not go on by itself: what is behind it, in one sentence, and where the rest stands."""
    if reason == reasons.DEPENDENCY_FAILED:
        # It only passes on what it was told: the object that failed is named once, however long the chain is.
        text = f"by way of {what}: {_behind(message)}"
    else:
        text = f"{what} is stalled ({reason}): {first_sentence(message)}. {HEALS}"
    return Blocker(reasons.DEPENDENCY_FAILED, text)


def _behind(message: str) -> str:
    return re.sub(r"^by way of [^:]*: ", "", message)


def cycle(view: View[Any]) -> Blocker | None:
    """References that lead back to the object itself: everybody would wait for ever."""
    own = key_of(view.object)
    ahead: list[tuple[Key, tuple[Key, ...]]]
    seen: set[Key]
    ahead, seen = [(key, (own, key)) for key in needed_by(view.object)], set()
    while ahead:
        key, path = ahead.pop()
        if key == own:
            text = " → ".join(f"{step.kind} {step.name}" for step in path)
            return Blocker(reasons.REFERENCE_CYCLE, f"refers to itself ({text}): delete one of these objects")
        if key not in seen and (found := view.references.get(key)) is not None:
            seen.add(key)
            ahead += [(following, (*path, following)) for following in needed_by(found)]
    return None
