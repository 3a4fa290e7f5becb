"""What the words of a call name (a store, kinds, objects), and how objects are named to people."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, unknown_name

from ...api.resources import GROUP, KINDS, kind_of
from ..object_store.store import Store

Manifest = dict[str, Any]

DEFAULT_STORE = "nnunet-store"
HIDDEN = ("managedFields",)


def open_store(arguments: argparse.Namespace, *, make: bool = False) -> Store:
    """The store that a call names.

    Raises:
        BadUsage: there is none, and it is not to be made.
    """
    root = Path(arguments.store or os.environ.get("NNUNET_STORE") or DEFAULT_STORE).expanduser()
    if not make and not (root / "store.json").exists():
        raise BadUsage(
            "NoStore", f"There is no store in {root.absolute()}.", hint="Name it by --store, or make one by `local apply -f`."
        )
    return Store(root)


def again(arguments: argparse.Namespace) -> str:
    """The arguments that name this store in another call."""
    return f" --store {shlex.quote(arguments.store)}" if arguments.store else ""


def has_name(what: list[str]) -> bool:
    """Whether the words name objects, and not a kind alone."""
    return len(what) > 1 or "/" in "".join(what)


def named(arguments: argparse.Namespace, store: Store) -> list[Manifest]:
    """The objects that the words name: nothing (all), KIND, KIND NAME …, KIND/NAME …

    Raises:
        BadUsage: there is no such kind or object.
    """
    words, namespace = list(arguments.what), arguments.namespace
    if not words or words == ["all"] or words == ["nnunet"]:
        return [manifest for kind in KINDS for manifest in store.all(kind, namespace)]
    pairs = [tuple(word.split("/", 1)) for word in words if "/" in word]
    if not pairs and len(words) == 1:
        if words[0].lower() not in _kind_words() and (found := _by_name(words[0], namespace, store)):
            return found
        return store.all(kind_of(words[0]), namespace)
    if not pairs:
        pairs = [(words[0], name) for name in words[1:]]
    found = []
    for kind_word, name in pairs:
        kind = kind_of(kind_word)
        manifest = store.get(kind, namespace, name)
        if manifest is None:
            known = [item["metadata"]["name"] for item in store.all(kind, namespace)]
            raise BadUsage("NotFound", unknown_name(kind, name, known))
        found.append(manifest)
    return found


def _by_name(name: str, namespace: str, store: Store) -> list[Manifest]:
    return [manifest for kind in KINDS if (manifest := store.get(kind, namespace, name))]


def _kind_words() -> set[str]:
    return {word for kind, model in KINDS.items() for word in (kind.lower(), model.plural, model.short_name)}


def label(manifest: Manifest) -> str:
    """An object as kubectl names it."""
    kind = manifest["kind"].lower()
    return (
        f"{kind}.{GROUP}/{manifest['metadata']['name']}" if manifest["kind"] in KINDS else f"{kind}/{manifest['metadata']['name']}"
    )


def public(manifest: Manifest) -> Manifest:
    """An object as it is shown: without the store's own notes."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in HIDDEN}
    return {**manifest, "metadata": metadata}
