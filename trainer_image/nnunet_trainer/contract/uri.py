"""URIs of stores, read as they are written: `s3://bucket/prefix`, `pvc://claim/folder`, `file:///folder`.

Nothing is decoded and nothing is cut off: `#`, `?`, `%20`, `+`, a space, an umlaut are characters of a name, as they are for the
tools of S3. Whatever could mean another place than the one that it seems to name is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .faults import BadConfiguration

Scheme = Literal["s3", "pvc", "file"]
SCHEMES: tuple[Scheme, ...] = ("s3", "pvc", "file")
BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Names of buckets, of all stores that call themselves compatible."""
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
CLAIM = rf"{_LABEL}(\.{_LABEL})*"
"""Names of PersistentVolumeClaims: a DNS subdomain (RFC 1123), as Kubernetes demands."""
HINT = (
    "Write s3://bucket/prefix, pvc://claim/path or, on one machine, file:///absolute/path; all characters as they are in the name "
    "(a space, not %20)."
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI's parts.

    Attributes:
        scheme: s3, pvc or file.
        authority: the bucket or the claim; "" for file.
        path: below the bucket or the claim, without slashes at its ends; for file the absolute path.
    """

    scheme: Scheme
    authority: str
    path: str


def parse(text: str) -> Uri:
    """Read a URI.

    Raises:
        BadConfiguration: another scheme, no bucket or claim, a relative path, a path that leaves its root, empty parts of a key,
            control characters, no UTF-8.
    """
    _check_characters(text)
    scheme, separator, rest = text.partition("://")
    known = next((s for s in SCHEMES if s == scheme), None) if separator else None
    if known is None:
        raise _refused(text, "is no URI of a store")
    authority, slash, path = rest.partition("/")
    parts = path.split("/")
    if ".." in parts:
        raise _refused(text, "leaves its root by '..'")
    if known == "file":
        if authority not in ("", "localhost") or not slash:
            raise _refused(text, "names no absolute folder of this machine")
        return Uri("file", "", "/" + path.strip("/"))
    pattern, what = (BUCKET, "bucket") if known == "s3" else (CLAIM, "claim")
    if not authority:
        raise _refused(text, f"names no {what}")
    if not re.fullmatch(pattern, authority):
        raise _refused(text, f"names no {what}: {authority!r} is no name of one")
    if known == "pvc":
        return Uri("pvc", authority, path.strip("/"))
    key = path.removesuffix("/")
    if path and not {"", "."}.isdisjoint(key.split("/")):
        raise _refused(text, "has an empty part or '.' between slashes, which an object store takes for names of their own")
    return Uri("s3", authority, key)


def of_path(path: Path) -> str:
    """The URI of an absolute path of this machine.

    Raises:
        BadConfiguration: its name is no UTF-8, or holds control characters.
    """
    _check_characters(str(path))
    return f"file://{path}"


def to_path(text: str) -> Path | None:
    """The path of this machine that a `file:` URI names, None for another URI."""
    return Path(text.removeprefix("file://").removeprefix("localhost")) if text.startswith("file://") else None


def claim(text: str) -> str | None:
    """The PersistentVolumeClaim of a `pvc:` URI, None for another URI."""
    return text.removeprefix("pvc://").partition("/")[0] if text.startswith("pvc://") else None


def printable(name: str) -> str:
    r"""A file's name as it can be shown: what is no UTF-8 as `\xff`."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair, which no file's name holds
        return name.encode("utf-8", "backslashreplace").decode()


def is_utf8(name: str) -> bool:
    """Whether a file's name is UTF-8: others cannot be kept in an object store, nor be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_characters(text: str) -> None:
    if not is_utf8(text):
        raise BadConfiguration("InvalidStorageUri", f"'{printable(text)}' is not UTF-8.", hint="Rename the folder.")
    if _CONTROL.search(text):
        raise BadConfiguration("InvalidStorageUri", f"{text!r} holds control characters.", hint=HINT)


def _refused(text: str, why: str) -> BadConfiguration:
    return BadConfiguration("InvalidStorageUri", f"{text!r} {why}.", hint=HINT)
