"""Small files: read with a message, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadData, BadUsage, StorageFault


def parse_json(data: bytes, where: str, reason: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The content of a JSON file that a person wrote: UTF-8, with or without a byte order mark.

    Args:
        data: the file.
        where: how messages name it.
        reason: of the fault.
        pairs: makes each object; a dict if None.

    Raises:
        BadData: another encoding, not JSON.
    """
    try:
        text = data.decode("utf-8-sig")
        if "\0" in text:  # UTF-16 and UTF-32 without a mark are full of them
            raise UnicodeError
        return json.loads(text, object_pairs_hook=pairs)
    except UnicodeError as error:
        raise BadData(reason, f"{where}: not UTF-8 text.", hint="Save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise BadData(reason, f"{where}: not JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from error
    except (RecursionError, ValueError) as error:  # deeper than Python reads, or a number longer
        raise BadData(reason, f"{where}: not JSON that can be read: {error}.") from error


def write_beside(path: str | os.PathLike[str], content: bytes) -> bool:
    """Write a file beside its place, then name it.

    Returns:
        whether another content was replaced.

    Raises:
        StorageFault: it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced = path.exists() and path.read_bytes() != content
        handle, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return replaced
    except OSError as error:
        raise StorageFault("CannotWrite", f"{path} cannot be written: {error.strerror}.") from error


def is_hidden(path: Path) -> bool:
    """Whether a file, or a folder that it lies in, is still being written."""
    return any(part.startswith(".") for part in path.parts)


def write_json(path: str | os.PathLike[str], content: Any) -> bool:
    """`write_beside` for JSON, keys in their own order."""
    return write_beside(path, json.dumps(content, indent=4).encode())


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file that an option names.

    Raises:
        BadUsage: missing, or not JSON.
    """
    try:
        return json.loads(_read(path, what).decode())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadUsage("InvalidFile", f"{what} {path} is not JSON: {error}.") from error


def _read(path: str | os.PathLike[str], what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadUsage("MissingFile", f"{what} {path} cannot be read: {error.strerror}.") from error


def json_option(text: str | None, option: str) -> Any:
    """The JSON object that an option of a command holds, or the file (JSON, or .yaml) that it names; None where it is not given.

    Raises:
        BadUsage: it is neither.
        BadConfiguration: the file is no YAML; the message has the line.
    """
    if text is None:
        return None
    if text.endswith((".yaml", ".yml")):
        from nnunet_trainer.contract.yaml_text import reader  # a training needs no PyYAML

        value = reader.one(_read(text, f"{option}:"), f"{option} {text}")
    elif not text.lstrip().startswith("{"):
        value = read_json(text, f"{option}:")
    else:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadUsage("InvalidArgument", f"{option} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadUsage("InvalidArgument", f"{option} is no JSON object.")
    return value
