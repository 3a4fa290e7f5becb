"""The store that a call names, and how it is read as a cluster is, for the words that both shells have."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, Temporary

from ...inspection import object_names
from ...inspection.reader import ObjectReader
from ..object_store.store import Store

Manifest = dict[str, Any]

DEFAULT_STORE = "nnunet-store"


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


def say_who_goes_on(arguments: argparse.Namespace, store: Store) -> None:
    """What to call where no other call works on the store."""
    try:
        with store.working():
            print(f"Nobody works on this store now. Go on:\n  nnunet-operator local run{again(arguments)}")
    except Temporary:
        return


def named(arguments: argparse.Namespace, store: Store) -> list[Manifest]:
    """The objects that a call names (`inspection.object_names`)."""
    return object_names.named(arguments.what, arguments.namespace, store)


class StoreReader(ObjectReader):
    """An `ObjectReader` over the local store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return self._store.get(kind, namespace, name)

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        return self._store.all(kind, namespace)

    def owned(self, owner: Manifest, kind: str) -> list[Manifest]:
        return self._store.owned(owner["metadata"]["uid"], kind)

    def events(self, about: Manifest) -> list[Manifest]:
        return [event for event in self._store.all("Event") if event["involvedObject"]["uid"] == about["metadata"]["uid"]]

    def workload(self, job: Manifest) -> Manifest | None:
        return None  # queues mean nothing on one machine

    def other(self, kind: str, namespace: str, name: str) -> Manifest | bool | None:
        # Secrets, claims and the node are the machine's own.
        return (self._store.get(kind, namespace, name) or False) if kind == "ConfigMap" else None
