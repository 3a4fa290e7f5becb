"""What all models share: camelCase outside, snake_case inside.

Admission is strict (`schema.validation`, the CRDs); reading what is stored is lenient: fields of another version stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

GROUP = "nnunet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Rule(NamedTuple):
    """A CEL rule of an object: what must hold, the message for people when it does not, and the field that it is about."""

    rule: str
    message: str
    field: str = ""

    def to_json(self) -> dict[str, str]:
        """As in a CRD."""
        return {"rule": self.rule, "message": self.message} | ({"fieldPath": f".{self.field}"} if self.field else {})


def fixed(field: str, advice: str, *, optional: bool = False) -> Rule:
    """A field never changes; `advice` says what to do instead. `optional`: it may be absent."""
    same = f"self.{field} == oldSelf.{field}"
    rule = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})" if optional else same
    return Rule(rule, f"cannot change: {advice}", field)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is before the year 1 or after 9999 in UTC") from error


def format_time(moment: datetime) -> str:
    """A moment as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(format_time, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment in UTC."""


Seconds = Annotated[
    int,
    BeforeValidator(lambda value: round(value) if isinstance(value, float) and isfinite(value) else value),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
"""A duration in a status, in whole seconds. The CRD takes fractions still: an operator of the version before writes them."""


class Model(BaseModel):
    """Base of all models."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, protected_namespaces=())

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules of this object. A subclass's come after those of its bases."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        own = [rule for base in reversed(cls.__mro__) for rule in base.__dict__.get("rules", ())]
        if own:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = [rule.to_json() for rule in own]
        return schema

    def to_json(self) -> dict[str, Any]:
        """As in a manifest: camelCase, what was never set is left out, a null inside free-form data stays."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return data


class SpecModel(Model):
    """What people write. Unknown fields are another version's: kept, without effect. Nothing changes after parsing."""

    model_config = ConfigDict(extra="allow", frozen=True)


class StatusModel(Model):
    """What the operator writes. Unknown fields are another version's, and are written back as they are."""

    model_config = ConfigDict(extra="allow")

    def to_json(self) -> dict[str, Any]:
        """As in a manifest: camelCase, without what is None."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return data


def unknown_fields(model: Any, path: str) -> Iterator[str]:
    """The paths of all fields, in a model and below, that this version does not know."""
    if isinstance(model, Model):
        if model.model_extra:
            yield from (f"{path}.{name}" for name in sorted(model.model_extra))
        fields = type(model).model_fields
        for name, item in model.__dict__.items():
            if isinstance(item, _NESTED):
                yield from unknown_fields(item, f"{path}.{fields[name].alias or name}")
    elif isinstance(model, list):
        for i, item in enumerate(model):
            if isinstance(item, _NESTED):
                yield from unknown_fields(item, f"{path}[{i}]")
    elif isinstance(model, dict):
        for name, item in model.items():
            if isinstance(item, _NESTED):
                yield from unknown_fields(item, f"{path}.{name}")


_NESTED = (Model, list, dict)
"""In what a field can be that is not known: most of what is walked through is neither."""


DEEPEST = 64
"""Objects and lists within each other in data of any shape, which the API server does not limit."""


def _no_deeper(data: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        if not level:
            return data
        below = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in below for item in items if isinstance(item, (dict, list))]
    if level:
        raise ValueError(f"objects and lists lie within each other more than {DEEPEST} deep")
    return data


FreeForm = Annotated[dict[str, Any], AfterValidator(_no_deeper)]
"""An object of any content; equal or not as a whole."""


class OwnerReference(StatusModel):
    """Who owns an object."""

    model_config = ConfigDict(extra="ignore")

    api_version: str = ""
    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(StatusModel):
    """The part of an object's metadata that the operator looks at."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[OwnerReference] = Field(default_factory=list)


class Resource(Model):
    """An object of one of the four kinds. Subclasses give `spec` and `status` their types."""

    model_config = ConfigDict(extra="ignore")

    api_version: str = API_VERSION
    kind: str
    metadata: Metadata
    spec: Any
    status: Any

    plural: ClassVar[str] = ""
    short_name: ClassVar[str] = ""
