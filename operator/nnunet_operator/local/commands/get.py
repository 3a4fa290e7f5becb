"""`local get`, `describe` and `logs`: the calls that only look."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.yaml_text import writer

from .. import kstatus
from ..kstatus import Standing
from ..machine.scheduler import Machine
from ..object_store.store import Store, log_folder
from . import object_names, printer_columns
from .describe import describe as described
from .describe import public
from .live_table import display

Manifest = dict[str, Any]


def get(arguments: argparse.Namespace) -> int:
    """Objects in the form that was asked for."""
    store = object_names.open_store(arguments)
    if arguments.watch:
        return _look_on(arguments, store)
    found = object_names.named(arguments, store)
    mixed = not arguments.what
    if not found and arguments.output not in ("yaml", "json"):
        print(f"No resources found in {arguments.namespace} namespace.", file=sys.stderr)
        return ExitCode.DONE
    shown = [public(manifest) for manifest in found]
    one = len(shown) == 1 and object_names.has_name(arguments.what)
    whole = shown[0] if one else {"apiVersion": "v1", "kind": "List", "items": shown}
    match arguments.output:
        case "yaml":
            print(writer.dumped(whole), end="")
        case "json":
            print(json.dumps(whole, indent=2, ensure_ascii=False))
        case "name":
            print(*(object_names.label(manifest) for manifest in found), sep="\n")
        case other:
            print(printer_columns.tables(found, wide=other == "wide", prefixed=mixed))
    return ExitCode.DONE


def _look_on(arguments: argparse.Namespace, store: Store) -> int:
    from ..session import Session

    session = Session(store, Machine(cores=1, memory=1))
    shown, seen = display(), -1
    try:
        session.listener.start()
        while True:
            snapshot = session.snapshot()
            session.listener.listen_to({pod["metadata"]["name"]: ip for pod in snapshot.pods if (ip := pod["status"].get("podIP"))})
            news = store.revision() + session.listener.news
            if news != seen:
                seen = news
                shown.show(snapshot)
            if all(kstatus.of(manifest) is not Standing.GOING for manifest in snapshot.objects):
                return ExitCode.DONE
            time.sleep(0.3)
    finally:
        session.listener.stop()
        shown.close()


def describe(arguments: argparse.Namespace) -> int:
    """Objects in full."""
    store = object_names.open_store(arguments)
    print(f"\n\n{'─' * 40}\n".join(described(manifest, store) for manifest in object_names.named(arguments, store)))
    return ExitCode.DONE


def logs(arguments: argparse.Namespace) -> int:
    """What an object's work has written, oldest first."""
    store = object_names.open_store(arguments)
    (manifest, *_) = object_names.named(arguments, store)
    wanted = f"-f{arguments.fold}-" if arguments.fold else ""
    files = sorted(log_folder(store, manifest).glob("*.log"), key=lambda file: file.stat().st_mtime)
    files = [file for file in files if wanted in file.name]
    if not files:
        print(f"{object_names.label(manifest)} has written nothing yet.", file=sys.stderr)
        return ExitCode.DONE
    for file in files:
        if len(files) > 1:
            print(f"==> {file.stem} <==")
        lines = file.read_text(errors="replace").splitlines(keepends=True)
        sys.stdout.writelines(lines[-arguments.tail :] if arguments.tail else lines)
    if arguments.follow:
        _follow(files[-1], manifest, store)
    return ExitCode.DONE


def _follow(file: Path, manifest: Manifest, store: Store) -> None:
    """Print what a log grows by, until no pod of the object runs any more."""
    with file.open(errors="replace") as stream:
        stream.seek(0, os.SEEK_END)
        while True:
            pods = store.owned(manifest["metadata"]["uid"], "Pod")
            alive = any(pod.get("status", {}).get("phase") == "Running" for pod in pods)
            if text := stream.read():
                print(text, end="", flush=True)
            elif not alive:
                return
            else:
                time.sleep(0.2)
