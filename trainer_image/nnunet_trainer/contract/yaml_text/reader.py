"""The documents of a file that a person wrote, as kubectl reads them: plain JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from ..faults import BadConfiguration
from . import scalars
from .construction import Construction
from .decoding import REASON, check_characters, decoded, fault, position

PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML was built with it: it is faster, and the ancestor of kubectl's parser."""

_HINTS = (
    ("\t", "That is a tab: indent with spaces."),
    ("@", "A text that begins with @ needs quotes."),
    ("`", "A text that begins with ` needs quotes."),
    ("%", "A text that begins with % needs quotes; directives such as %YAML are left out."),
)


def documents(content: bytes | str, where: str) -> list[Any]:
    """All documents of a file; empty ones are left out.

    Args:
        content: the file's bytes (UTF-8), or its text.
        where: how messages call it: a path, "standard input".

    Returns:
        One JSON value each: dict, list, str, int, float, bool.

    Raises:
        BadConfiguration: another encoding, not YAML, a key given twice, what JSON cannot hold; with line and column.
    """
    text = decoded(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"), where)
    found, offset = _json_objects(text, where)
    line = text.count("\n", 0, offset)
    found += [value for part, first in _parts(text[offset:], where, line) for value in [document(part, where, first)]]
    return [value for value in found if value is not None]


def one(content: bytes | str, where: str) -> Any:
    """The one document of a file, None of an empty one.

    Raises:
        BadConfiguration: as `documents`; several documents.
    """
    found = documents(content, where)
    if len(found) > 1:
        raise BadConfiguration(REASON, f"{where} holds {len(found)} documents (separated by ---); one was expected.")
    return found[0] if found else None


def document(text: str, where: str, first_line: int = 0, parser: Any = None) -> Any:
    """One document's JSON value: what sigs.k8s.io/yaml makes of it, and a key given twice is refused.

    Args:
        text: the document; no other may follow it.
        where: how messages call the file.
        first_line: how many lines of the file come before the text.
        parser: a PyYAML loader class other than `PARSER`.
    """
    check_characters(text, where, first_line)
    try:
        return Construction(where, first_line).value(yaml.parse(text, Loader=parser or PARSER))
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        begun: Any = error.context_mark
        what = " ".join(str(error.problem or error.context).split())
        if error.context and begun is not None and error.problem and begun.line != mark.line:
            what += f" ({' '.join(str(error.context).split())} that began in line {first_line + begun.line + 1})"
        raise fault(where, first_line + mark.line + 1, mark.column + 1, f"{what}.", _hint(text, mark, what)) from error
    except yaml.YAMLError as error:
        raise BadConfiguration(REASON, f"{where}: {' '.join(str(error).split())}") from error


def _hint(text: str, mark: Any, what: str) -> str:
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    at = line[mark.column : mark.column + 1]
    if "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        at = "\t"
    if "mapping values are not allowed" in what:
        return "A text that holds a colon and a space needs quotes; keys of one mapping stand in the same column."
    if "expected node content" in what or "expected ','" in what:
        return "A bracket, a brace or a comma may be missing."
    return next((hint for character, hint in _HINTS if at == character), "")


def _parts(text: str, where: str, line: int) -> Iterator[tuple[str, int]]:
    """The documents of a stream, each with the number of lines before it. Nothing but a comment may follow a `---`."""
    part: list[str] = []
    start = line
    for number, content in enumerate(text.split("\n"), line):
        if not content.startswith("---"):
            part.append(content)
            continue
        behind = content[3:].strip()
        if behind and not behind.startswith("#"):
            raise fault(where, number + 1, 4, f"{behind!r} follows the ---; kubectl allows only a comment there.")
        if part:
            yield "\n".join([*part, ""]), start
            part, start = [], number + 1
        else:
            part.append(content)
    yield "\n".join(part), start


def _json_objects(text: str, where: str) -> tuple[list[Any], int]:
    """The JSON objects that a text begins with, and where they end: JSON allows what YAML's grammar does not (tabs)."""
    found: list[Any] = []
    end = 0
    if not text.lstrip().startswith("{"):
        return found, end
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_not_json)
    while True:
        begin = end + len(text[end:]) - len(text[end:].lstrip(" \t\r\n"))
        if begin == len(text):
            return found, begin
        try:
            value, end = decoder.raw_decode(text, begin)
        except scalars.Unreadable as error:
            raise fault(where, *position(text, begin), f"in the JSON object that begins here: {error}") from error
        except ValueError:
            return found, end
        except RecursionError as error:
            raise fault(where, *position(text, begin), "it is nested too deeply.") from error
        found.append(_without_surrogates(value) if "\\u" in text else value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise scalars.Unreadable(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice.")
    return found


def _number(text: str) -> int | float:
    try:
        return scalars.json_number(float(text))
    except scalars.Unreadable as error:
        raise scalars.Unreadable(f"{text}: {error}") from error


def _not_json(text: str) -> Any:
    raise json.JSONDecodeError(text, text, 0)


def _without_surrogates(value: Any) -> Any:
    """Half a pair of `\\uD83D\\uDE00` is no character: U+FFFD stands for it, as in Go."""
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value
