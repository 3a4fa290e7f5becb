"""The resampling functions of plans: a name, and the function's own keyword arguments, as nnU-Net holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import Checker
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Choice, kinds, provenance, schema

from .names import RESAMPLING

KIND = "resampling"


def arguments(choice: Choice) -> dict[str, Any]:
    """What plans hold of a plug-in's parameters: all of them; of a function of nnU-Net's those that are said."""
    component = kinds.find(KIND, choice.name)
    if component.plugin is None:
        return dict(choice.parameters)
    given = dict(choice.parameters)
    return {each.name: given.get(each.name, schema.plain(each.default)) for each in component.parameters.values()}


def faults(what: str, configuration: Mapping[str, Any]) -> list[str]:
    """What is wrong with the resampling of a configuration's data, seg or probabilities."""
    field = f"resampling_fn_{what}"
    name, given = configuration.get(field, RESAMPLING[0]), configuration.get(f"{field}_kwargs", {})
    known = [*RESAMPLING, *provenance.names(KIND)]
    if name not in known:
        return [f"{field} names {name!r}, expected one of {', '.join(known)}"]
    if not isinstance(given, Mapping):
        return [f"{field}_kwargs is {given!r}, expected an object"]
    component = kinds.find(KIND, name)
    shapes, found = schema.parameters(component), []
    checker = Checker(find=lambda kind, name: schema.parameters(kinds.find(kind, name)), reason="InvalidParameter")
    for parameter in component.parameters.values():
        shape, where = shapes[camel(parameter.name)], f"{field}_kwargs.{parameter.name}"
        if parameter.name in given:
            try:
                checker.check(shape, given[parameter.name], where)
            except BadConfiguration as fault:
                found.append(fault.message.rstrip("."))
        elif "default" not in shape:
            found.append(f"{where} is missing: {name} needs it")
    return found
