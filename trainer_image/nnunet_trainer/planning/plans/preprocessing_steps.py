"""The preprocessing steps of a configuration: an additional field of plans.json, there where they are not nnU-Net's own."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnunet_trainer.contract.catalogue.planners import DEFAULT_STEPS, NORMALIZE, RESAMPLE, steps_fault
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Choice, FromFingerprint, kinds

from . import component_entries
from .names import PREPROCESSORS, STEPWISE

KIND = "preprocessingStep"
FIELD = "preprocessing_steps"
"""A list of `{"name": …}` and all parameters of each, in the order in which they are carried out."""

TAKEN = "fromFingerprint"
"""Of a step: its parameters that planning took from the fingerprint. Any other is as somebody wrote it, and stays."""
ON_THE_DATASETS_SCALE = ("CTNormalization", "CT2Normalization", "RGBTo01Normalization")
"""Normalization schemes that take intensities for those of the dataset, such as Hounsfield units."""

Step = dict[str, Any]


def fields(steps: Sequence[Choice], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """`preprocessor_name`, and `preprocessing_steps` where they are not nnU-Net's: complete, so that they stay what they are.

    Args:
        steps: a planner's.
        fingerprint: of the dataset; some parameters are taken from it where they are left out.

    Raises:
        BadConfiguration: the order is wrong, or a parameter.
        BadData: the fingerprint lacks a field that a step needs.
    """
    completed = [_completed(step, fingerprint) for step in steps]
    if completed == [_completed(Choice(name=name), {}) for name in DEFAULT_STEPS]:
        return {"preprocessor_name": PREPROCESSORS[0]}
    content = {"preprocessor_name": STEPWISE, FIELD: completed}
    if found := faults(content):
        raise BadConfiguration("InvalidParameter", f"The planner's preprocessingSteps: {'; '.join(found)}.")
    return content


def of(content: Mapping[str, Any]) -> list[Step]:
    """The steps of a configuration, nnU-Net's own too."""
    return list(content[FIELD]) if content.get("preprocessor_name") == STEPWISE else [{"name": step} for step in DEFAULT_STEPS]


def shown(content: Mapping[str, Any]) -> list[str]:
    """The steps of a configuration in words: names, and the parameters that are not at their default."""
    return [_shown(step) for step in of(content)]


def without_origins(steps: Sequence[Step]) -> list[Step]:
    """The steps as they are carried out: where a parameter's value comes from decides nothing."""
    return [{key: value for key, value in step.items() if key != TAKEN} for step in steps]


def warnings(plans: Mapping[str, Any]) -> list[str]:
    """Steps that take from a later one what it works with: each with the channels, and what to do."""
    found: dict[str, list[str]] = {}
    for label, content in plans["configurations"].items():
        steps = of(content) if content.get("preprocessor_name") == STEPWISE else []
        names, schemes = [step["name"] for step in steps], content.get("normalization_schemes") or []
        for step in steps[: names.index(NORMALIZE)] if NORMALIZE in names else ():
            if not getattr(kinds.find(KIND, step["name"]).make, "another_scale", False):
                continue
            chosen = [c for c in step.get("channels") or range(len(schemes)) if c < len(schemes)]
            named = [component_entries.name_of(scheme) for scheme in schemes]
            wrong = [f"channel {c} by {named[c]}" for c in chosen if named[c] in ON_THE_DATASETS_SCALE]
            if wrong:
                text = (
                    f"{step['name']} comes before {NORMALIZE} and puts intensities on a scale of its own, and {', '.join(wrong)} "
                    f"is normalized as on the dataset's: put {step['name']} after {NORMALIZE}, leave these channels out of its "
                    "channels, or take another normalizationRule"
                )
                found.setdefault(text, []).append(label)
    return [f"{', '.join(labels)}: {text}" for text, labels in found.items()]


def keeps_first_axis(content: Mapping[str, Any]) -> bool:
    """Whether a case keeps its own spacing along the first axis, whatever the configuration's is."""
    return any(step["name"] == RESAMPLE and step.get("keepFirstAxis", False) for step in of(content))


def faults(content: Mapping[str, Any], channels: int | None = None) -> list[str]:
    """What is wrong with the preprocessing steps of a configuration, each with its field.

    Args:
        content: the configuration's fields.
        channels: of the dataset; None where that is not known.
    """
    stepwise, steps = content.get("preprocessor_name") == STEPWISE, content.get(FIELD)
    if not stepwise:
        return [f"{FIELD} are there, expected with them: preprocessor_name {STEPWISE}"] if steps is not None else []
    if not isinstance(steps, list) or not all(isinstance(s, Mapping) and isinstance(s.get("name"), str) for s in steps):
        return [f"{FIELD} is {steps!r}, expected a list of objects, each with a name, because preprocessor_name is {STEPWISE}"]
    found = []
    for index, step in enumerate(steps):
        try:
            _check(step, f"{FIELD}[{index}]")
        except BadConfiguration as fault:
            found.append(fault.message.rstrip("."))
            continue
        wrong = [c for c in step.get("channels") or () if channels is not None and c >= channels]
        found += [f"{FIELD}[{index}].channels names channel {c}; the dataset has {channels}, from 0 on" for c in wrong[:1]]
    return [*found, *([f"{FIELD}: {fault}"] if (fault := steps_fault([step["name"] for step in steps])) else [])]


def refreshed(plans: dict[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Take from another fingerprint what was taken from one, in place: plans are made to fit another dataset.

    Raises:
        BadData: it lacks such a field.
    """
    for _, step, parameter, field in _could_be_taken(plans):
        if parameter in step.get(TAKEN, ()):
            step[parameter] = _field(fingerprint, field, step["name"])


def kept(plans: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """What `refreshed` leaves as it is although the fingerprint has another value: by parameter and step, why.

    Somebody wrote it into the plans, or they were made before plans said what planning took from the fingerprint.
    """
    found: dict[str, list[str]] = {}
    for label, step, parameter, field in _could_be_taken(plans):
        if parameter not in step.get(TAKEN, ()) and field in fingerprint and step.get(parameter) != fingerprint[field]:
            found.setdefault(f"{parameter} of {step['name']}", []).append(label)
    why = "the plans do not say that planning took them from a fingerprint, so that they stay as they are"
    anew = "If nobody wrote them by hand, the plans are of an earlier version: plan that dataset anew, then transfer"
    return {what: f"{', '.join(labels)}: {what}: {why}. {anew}" for what, labels in found.items()}


def _could_be_taken(plans: Mapping[str, Any]) -> Iterator[tuple[str, Step, str, str]]:
    """Each parameter that planning may take from a fingerprint: its configuration, step, name, and the fingerprint's field."""
    for label, content in plans["configurations"].items():
        for step in content.get(FIELD) or ():
            for parameter, field in _taken(step["name"]).items():
                yield label, step, parameter, field


def _completed(step: Choice, fingerprint: Mapping[str, Any]) -> Step:
    completed = component_entries.completed(KIND, step)
    lacking = {key: field for key, field in _taken(step.name).items() if completed[key] is None}
    taken = {key: _field(fingerprint, field, step.name) for key, field in lacking.items()}
    return {**completed, **taken, **({TAKEN: list(taken)} if taken else {})}


def _shown(step: Step) -> str:
    taken = {key: field for key, field in _taken(step["name"]).items() if key in step.get(TAKEN, ())}
    return component_entries.shown(KIND, step, taken)


def _taken(name: str) -> dict[str, str]:
    """The parameters of a step that come from the fingerprint, and the field of it."""
    notes = {camel(each.name): typing.get_args(each.kind)[1:] for each in kinds.find(KIND, name).parameters.values()}
    return {key: note.field for key, found in notes.items() for note in found if isinstance(note, FromFingerprint)}


def _field(fingerprint: Mapping[str, Any], field: str, step: str) -> Any:
    if field in fingerprint:
        return fingerprint[field]
    raise BadData(
        "InvalidFingerprint",
        f"The preprocessing step {step} needs the field {field}, which the dataset's fingerprint has not.",
        hint="Extract it by an extractor that adds this field (spec.fingerprint.extractor; nnunet-trainer components extractor).",
    )


def _check(step: Mapping[str, Any], where: str) -> None:
    """A step's name and parameters, and what it says itself of them."""
    [given] = without_origins([dict(step)])
    component_entries.check(KIND, given, where)
    taken, fields = step.get(TAKEN, []), _taken(step["name"])
    if not isinstance(taken, list) or any(each not in fields for each in taken):
        expected = f"a list of some of {', '.join(fields)}" if fields else "nothing"
        raise BadConfiguration("InvalidParameter", f"{where}.{TAKEN} is {taken!r}; {expected} was expected.")
