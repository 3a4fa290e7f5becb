"""Which objects an object refers to, makes, or is made by: by name, and nothing else of them is looked at."""

from __future__ import annotations

from collections.abc import Mapping

from ...api import reasons
from ...api.resources import Plans, PlanTransfer, Resource, TrainingRun
from ...manifests import names
from ..blocker import Blocker
from ..view import Key, Manifest


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
            runs = (Key("TrainingRun", space, name) for name in runs_before(resource))
            return [Key("Plans", space, resource.spec.plans_ref.name), *runs]
    return []


def runs_before(run: TrainingRun) -> list[str]:
    """The names of the TrainingRuns whose results a run begins with."""
    spec = run.spec
    references = (
        spec.pretrained.run_ref if spec.pretrained else None,
        spec.previous_stage.run_ref if spec.previous_stage else None,
        spec.continues.run_ref if spec.continues else None,
    )
    return list(dict.fromkeys(reference.name for reference in references if reference))


def wanted_by(resource: Resource) -> list[Key]:
    """Objects of our kinds that this one makes: a PlanTransfer makes a Plans of its own name. A change of that concerns it too."""
    if isinstance(resource, PlanTransfer):
        return [Key("Plans", resource.metadata.namespace, resource.metadata.name)]
    return []


def owner_of(manifest: Manifest) -> Key | None:
    """The object of our kinds that owns a child (a Job, a Pod, a Plans made by a PlanTransfer), by its labels."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(names.MANAGED_BY) != names.MANAGER or names.OWNER_KIND not in labels:
        return None
    return Key(labels[names.OWNER_KIND], metadata.get("namespace", ""), labels.get(names.OWNER_NAME, ""))


def key_of(resource: Resource) -> Key:
    """An object's identity."""
    return Key(resource.kind, resource.metadata.namespace, resource.metadata.name)


def cycle(resource: Resource, known: Mapping[Key, Resource]) -> Blocker | None:
    """References that lead back to the object itself: everybody would wait for ever. `known` holds what can be followed."""
    own = key_of(resource)
    ahead: list[tuple[Key, tuple[Key, ...]]]
    seen: set[Key]
    ahead, seen = [(key, (own, key)) for key in needed_by(resource)], set()
    while ahead:
        key, path = ahead.pop()
        if key == own:
            text = " → ".join(f"{step.kind} {step.name}" for step in path)
            remedy = "delete one of these objects" if len(path) > 2 else "delete it, and name another in its place"
            return Blocker(reasons.REFERENCE_CYCLE, f"refers to itself ({text}): {remedy}")
        if key not in seen and (found := known.get(key)) is not None:
            seen.add(key)
            ahead += [(following, (*path, following)) for following in needed_by(found)]
    return None
