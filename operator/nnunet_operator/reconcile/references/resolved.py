"""What an object refers to, looked up once a pass: all checks are functions of this, and none asks the View again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from nnunet_trainer.contract.work_order import Location

from ...api.plans import ConfigurationStatus
from ...api.resources import Dataset, Plans, Resource, TrainingRun
from .. import locations
from ..blocker import Blocker
from ..view import Settings, View
from . import component_names, dependencies, local_files
from .referenced import Referenced

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReferences:
    """A Dataset refers to nothing but a storage."""

    dataset: Dataset
    settings: Settings
    blocker: Blocker | None
    """Why it can never start, whatever becomes of what it refers to."""
    storage: Location | Blocker
    """Where its artifacts go."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlansReferences:
    """What a Plans refers to."""

    plans: Plans
    settings: Settings
    blocker: Blocker | None
    """Why it can never start, whatever becomes of what it refers to."""
    storage: Location | Blocker
    """Where its artifacts go."""
    dataset: Referenced[Dataset]
    dataset_storage: Location | Blocker
    """Where the Dataset's artifacts lie; the plans' own storage while there is no Dataset."""
    transfer_from: Referenced[Plans] | None
    """The Plans that are transferred."""
    transfer_from_dataset_storage: Location | Blocker
    """Where the artifacts of the Dataset of those Plans lie; the plans' own storage while there is no such Dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReferences:
    """What a TrainingRun refers to."""

    run: TrainingRun
    settings: Settings
    blocker: Blocker | None
    """Why it can never start, whatever becomes of what it refers to."""
    storage: Location | Blocker
    """Where its artifacts go."""
    recipe: dict[str, Any] | None
    """What its trainer is; None when only the Job can know, or it is wrong."""
    plans: Referenced[Plans]
    configuration: ConfigurationStatus | None
    """What its Plans' status says of its configuration."""
    pretrained: Referenced[TrainingRun] | None
    """The run whose weights it starts from."""
    pretrained_recipe: dict[str, Any] | None
    pretrained_configuration: ConfigurationStatus | None
    """What that run's Plans' status says of that run's configuration."""
    previous_stage: Referenced[TrainingRun] | None
    """The run whose predictions are an input of its configuration."""
    previous_stage_plans: Plans | None
    continued: Referenced[TrainingRun] | None
    """The finished run that it goes on from."""
    continued_recipe: dict[str, Any] | None


def of_dataset(view: View[Dataset]) -> DatasetReferences:
    """What a Dataset refers to now."""
    dataset = view.object
    return DatasetReferences(
        dataset=dataset,
        settings=view.settings,
        blocker=_blocker(view),
        storage=locations.storage(dataset, view.settings),
    )


def of_plans(view: View[Plans]) -> PlansReferences:
    """What a Plans refers to now."""
    plans, spec = view.object, view.object.spec
    storage = locations.storage(plans, view.settings)
    dataset = _find(view, Dataset, spec.dataset_ref.name, "spec.datasetRef")
    source = _find(view, Plans, spec.transfer_from.plans_ref.name, "spec.transferFrom.plansRef") if spec.transfer_from else None
    made_for = view.reference("Dataset", source.object.spec.dataset_ref.name) if source and source.object else None

    def storage_of(dataset: Resource | None) -> Location | Blocker:
        return locations.storage(dataset, view.settings) if isinstance(dataset, Dataset) else storage

    return PlansReferences(
        plans=plans,
        settings=view.settings,
        blocker=_blocker(view),
        storage=storage,
        dataset=dataset,
        dataset_storage=storage_of(dataset.object),
        transfer_from=source,
        transfer_from_dataset_storage=storage_of(made_for),
    )


def of_run(view: View[TrainingRun]) -> RunReferences:
    """What a TrainingRun refers to now."""
    run, spec = view.object, view.object.spec
    plans = _find(view, Plans, spec.plans_ref.name, "spec.plansRef")
    pretrained = previous = continued = None
    if spec.pretrained and spec.pretrained.run_ref:
        pretrained = _find(view, TrainingRun, spec.pretrained.run_ref.name, "spec.pretrained.runRef")
    if spec.previous_stage:
        previous = _find(view, TrainingRun, spec.previous_stage.run_ref.name, "spec.previousStage.runRef")
    if spec.continues:
        continued = _find(view, TrainingRun, spec.continues.run_ref.name, "spec.continues.runRef")
    return RunReferences(
        run=run,
        settings=view.settings,
        blocker=_blocker(view),
        storage=locations.storage(run, view.settings),
        recipe=component_names.recipe(run, view.settings),
        plans=plans,
        configuration=_configuration(plans.object, run),
        pretrained=pretrained,
        pretrained_recipe=component_names.recipe(pretrained.object, view.settings) if pretrained and pretrained.object else None,
        pretrained_configuration=_configuration(_plans_of(view, pretrained), pretrained.object) if pretrained else None,
        previous_stage=previous,
        previous_stage_plans=_plans_of(view, previous),
        continued=continued,
        continued_recipe=component_names.recipe(continued.object, view.settings) if continued and continued.object else None,
    )


def _find(view: View[Any], kind: type[R], name: str, field: str) -> Referenced[R]:
    found = view.reference(kind.__name__, name)
    readable = found if isinstance(found, kind) else None
    return Referenced(kind=kind.__name__, name=name, field=field, object=readable, unreadable=None if readable else found)


def _plans_of(view: View[Any], run: Referenced[TrainingRun] | None) -> Plans | None:
    found = view.reference("Plans", run.object.spec.plans_ref.name) if run and run.object else None
    return found if isinstance(found, Plans) else None


def _configuration(plans: Plans | None, run: TrainingRun | None) -> ConfigurationStatus | None:
    return plans.status.configuration(run.spec.configuration) if plans and run else None


def _blocker(view: View[Any]) -> Blocker | None:
    return (
        dependencies.cycle(view.object, view.references)
        or local_files.blocker(view.object, view.settings)
        or component_names.blocker(view.object, view.settings)
    )
