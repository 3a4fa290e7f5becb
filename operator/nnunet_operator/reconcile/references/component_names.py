"""What a spec names (trainer, recipe, planner, extractor), checked by the trainer's catalogue before a Job is made.

Where plug-ins are mounted, a name that the catalogue does not know may be theirs, and is left to the Job; so are names, fields and
parameters where the image is another than the operator's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from nnunet_trainer.contract.catalogue import Catalogue
from nnunet_trainer.contract.faults import BadConfiguration, unknown_name

from ...api import reasons
from ...api.plans import PlansSpec
from ...api.resources import Dataset, Plans, Resource, TrainingRun
from ..blocker import Blocker
from ..status.sentences import NEVER_CHANGES
from ..view import Settings

Recipe = dict[str, Any]


CREATE_ANOTHER = f"This part of the spec {NEVER_CHANGES} {{}}."


def blocker(resource: Resource, settings: Settings) -> Blocker | None:
    """What keeps an object from ever starting, if anything."""
    fault = faults(resource, settings)
    if fault is None:
        return None
    hint = f" {fault.hint}" if fault.hint else ""
    return Blocker(fault.reason, f"{fault.message}{hint} {CREATE_ANOTHER.format(resource.kind)}")


def faults(resource: Resource, settings: Settings) -> BadConfiguration | None:
    """What is wrong with the names of an object of any kind, from its spec alone."""
    try:
        match resource:
            case Dataset():
                _extractor(resource, settings)
            case Plans():
                _planner(resource, settings)
            case TrainingRun():
                _trainer(resource, settings)
    except BadConfiguration as fault:
        return fault
    return None


def configurations(spec: PlansSpec, settings: Settings) -> tuple[str, ...]:
    """The configurations that plans can have, as far as their spec tells; none when it does not."""
    if spec.transfer_from is not None:
        return ()  # those of the other plans
    patched = (spec.patch or {}).get("configurations")
    return (*settings.catalogue.configurations, *(patched if isinstance(patched, dict) else ()))


def recipe(run: TrainingRun, settings: Settings) -> Recipe | None:
    """What a run's trainer is; None when only the Job can know, or it is wrong."""
    try:
        return _resolve(run, settings)
    except BadConfiguration:
        return None


def _extractor(dataset: Dataset, settings: Settings) -> None:
    if not _names_pass(dataset, settings):
        fingerprint = dataset.spec.fingerprint
        settings.catalogue.check_extractor(fingerprint.extractor, fingerprint.parameters)


def _planner(plans: Plans, settings: Settings) -> None:
    """Its name and parameters, those of each configuration's own, and the configurations' names."""
    spec, names_pass = plans.spec, _names_pass(plans, settings)
    known = settings.catalogue.planners(names_pass=names_pass, fields_pass=_other_image(plans, settings))
    base = spec.planner_or_default
    known.check(base.name, base.parameters, "spec.planner.parameters")
    for name, own in (base.per_configuration or {}).items():
        known.check(own.name or base.name, own.parameters, f"spec.planner.perConfiguration.{name}.parameters")
    if names_pass:
        return
    for name in base.per_configuration or {}:
        _is_configuration("spec.planner.perConfiguration", name, settings.catalogue.configurations)
    for name in spec.preprocessing.configurations:
        _is_configuration("spec.preprocessing.configurations", name, configurations(spec, settings))


def _trainer(run: TrainingRun, settings: Settings) -> None:
    """Its name, base and recipe, and what the recipe asks of the workers."""
    found = _resolve(run, settings)
    if found and found.get("precision") == "fp16" and run.spec.workers.gpus_per_node == 0:
        said = "recipe.precision: fp16 needs a GPU, and spec.workers.gpusPerNode is 0."
        raise BadConfiguration("InvalidRecipe", said, hint="Use fp32, bf16 or auto.")


def _resolve(run: TrainingRun, settings: Settings) -> Recipe | None:
    trainer, names_pass, fields_pass = run.spec.trainer, _names_pass(run, settings), _other_image(run, settings)
    if not trainer.recipe:
        return _resolve_name(settings.catalogue, trainer.name, trainer.base, names_pass, fields_pass)
    known = settings.catalogue.trainers(names_pass=names_pass, fields_pass=fields_pass)
    return known.resolve(trainer.name, trainer.base, trainer.recipe)


@lru_cache(maxsize=256)
def _resolve_name(catalogue: Catalogue, name: str, base: str | None, names_pass: bool, fields_pass: bool) -> Recipe | None:
    """The same recipe for all runs that name the same trainer: nobody is to change it."""
    return catalogue.trainers(names_pass=names_pass, fields_pass=fields_pass).resolve(name, base)


def _is_configuration(field: str, name: str, known: tuple[str, ...]) -> None:
    if known and name not in known:
        raise BadConfiguration(reasons.UNKNOWN_CONFIGURATION, f"{field}: {unknown_name('configuration', name, known)}")


def _other_image(resource: Resource, settings: Settings) -> bool:
    template = resource.spec.template
    return template is not None and template.image not in (None, settings.trainer_image)


def _names_pass(resource: Resource, settings: Settings) -> bool:
    return settings.names_pass or bool(resource.spec.plugins) or _other_image(resource, settings)
