"""The plug-ins that plans were made with, and that they need: an additional field of plans.json, which nnU-Net does not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nnunet_trainer.extensions import KINDS, PLANNER_STEPS, provenance

from . import component_entries, preprocessing_steps

FIELD = "plugins"
FOR_DATA = (preprocessing_steps.KIND, "normalization", "resampling", "reader")
"""Kinds of components that preprocessing, and the export of predictions, need."""
ANEW = " (a Plans object: set its spec.rerun to a new value, then that of its runs)"
"""How plans are made with a plug-in's new version."""
FOR_NETWORKS = (*FOR_DATA, "network")
"""Those that training and prediction need."""
_OF_PLANNERS = ("planner", *PLANNER_STEPS)


def record(plans: dict[str, Any], planners: Iterable[provenance.Used]) -> None:
    """Write into plans which plug-ins their planners and they themselves are of; nothing where there is none.

    Args:
        plans: plans.json's content; what it says of planners already stays.
        planners: their planners, and the steps of those.
    """
    before = list(provenance.needed(plans.pop(FIELD, None), _OF_PLANNERS))
    own = provenance.records([*planners, *used(plans)])
    for each in before:
        same = next((other for other in own if all(other[key] == each[key] for key in ("name", "digest"))), None)
        if same is None:
            own.append(each)
        else:
            same["components"] = sorted({*same["components"], *each["components"]})
    if own:
        plans[FIELD] = own


def require(plans: Mapping[str, Any], needs: Iterable[str]) -> None:
    """That the plug-ins which plans need for something are here, and those that they were made with.

    Raises:
        BadConfiguration: one is missing, or is another.
    """
    provenance.require(plans.get(FIELD), tuple(needs), f"Plans {plans.get('plans_name')}", ANEW)


def described(plans: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For a status: name, version and digest of each, and whether training and prediction need it too."""
    rows = list(provenance.needed(plans.get(FIELD), KINDS))
    later = {each["name"] for each in provenance.needed(rows, FOR_NETWORKS)}
    return [{**{key: row[key] for key in ("name", "version", "digest")}, "needed": row["name"] in later} for row in rows]


def used(plans: Mapping[str, Any]) -> Iterator[provenance.Used]:
    """The components that plans name."""
    yield "reader", str(plans.get("image_reader_writer"))
    for configuration in plans["configurations"].values():
        yield from used_by(configuration)


def used_by(configuration: Mapping[str, Any]) -> Iterator[provenance.Used]:
    """The components that a configuration names."""
    schemes = configuration.get("normalization_schemes")
    for scheme in schemes if isinstance(schemes, list) else ():
        yield "normalization", component_entries.name_of(scheme)
    steps = configuration.get(preprocessing_steps.FIELD)
    for step in steps if isinstance(steps, list) else ():
        yield preprocessing_steps.KIND, component_entries.name_of(step)
    for what in ("data", "seg", "probabilities"):
        yield "resampling", str(configuration.get(f"resampling_fn_{what}"))
    architecture = configuration.get("architecture")
    if isinstance(architecture, Mapping):
        yield "network", str(architecture.get("network_class_name")).rpartition(".")[2]


def data_digests(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, str]:
    """Of the plug-ins that decide a configuration's preprocessed data: the digest of each by name."""
    mine = {f"{kind} {name}" for kind, name in (("reader", plans.get("image_reader_writer")), *used_by(configuration))}
    found = provenance.needed(plans.get(FIELD), FOR_DATA)
    return provenance.digests(each for each in found if mine & set(each["components"]))
