"""JSON as it is read and written all the time, by pydantic's parser: it is twice as fast, and short strings are shared."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

from . import json_depth

_MANAGED_FIELDS = b'"managedFields":['
_END_OF_METADATA = b'}]},"spec":'


def decode(data: bytes) -> Any:
    """Data from JSON, no deeper than can be borne.

    Raises:
        ValueError: it is none.
    """
    return from_json(json_depth.shallow(data))


def decode_child(data: bytes) -> Any:
    """A Job or a Pod, or an event of one, from the API server's JSON, mostly without its `managedFields`: they are half of it.

    Raises:
        ValueError: it is no JSON.
    """
    # Their schemas hold no data of any shape, which could be too deep. managedFields are the last of the metadata, and no list is
    # within them; within a text the quotes would be escaped. So the two marks can be nothing else.
    begin = data.find(_MANAGED_FIELDS)
    end = data.find(_END_OF_METADATA, begin) if begin > 0 else -1
    return from_json(data if end < 0 else data[: begin - 1] + data[end + 2 :])


def encode(value: Any) -> bytes:
    """JSON without blanks."""
    try:
        return to_json(value)
    except ValueError:  # half a surrogate pair, which is no UTF-8
        return json.dumps(value, separators=(",", ":")).encode()
