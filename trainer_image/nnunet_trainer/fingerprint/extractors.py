"""Fingerprint extractors by name: nnU-Net's, and what a plug-in derives from it (v1: DatasetAnalyzer)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Component

from . import histogram_landmarks
from .base_extractor import DEFAULT, EXTRACTORS, DatasetFingerprintExtractor

__all__ = ["DEFAULT", "EXTRACTORS", "DatasetFingerprintExtractor", "checked", "histogram_landmarks", "make"]


def make(name: str, parameters: Mapping[str, Any]) -> DatasetFingerprintExtractor:
    """An extractor by name.

    Args:
        name: of the component.
        parameters: by camelCase name.

    Raises:
        BadConfiguration: there is none, a parameter that it does not take or needs, a value out of its range; it is no extractor.
    """
    from nnunet_trainer.contract.catalogue import check_parameters
    from nnunet_trainer.contract.json_text.codec import camel
    from nnunet_trainer.extensions import schema

    component = EXTRACTORS[name]
    shapes = schema.parameters(component)
    checked = check_parameters("extractor", name, shapes, parameters)
    arguments = {key: checked[camel(key)] for key in component.parameters if camel(key) in checked}
    made = component.make(**arguments)
    if not isinstance(made, DatasetFingerprintExtractor):
        raise BadConfiguration(
            "InvalidExtractor",
            f"The fingerprint extractor {name} ({component.place}) is made as {made!r}.",
            hint="Derive it from nnunet_trainer.fingerprint.extractors.DatasetFingerprintExtractor.",
        )
    return made


def checked(component: Component[Any], fingerprint: Any, before: Mapping[str, Any]) -> dict[str, Any]:
    """What a plug-in's extractor has answered, once it is seen to be a fingerprint; numpy's numbers and arrays become plain ones.

    Raises:
        BadConfiguration: it is none, lacks a field of nnU-Net's or has it in another shape, or holds NaN.
    """
    where = f"The fingerprint extractor {component.name} ({component.place})"
    if not isinstance(fingerprint, dict):
        raise BadConfiguration("PluginResult", f"{where} answers {type(fingerprint).__name__}; a dict was expected.")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(fingerprint, default=_plain))
    except (TypeError, ValueError) as error:
        raise BadConfiguration("PluginResult", f"{where} answers what is no JSON: {error}.") from error
    for field, value in before.items():
        if field not in plain:
            raise BadConfiguration("PluginResult", f"{where} leaves out {field}, which planning needs.")
        if _shape(plain[field]) != _shape(value):
            found, wanted = _shape(plain[field]), _shape(value)
            raise BadConfiguration("PluginResult", f"{where} answers {field} of shape {found}; {wanted} was expected.")
    for field, value in plain.items():
        if place := _not_finite(value, field):
            raise BadConfiguration("PluginResult", f"{where} answers NaN or infinity: {place}.")
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is neither number, text, list nor dict")


def _shape(value: Any) -> Any:
    """Of lists their lengths, of dicts the keys."""
    if isinstance(value, list):
        return [len(value), _shape(value[0])] if value else [0]
    if isinstance(value, dict):
        return sorted(value)
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def _not_finite(value: Any, where: str) -> str:
    if isinstance(value, float):
        return "" if math.isfinite(value) else where
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, item in items if (found := _not_finite(item, f"{where}.{key}"))), "")
