"""CustomResourceDefinitions, made from the models: structural schemas, CEL rules, list types, printer columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_trainer.contract.yaml_text import writer

from ..base import GROUP, VERSION, Resource, Rule
from ..fields.int_or_string import MARK as INT_OR_STRING
from ..resources import CATEGORY, KINDS

Schema = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
)
"""Keywords that mean the same in pydantic's schema and in a CRD's. All others are translated or left out."""

LONGEST_VALUE = 64
"""Characters of a word in a status that is one of several, as far as this version knows."""

_NAME_RULES = (
    Rule("size(self.metadata.name) <= 40", "must be 40 characters at most", "metadata.name"),
    Rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "must begin with a letter and hold only a-z, 0-9 and - (not at its end)",
        "metadata.name",
    ),
)

Column = tuple[str, str, str, int]  # name, type, JSONPath, priority
_READY: tuple[Column, ...] = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 1),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "Dataset": (
        ("Dataset", "string", ".spec.name", 0),
        ("Cases", "integer", ".status.cases", 0),
        *_READY,
        ("Source", "string", ".spec.source.uri", 1),
    ),
    "Plans": (
        ("Dataset", "string", ".spec.datasetRef.name", 0),
        ("Plans", "string", ".status.plansName", 0),
        ("Cases", "string", ".status.cases", 0),
        *_READY,
    ),
    "PlanTransfer": (
        ("From", "string", ".spec.from.plansRef.name", 0),
        ("To", "string", ".spec.to.datasetRef.name", 0),
        ("Plans", "string", ".spec.plansName", 0),
        *_READY,
    ),
    "TrainingRun": (
        ("Config", "string", ".spec.configuration", 0),
        ("Folds", "string", ".status.foldsDone", 0),
        ("Epoch", "string", ".status.epoch", 0),
        ("Dice", "string", ".status.dice", 0),
        ("ETA", "string", ".status.eta", 0),
        *_READY,
        ("Plans", "string", ".spec.plansRef.name", 1),
        ("Trainer", "string", ".spec.trainer.name", 1),
        ("Results", "string", ".status.results.uri", 1),
    ),
}
"""What `kubectl get` shows of each kind, in the order of its columns; priority 1 only with `-o wide`."""


def generate() -> dict[str, dict[str, Any]]:
    """The CRDs of the four kinds, by file name."""
    return {f"{GROUP}_{model.plural}.yaml": crd(kind) for kind, model in KINDS.items()}


def write(folder: str | Path) -> list[Path]:
    """Write the CRDs into a folder, which is made if it is not there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, manifest in generate().items():
        (folder / name).write_text(dump(manifest), encoding="utf-8")
        paths.append(folder / name)
    return paths


def dump(manifest: dict[str, Any]) -> str:
    """A CRD as YAML, the same text for the same CRD."""
    return writer.dumped(manifest, width=130)


def crd(kind: str) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    model = KINDS[kind]
    columns = [
        {"name": name, "type": type_, "jsonPath": path, **({"priority": priority} if priority else {})}
        for name, type_, path, priority in COLUMNS[kind]
    ]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema(model)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": model.plural,
        "singular": kind.lower(),
        "shortNames": [model.short_name],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{model.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def schema(model: type[Resource]) -> Schema:
    """The structural schema of a kind."""
    whole = model.model_json_schema(by_alias=True)
    definitions = whole.get("$defs", {})
    status = _structural(whole["properties"]["status"], definitions)
    status.pop("default", None)
    _without_enums(status)
    return {
        "type": "object",
        "description": (model.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _structural(whole["properties"]["spec"], definitions),
            "status": status,
        },
        "x-kubernetes-validations": [rule.to_json() for rule in _NAME_RULES],
    }


def _without_enums(node: Schema) -> None:
    """In place: a status may hold a value of another version, and no write of it may be refused for that."""
    if node.pop("enum", None):
        node["maxLength"] = LONGEST_VALUE
    below = [*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")]
    for child in below:
        if isinstance(child, dict):
            _without_enums(child)


def _structural(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """pydantic's schema of one field as the API server wants it: references inlined, no null, no unknown keyword."""
    node = _resolve(node, definitions)
    out: Schema = {key: node[key] for key in _KEPT if key in node}
    if INT_OR_STRING in node:
        out[INT_OR_STRING] = True
    if out.get("default", ...) is None:
        del out["default"]
    if "const" in node:
        out["enum"] = [node["const"]]
    if "exclusiveMinimum" in node:
        out |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if "exclusiveMaximum" in node:
        out |= {"maximum": node["exclusiveMaximum"], "exclusiveMaximum": True}
    if node.get("type") == "array":
        out |= _array(node, definitions)
    elif node.get("type") == "object":
        out |= _object(node, definitions)
        if "properties" in node and isinstance(out.get("default"), dict):
            out["default"] = {name: value for name, value in out["default"].items() if value is not None}
    if "x-kubernetes-validations" in node:
        out["x-kubernetes-validations"] = node["x-kubernetes-validations"]
    return out


def _array(node: Schema, definitions: dict[str, Schema]) -> Schema:
    items = _structural(node["items"], definitions)
    keys = node.get("x-kubernetes-list-map-keys")
    if not keys:
        return {"items": items, "x-kubernetes-list-type": node.get("x-kubernetes-list-type", "atomic")}
    return {"items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}


def _object(node: Schema, definitions: dict[str, Schema]) -> Schema:
    if "properties" in node:
        return {"properties": {name: _structural(child, definitions) for name, child in node["properties"].items()}}
    values = node.get("additionalProperties", True)
    if values is True or values == {}:
        return {"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"}
    return {"additionalProperties": _structural(values, definitions)}


def _resolve(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follow references and `X or null`; what stands beside them wins over what stands behind them."""
    while True:
        if "$ref" in node:
            beside = {key: value for key, value in node.items() if key != "$ref"}
            node = {**definitions[node["$ref"].rsplit("/", 1)[1]], **beside}
        elif "anyOf" in node:
            options = [option for option in node["anyOf"] if option.get("type") != "null"]
            if len(options) != 1:
                raise ValueError(f"a CRD cannot say 'one of several types': {node}")
            beside = {key: value for key, value in node.items() if key != "anyOf"}
            node = {**options[0], **beside}
        elif "allOf" in node and len(node["allOf"]) == 1:
            beside = {key: value for key, value in node.items() if key != "allOf"}
            node = {**node["allOf"][0], **beside}
        else:
            return node
