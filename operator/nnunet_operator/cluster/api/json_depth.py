"""JSON of the API server, no deeper than what reads and copies it can bear.

Where one of our kinds holds data of any shape (a patch, a recipe), the API server takes objects that are nested 10,000 deep. What
reads and copies such data in Python ends with RecursionError long before: one object would stop the operator for everybody.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 128
"""Objects and lists within each other. Data of any shape may be `api.base.DEEPEST` deep: what is cut here is refused there."""

_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{\[]+|[}\]]+', re.DOTALL)


def loads(text: bytes) -> Any:
    """Read JSON; what lies deeper than `DEEPEST` is left out, as null."""
    return json.loads(shallow(text))


def shallow(text: bytes) -> bytes:
    """The same JSON (or several documents of it, one a line) without what lies deeper than `DEEPEST`; mostly this very text."""
    brackets = text.translate(None, _ALL_BUT_BRACKETS)
    # Each round takes away the innermost pairs. Brackets in texts may leave a rest: then it is looked at closely.
    for _ in range(DEEPEST):
        if not brackets:
            return text
        inner = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if inner == brackets:
            break
        brackets = inner
    return _cut(text) if brackets else text


def _cut(text: bytes) -> bytes:
    parts, depth, begin = [], 0, 0
    for token in _TOKEN.finditer(text):
        first, count = token[0][0], token.end() - token.start()
        if first in b"{[":
            if depth <= DEEPEST < depth + count:
                parts += [text[begin : token.start() + DEEPEST - depth], b"null"]
            depth += count
        elif first in b"}]":
            if depth - count <= DEEPEST < depth:
                begin = token.start() + depth - DEEPEST
            depth -= count
    return b"".join((*parts, text[begin:])) if parts else text
