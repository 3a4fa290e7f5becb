"""Numbers that people write as integers or as strings: `cpu: 4` and `cpu: "4"`, `folds: [0, 1]` and `folds: ["0", "1"]`.

In a CRD they are `x-kubernetes-int-or-string`, as quantities are in Kubernetes' own kinds; fractions are strings there. Read, both
spellings are the same value, so that nothing that follows from a spec depends on how it was written.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

MARK = "x-kubernetes-int-or-string"


def _schema(pattern: str, *, length: int, minimum: int, maximum: int | None = None) -> WithJsonSchema:
    """Of a field that takes both: `pattern` and `length` bind its strings, `minimum` and `maximum` its integers."""
    bounds = {"minimum": minimum} | ({} if maximum is None else {"maximum": maximum})
    return WithJsonSchema({MARK: True, "pattern": pattern, "maxLength": length, **bounds})


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain(value: float) -> int | str:
    """A number as a manifest has it: without a fraction an integer, else a string."""
    return int(value) if float(value).is_integer() else str(value)


_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_FOLD = r"^(all|0|[1-9][0-9]?)$"
_MINUTES = r"^(0\.[0-9]*[1-9][0-9]*|[1-9][0-9]{0,4}(\.[0-9]+)?)$"

Quantity = Annotated[
    str,
    BeforeValidator(_text),
    Field(min_length=1, max_length=32, pattern=_QUANTITY),
    _schema(_QUANTITY, length=32, minimum=0),
]
"""An amount of a resource, such as `4`, `500m`, `16Gi`."""

Fold = Annotated[str, BeforeValidator(_text), Field(max_length=3, pattern=_FOLD), _schema(_FOLD, length=3, minimum=0, maximum=99)]
"""A fold's number, or `all`."""

Minutes = Annotated[
    float,
    BeforeValidator(lambda value: float("nan") if isinstance(value, bool) else value),
    PlainSerializer(_plain, when_used="json"),
    Field(gt=0, le=100_000, allow_inf_nan=False),
    _schema(_MINUTES, length=16, minimum=1, maximum=100_000),
]
"""A time in minutes; a fraction is a string, such as "0.5". What an earlier version stored as a number with a fraction is read too.

No CEL rule may look at it: the API server's CEL refuses such a number, and with it every write to the object that holds it.
"""
