"""What a plug-in is, for both sides: its Python modules, and the digest of their text."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any


def is_module(name: str) -> bool:
    """Whether a file of a plug-in is imported. What is mounted of a ConfigMap has hidden entries beside its keys."""
    return name.endswith(".py") and not name.startswith(".")


def digest(modules: Iterable[tuple[str, bytes]]) -> str:
    """The sha256 of modules, each with its name and its text."""
    sha256 = hashlib.sha256()
    for name, content in sorted(modules):
        sha256.update(f"{name} {len(content)}\n".encode() + content)
    return sha256.hexdigest()


def of_config_map(manifest: Mapping[str, Any]) -> str:
    """The digest of the plug-in that a ConfigMap holds, as it is where it is mounted."""
    texts = {name: str(text).encode() for name, text in (manifest.get("data") or {}).items()}
    for name, text in (manifest.get("binaryData") or {}).items():
        try:
            texts[name] = base64.b64decode(text)
        except (binascii.Error, ValueError, TypeError):
            texts[name] = b""  # no API server keeps such a one
    return digest((name, text) for name, text in texts.items() if is_module(name))
