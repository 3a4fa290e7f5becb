"""JSON that somebody else wrote, read into data that can be shown and written down anywhere.

What a pod says of itself goes into a status, an event, a terminal: a lone surrogate (of a file's name that is no UTF-8) cannot be
encoded, an integer of 5,000 digits is no number of any API, an escape sequence is for nobody's terminal.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .. import uri

DEEPEST = 16
"""Lists and objects within each other."""
LARGEST_INTEGER = 2**63 - 1
"""As in all of Kubernetes' APIs."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def parse(text: str | bytes, longest: int) -> Any:
    """Read JSON. Texts in it are made printable, an integer of more than 64 bits is as good as none.

    Args:
        text: the document.
        longest: characters (bytes) that it may have.

    Raises:
        ValueError: too long, no JSON, nested too deeply.
    """
    if len(text) > longest:
        raise ValueError(f"longer than {longest}")
    try:
        data = json.loads(text, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return _printable(data, DEEPEST)


def printable(text: str) -> str:
    r"""A text as it can be shown: control characters but newline and tab, and what is no UTF-8, as `\x1b`."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", uri.printable(text))


def _printable(data: Any, depth: int) -> Any:
    if isinstance(data, str):
        return printable(data)
    if not isinstance(data, (list, dict)):
        return data
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(data, list):
        return [_printable(item, depth - 1) for item in data]
    return {printable(key): _printable(item, depth - 1) for key, item in data.items()}


def _integer(digits: str) -> int | None:
    value = int(digits) if len(digits) <= len(str(LARGEST_INTEGER)) + 1 else None
    return value if value is not None and abs(value) <= LARGEST_INTEGER else None
