"""What the API server would say of an object's `metadata`, and of a ConfigMap: types, names, labels and annotations.

The rules are those of k8s.io/apimachinery (`api/validation/objectmeta.go`, `util/validation`).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from nnunet_trainer.contract.faults import BadUsage

JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}

_FIELDS: dict[str, type] = {
    **dict.fromkeys(("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"), str),
    **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), str),
    **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), int),
    **dict.fromkeys(("labels", "annotations"), dict),
    **dict.fromkeys(("ownerReferences", "finalizers", "managedFields"), list),
}
_CONFIG_MAP: dict[str, type] = {
    "apiVersion": str,
    "kind": str,
    "metadata": dict,
    "data": dict,
    "binaryData": dict,
    "immutable": bool,
}

_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN = re.compile(rf"{_PART}(\.{_PART})*")
_DNS_LABEL = re.compile(_PART)
_WORD = re.compile(_LABEL_NAME)
_DATA_KEY = re.compile("[-._a-zA-Z0-9]+")
_MOST_ANNOTATIONS = 256 * 1024
_UNQUOTED = {
    "integer": re.compile(r"-?\d+"),
    "number": re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?"),
    "boolean": re.compile("true|false"),
}

_SUBDOMAIN_SAYS = "a name of lower case letters, digits, '-' and '.' was expected that begins and ends with a letter or digit"
_LABEL_SAYS = "a name of lower case letters, digits and '-' was expected that begins and ends with a letter or digit"
_WORD_SAYS = "letters, digits, '-', '_' and '.' were expected, with a letter or digit first and last"


def wrong_type(path: str, value: Any, wanted: str) -> str:
    """The finding for a value of another type; what YAML took for a number or a truth value may have been meant as text."""
    return (
        f"{path}: Invalid value: {shown(value)}: must be of type {wanted}, found {JSON_TYPES[type(value)]}{_advice(value, wanted)}"
    )


def _advice(value: Any, wanted: str) -> str:
    if wanted == "string" and isinstance(value, (int, float)):
        return " (put it into quotes if it is meant as text)"
    if wanted == "array" and isinstance(value, (str, int, float)):
        return f" (a list of one: [{shown(value)}])"
    if wanted in ("integer", "number", "boolean") and isinstance(value, str) and _UNQUOTED[wanted].fullmatch(value):
        return " (leave the quotes out)"
    return ""


def shown(value: Any) -> str:
    """A value in a finding: a scalar as JSON, of others the type."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, int, float)) else f'"{JSON_TYPES[type(value)]}"'


def normalise(metadata: dict[str, Any]) -> None:
    """In place, as the API server reads it: null is as good as nothing, in a label it is the empty text."""
    for field in [name for name, value in metadata.items() if value is None and name in _FIELDS]:
        del metadata[field]
    for field in ("labels", "annotations"):
        if isinstance(pairs := metadata.get(field), dict):
            metadata[field] = {key: "" if value is None else value for key, value in pairs.items()}


def findings(metadata: dict[str, Any]) -> Iterator[str]:
    """All that is wrong with an object's metadata, one line each; a name is not required here."""
    typed = True
    for field, value in metadata.items():
        for line in _typed(f"metadata.{field}", field, value):
            typed = False
            yield line
    if typed:
        yield from name_findings(metadata)
        yield from _labels(metadata.get("labels") or {})
        yield from _annotations(metadata.get("annotations") or {})


def _typed(path: str, field: str, value: Any) -> Iterator[str]:
    wanted = _FIELDS.get(field)
    if wanted is None:
        yield f'unknown field "{path}"'
    elif value is not None and type(value) is not wanted:
        yield wrong_type(path, value, JSON_TYPES[wanted])
    elif isinstance(value, dict):
        yield from _strings(path, value)


def _strings(path: str, pairs: dict[str, Any]) -> Iterator[str]:
    for key, value in pairs.items():
        if value is not None and not isinstance(value, str):
            yield wrong_type(f"{path}.{key}", value, "string")


def name_findings(metadata: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the name and the namespace that an object is found by."""
    for field, rule, longest, says in (
        ("name", _SUBDOMAIN, 253, _SUBDOMAIN_SAYS),
        ("namespace", _DNS_LABEL, 63, _LABEL_SAYS),
    ):
        value, path = metadata.get(field), f"metadata.{field}"
        if value is None:
            continue
        if not isinstance(value, str):
            yield wrong_type(path, value, "string")
        elif value and not rule.fullmatch(value):
            yield f"{path}: Invalid value: {shown(value)}: {says}"
        elif len(value) > longest:
            yield f"{path}: Invalid value: {shown(value)}: must be no more than {longest} characters"


def _labels(labels: dict[str, str]) -> Iterator[str]:
    for key, value in labels.items():
        yield from _qualified("metadata.labels", key)
        if value and not _WORD.fullmatch(value):
            yield f"metadata.labels: Invalid value: {shown(value)}: {_WORD_SAYS}"
        elif len(value or "") > 63:
            yield f"metadata.labels: Invalid value: {shown(value)}: must be no more than 63 characters"


def _annotations(annotations: dict[str, str]) -> Iterator[str]:
    for key in annotations:
        yield from _qualified("metadata.annotations", key.lower())
    size = sum(len(key.encode()) + len((value or "").encode()) for key, value in annotations.items())
    if size > _MOST_ANNOTATIONS:
        yield f"metadata.annotations: Too long: may not be more than {_MOST_ANNOTATIONS} bytes"


def _qualified(path: str, key: str) -> Iterator[str]:
    """A key is a name of at most 63 characters, with or without `prefix/`."""
    prefix, slash, name = key.rpartition("/")
    begin = f"{path}: Invalid value: {shown(key)}"
    if slash and (not _SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253):
        yield f"{begin}: the part before the / is no DNS name: {_SUBDOMAIN_SAYS}"
    if not _WORD.fullmatch(name):
        yield f"{begin}: {_WORD_SAYS}"
    elif len(name) > 63:
        yield f"{begin}: must be no more than 63 characters"


def admitted_config_map(manifest: dict[str, Any]) -> dict[str, Any]:
    """A ConfigMap as the API server would store it.

    Raises:
        BadUsage: it would be refused; one finding a fault.
    """
    if found := list(config_map_findings(manifest)):
        raise BadUsage("Invalid", f'ConfigMap "{manifest["metadata"].get("name", "")}" is invalid:', findings=found)
    whole = {key: copy.deepcopy(value) for key, value in manifest.items() if value is not None}
    normalise(whole["metadata"])
    for field in ("data", "binaryData"):
        if field in whole:
            whole[field] = {key: "" if value is None else value for key, value in whole[field].items()}
    return whole


def config_map_findings(manifest: dict[str, Any]) -> Iterator[str]:
    """All that the API server would refuse of a ConfigMap."""
    yield from findings(manifest["metadata"])
    for field, value in manifest.items():
        wanted = _CONFIG_MAP.get(field)
        if wanted is None:
            yield f'unknown field "{field}"'
        elif value is not None and type(value) is not wanted:
            yield wrong_type(field, value, JSON_TYPES[wanted])
        elif field in ("data", "binaryData") and isinstance(value, dict):
            yield from _strings(field, value)
            for key in value:
                if not _DATA_KEY.fullmatch(key) or len(key) > 253 or key in (".", "..") or key.startswith(".."):
                    yield f"{field}[{key}]: Invalid value: {shown(key)}: letters, digits, '-', '_' and '.' were expected"
