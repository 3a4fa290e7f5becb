"""Manifests as people write them in files: YAML or JSON, several to a file, folders, paths beside the file."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import uri
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.contract.yaml_text import reader

from ...api.resources import API_VERSION, KINDS
from ...api.schema import metadata

Manifest = dict[str, Any]

SUFFIXES = (".yaml", ".yml", ".json")
URIS = ("source", "storage", "pretrained")
"""The fields of a spec that hold a `uri`."""
KNOWN = f"Expected one of {', '.join(KINDS)} (apiVersion: {API_VERSION}), or a ConfigMap (apiVersion: v1)."
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*://")


def read(names: Sequence[str], namespace: str) -> list[Manifest]:
    """All manifests of files and folders (`-`: standard input), in their order.

    `file:` URIs that are not absolute, and bare paths, count from the manifest's own folder, and are made absolute.

    Raises:
        BadUsage: no such file, nothing but empty files, a folder without manifests.
        BadConfiguration: not UTF-8, not YAML, no kind or name, a kind that the local shell does not know.
    """
    found: list[tuple[str, Manifest]] = []
    for name in names:
        if name == "-":
            found += _documents(sys.stdin.buffer.read(), "standard input", Path.cwd(), namespace)
            continue
        for file in _files(Path(name)):
            found += _documents(file.read_bytes(), str(file), file.parent, namespace)
    if not found:
        raise BadUsage("NoManifests", f"There is no manifest in {', '.join(names)}.")
    seen: dict[tuple[str, str, str], str] = {}
    for where, manifest in found:
        kind, namespace, name = manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        if (kind, namespace, name) in seen:
            places = " and ".join([seen[kind, namespace, name], where])
            hint = "Leave one of them out, or give it another name."
            raise BadConfiguration("DuplicateManifest", f"{kind} {name} is given twice: {places}.", hint=hint)
        seen[kind, namespace, name] = where
    return [manifest for _, manifest in found]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not files:
            raise BadUsage("NoManifests", f"The folder {path} holds no {', '.join(SUFFIXES)} file.")
        return files
    if not path.is_file():
        raise BadUsage("NoSuchFile", f"There is no file or folder {path}.")
    return [path]


def _documents(content: bytes, where: str, folder: Path, namespace: str) -> Iterator[tuple[str, Manifest]]:
    found = reader.documents(content, where)
    for number, document in enumerate(found, 1):
        place = f"{where}, document {number}" if len(found) > 1 else where
        if not isinstance(document, dict) or document.get("kind") != "List":
            yield place, _manifest(document, place, folder, namespace)
            continue
        items = document.get("items")
        if not isinstance(items, list | None):
            raise BadConfiguration("Invalid", f"{place}: items: a list was expected, found {items!r}.")
        for i, item in enumerate(items or []):
            yield f"{place}, items[{i}]", _manifest(item, f"{place}, items[{i}]", folder, namespace)


def _another_kind(kind: str) -> str:
    """What a manifest of an unknown kind or version may have been meant as."""
    if kind == "Secret":
        return "A Secret stays out of the store: its values are read from --secrets DIR/NAME/KEY."
    by_lower = {known.lower(): known for known in KINDS}
    near = difflib.get_close_matches(kind.lower(), by_lower, n=1)
    return f"Did you mean kind: {by_lower[near[0]]} with apiVersion: {API_VERSION}?" if near else KNOWN


def _manifest(document: Any, where: str, folder: Path, namespace: str) -> Manifest:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        missing = "kind" if isinstance(document, dict) and document.get("apiVersion") else "apiVersion and kind"
        raise BadConfiguration("NoKind", f"{where}: a document without {missing}.", hint=KNOWN)
    kind, version = document["kind"], document.get("apiVersion")
    if not version:
        raise BadConfiguration("NoKind", f"{where}: a {kind} without apiVersion.", hint=KNOWN)
    if (kind not in KINDS or version != API_VERSION) and (kind, version) != ("ConfigMap", "v1"):
        raise BadConfiguration("UnknownKind", f"{where}: there is no {kind} of {version} here.", hint=_another_kind(kind))
    meta = document.get("metadata")
    if not isinstance(meta, dict) or meta.get("name") in (None, ""):
        raise BadConfiguration("NoName", f"{where}: a {kind} without metadata.name.")
    meta["namespace"] = namespace if meta.get("namespace") in (None, "") else meta["namespace"]
    if wrong := list(metadata.name_findings(meta)):
        raise BadConfiguration("Invalid", f"{where}: a {kind} whose name is refused:", findings=wrong)
    spec = document.get("spec")
    for field in URIS:
        if (
            kind in KINDS
            and isinstance(spec, dict)
            and isinstance(spec.get(field), dict)
            and isinstance(spec[field].get("uri"), str)
        ):
            spec[field]["uri"] = _absolute(spec[field]["uri"], folder)
    return document


def _absolute(text: str, folder: Path) -> str:
    """`file:./x`, `file://./x`, `./x`, `~/x` beside a manifest in /m → `file:///m/x`; other URIs as they are.

    All characters stay as they are written; only `~/` at the beginning is the home folder.

    Raises:
        BadConfiguration: a path that cannot be written as a URI, or followed.
    """
    if text.startswith("file:"):
        path = text.removeprefix("file:").removeprefix("//")
        path = path.removeprefix("localhost") if path.startswith("localhost/") else path
        if path.startswith("/"):
            return f"file://{path}"
    elif text.startswith((".", "/", "~/")) or not _SCHEME.match(text):
        path = text
    else:
        return text
    if not path:
        return text
    try:
        home = path == "~" or path.startswith("~/")
        return uri.of_path((Path.home() / path[2:] if home else folder / path).resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise BadConfiguration("InvalidStorageUri", f"{text!r} cannot be followed: {error}.") from error
