"""The normalization schemes of plans: names, as in nnU-Net's; one that has parameters is `{"name": …}` and all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import provenance

from . import component_entries
from .names import SCHEMES

KIND = "normalization"
FIELD = "normalization_schemes"

Scheme = str | dict[str, Any]


def as_held(scheme: Any) -> Scheme:
    """A scheme (a choice, an object or a name) as plans hold it; a name that nothing bears stays what it is.

    Raises:
        BadConfiguration: a parameter that the scheme has not, or a value out of its range.
    """
    name = component_entries.name_of(scheme)
    if isinstance(scheme, str) and not _is_known(name):
        return scheme
    whole = component_entries.completed(KIND, scheme)
    return whole if len(whole) > 1 else name


def complete(plans: dict[str, Any]) -> None:
    """Write the schemes that a patch has brought as plans hold them, in place; what is wrong with them is left to `faults`."""
    for configuration in plans["configurations"].values():
        schemes = configuration.get(FIELD) if isinstance(configuration, dict) else None
        if isinstance(schemes, list) and not faults(schemes):
            configuration[FIELD] = [as_held(scheme) for scheme in schemes]


def faults(schemes: list[Any]) -> list[str]:
    """What is wrong with the schemes of a configuration."""
    return [fault for index, scheme in enumerate(schemes) if (fault := _fault(scheme, f"{FIELD}[{index}]"))]


def shown(scheme: Any) -> str:
    """In words; of a scheme that is not here the name."""
    name = component_entries.name_of(scheme)
    return component_entries.shown(KIND, scheme) if _is_known(name) else name


def _is_known(name: str) -> bool:
    return name in SCHEMES or name in provenance.names(KIND)


def _fault(scheme: Any, where: str) -> str:
    named = scheme.get("name") if isinstance(scheme, Mapping) else scheme
    if not isinstance(named, str) or not _is_known(named):
        return f"{FIELD} names {named!r}, expected one of {', '.join([*SCHEMES, *provenance.names(KIND)])}"
    if named in SCHEMES and isinstance(scheme, str):
        return ""  # nnU-Net's and v1's have no parameters
    try:
        component_entries.check(KIND, scheme, where)
    except BadConfiguration as fault:
        return fault.message.rstrip(".")
    return ""
