"""What the API server would say of a manifest, without one: strict decoding, defaults, schema, list types, CEL.

The schema is that of the CRDs (`schema.crds`); messages name the field as the API server does.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, unknown_name

from ..base import API_VERSION
from ..fields.int_or_string import MARK as INT_OR_STRING
from ..resources import KINDS
from . import cel_rules, crds, json_schema, metadata
from .json_schema import Schema, child

Manifest = dict[str, Any]

_BLOCKING = frozenset({"type", INT_OR_STRING, "enum", "required", "maxLength", "maxItems"})
"""After one of these the API server does not come to the CEL rules."""


def admit(manifest: Manifest, old: Manifest | None = None) -> Manifest:
    """A manifest with its defaults, as the API server would store it (status excepted: that is written apart).

    Args:
        manifest: as a person wrote it.
        old: the stored object that it replaces, if there is one: what may not change is compared with it.

    Raises:
        BadUsage: it would be refused; one finding a fault.
    """
    findings, whole = _check(manifest, old)
    if findings:
        meta = manifest.get("metadata")
        name = meta.get("name", "") if isinstance(meta, dict) else ""
        raise BadUsage("Invalid", f'{manifest.get("kind")} "{name}" is invalid:', findings=findings)
    return whole


def findings(manifest: Manifest, old: Manifest | None = None) -> list[str]:
    """All that the API server would refuse, one line each, `spec.field: what is wrong`. Empty: it would be accepted."""
    return _check(manifest, old)[0]


def _check(manifest: Manifest, old: Manifest | None) -> tuple[list[str], Manifest]:
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if not isinstance(kind, str) or kind not in KINDS:
        return [f"kind: {unknown_name('kind', str(kind), KINDS)}"], manifest
    if version != API_VERSION:
        return [f'apiVersion: Unsupported value: "{version}": supported values: "{API_VERSION}"'], manifest
    schema = schema_of(kind)
    whole = copy.deepcopy({key: value for key, value in manifest.items() if key != "status"})
    found = [*_metadata(whole), *_unknown(schema, whole, "")]
    if found:
        return found, manifest
    _normalise(schema, whole)
    apply_defaults(schema, whole)
    errors = list(_validator(kind).iter_errors(whole))
    found = [line for error in errors for line in json_schema.messages(error)]
    found += _list_types(schema, whole, "")
    if not any(error.validator in _BLOCKING for error in errors):
        before = copy.deepcopy({key: value for key, value in old.items() if key != "status"}) if old else None
        apply_defaults(schema, before)
        found += cel_rules.violations(schema, whole, before)
    return found, whole


@cache
def schema_of(kind: str) -> Schema:
    """The CRD's schema of a kind."""
    return crds.schema(KINDS[kind])


@cache
def _validator(kind: str) -> Any:
    return json_schema.validator(schema_of(kind))


def _metadata(manifest: Manifest) -> Iterator[str]:
    found = manifest.get("metadata")
    if not isinstance(found, dict):
        yield "metadata: Required value" if found is None else metadata.wrong_type("metadata", found, "object")
        return
    if found.get("name") in (None, ""):
        yield "metadata.name: Required value: name is required"
    yield from metadata.findings(found)
    metadata.normalise(found)


def _unknown(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """Fields that the schema does not name (kubectl's strict decoding)."""
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from _unknown(schema["items"], item, child(path, i))
    if not isinstance(value, dict) or path == "metadata":
        return
    if "additionalProperties" in schema:
        for name, item in value.items():
            yield from _unknown(schema["additionalProperties"], item, child(path, name))
        return
    if "properties" not in schema:
        return
    for name, item in value.items():
        if name in schema["properties"]:
            yield from _unknown(schema["properties"][name], item, child(path, name))
        else:
            near = difflib.get_close_matches(str(name), schema["properties"], n=1)
            advice = f" (did you mean {near[0]}?)" if near else ""
            if name == "namespace":  # no neighbour of `name`, but meant as it is
                advice = " (leave it out: what an object names lies in its own namespace)"
            yield f'unknown field "{child(path, name)}"{advice}'


def _normalise(schema: Schema, value: Any) -> None:
    """In place, as the API server reads JSON.

    A null where another type is wanted is as good as nothing; an integer beyond 64 bits is a float; a float that is whole
    and that a float holds exactly (below 2**53) is an integer where one is wanted.
    """
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, list) and "items" in schema:
        items = enumerate(value)
    elif isinstance(value, dict):
        items = list(value.items())
    for key, item in items:
        field = schema["items"] if isinstance(value, list) else _field(schema, key)
        if field is None:
            continue
        if item is None and isinstance(value, dict):
            del value[key]
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            value[key] = float(item)
        elif isinstance(item, float) and item.is_integer() and abs(item) < 2**53 and field.get("type") == "integer":
            value[key] = int(item)
        else:
            _normalise(field, item)


def _field(schema: Schema, name: str) -> Schema | None:
    """The schema of an object's or a map's field; None in free-form data."""
    found: Schema | None = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
    return found


def apply_defaults(schema: Schema, value: Any) -> None:
    """Fill in the schema's defaults, in place."""
    if isinstance(value, list) and "items" in schema:
        for item in value:
            apply_defaults(schema["items"], item)
    elif isinstance(value, dict):
        properties = schema.get("properties", {})
        for name, field in properties.items():
            if "default" in field and name not in value:
                value[name] = copy.deepcopy(field["default"])
            if name in value:
                apply_defaults(field, value[name])
        for name, item in value.items():
            if name not in properties and "additionalProperties" in schema:
                apply_defaults(schema["additionalProperties"], item)


def _list_types(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """Lists that are sets or maps hold no item twice."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in schema.get("properties", {}):
                yield from _list_types(schema["properties"][name], item, child(path, name))
            elif "additionalProperties" in schema:
                yield from _list_types(schema["additionalProperties"], item, child(path, name))
    elif isinstance(value, list) and "items" in schema:
        seen: list[Any] = []
        for i, item in enumerate(value):
            identity = item
            if schema.get("x-kubernetes-list-type") == "map" and isinstance(item, dict):
                identity = {key: item.get(key) for key in schema["x-kubernetes-list-map-keys"]}
            if schema.get("x-kubernetes-list-type") in ("set", "map") and identity in seen:
                yield f"{child(path, i)}: Duplicate value: {json.dumps(identity, ensure_ascii=False)}"
            seen.append(identity)
            yield from _list_types(schema["items"], item, child(path, i))
