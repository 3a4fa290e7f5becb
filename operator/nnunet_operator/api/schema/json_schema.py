"""A value against its JSON schema, in the words of the API server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema

from ..fields.int_or_string import MARK as INT_OR_STRING
from . import metadata
from .pattern_examples import as_written

Schema = dict[str, Any]


def validator(schema: Schema) -> Any:
    """Of Draft 4: as in OpenAPI v3, `exclusiveMinimum` is a flag beside `minimum`. It gives `iter_errors(value)`."""
    return _Draft(schema)


def messages(error: Any) -> Iterator[str]:
    """What the API server says of one of a validator's errors: `spec.field: what is wrong`."""
    path, bound, value = _path(error), error.validator_value, error.instance
    shown = (
        json.dumps(value, ensure_ascii=False) if isinstance(value, (str, int, float)) else f'"{metadata.JSON_TYPES[type(value)]}"'
    )
    match error.validator:
        case name if name == INT_OR_STRING:
            yield metadata.wrong_type(path, value, "integer or string")
        case "required":
            missing = next((name for name in bound if error.message.startswith(repr(name))), bound[0])
            yield f"{child(path, missing)}: Required value"
        case "type":
            named = bound == "object" and isinstance(value, str) and "name" in error.schema.get("properties", {})
            yield metadata.wrong_type(path, value, bound) + (f" (as {{name: {value}}})" if named else "")
        case "enum":
            yield f"{path}: Unsupported value: {shown}: supported values: {', '.join(json.dumps(item) for item in bound)}"
        case "pattern":
            yield f"{path}: Invalid value: {shown}: should match '{bound}'{as_written(bound)}"
        case "maxLength":
            yield f"{path}: Too long: may not be more than {bound} characters"
        case "minLength":
            yield f"{path}: Invalid value: {shown}: should be at least {bound} characters long"
        case "maxItems" | "maxProperties":
            yield f"{path}: Too many: {len(value)}: must have at most {bound} items"
        case "minItems":
            yield f"{path}: Invalid value: {len(value)}: should have at least {bound} items"
        case "minimum":
            word = "greater than" if error.schema.get("exclusiveMinimum") else "greater than or equal to"
            yield f"{path}: Invalid value: {shown}: should be {word} {bound}"
        case "maximum":
            word = "less than" if error.schema.get("exclusiveMaximum") else "less than or equal to"
            yield f"{path}: Invalid value: {shown}: should be {word} {bound}"
        case _:
            yield f"{path}: Invalid value: {error.message}"


def _path(error: Any) -> str:
    path, steps = "", list(error.absolute_path)
    for keyword in error.absolute_schema_path:
        if not steps:
            break
        # A property named like a keyword comes right after "properties", where it is not one.
        if (keyword in ("items", "additionalProperties") and isinstance(steps[0], int) == (keyword == "items")) or keyword == steps[
            0
        ]:
            path = child(path, steps.pop(0))
    return path


def child(path: str, name: str | int) -> str:
    """A field's path, written as the API server writes it."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


@cache
def _pattern(text: str) -> re.Pattern[str]:
    # Go's `$` is the end of the text; Python's also matches before a last newline.
    return re.compile(text[:-1] + r"\Z" if text.endswith("$") else text)


def _check_pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not _pattern(pattern).search(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _check_int_or_string(_: Any, __: Any, value: Any, ___: Any) -> Iterator[jsonschema.ValidationError]:
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        yield jsonschema.ValidationError(f"{value!r} is neither an integer nor a string")


_Draft: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft4Validator, {"pattern": _check_pattern, INT_OR_STRING: _check_int_or_string}
)
