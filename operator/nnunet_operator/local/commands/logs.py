"""`local logs`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import ExitCode

from ...inspection import object_names
from ..object_store.store import Store
from . import store_argument

Manifest = dict[str, Any]


def logs(arguments: argparse.Namespace) -> int:
    """What an object's work has written, oldest first."""
    store = store_argument.open_store(arguments)
    (manifest, *_) = store_argument.named(arguments, store)
    wanted = f"-f{arguments.fold}-" if arguments.fold else ""
    files = sorted(store.logs(manifest).glob("*.log"), key=lambda file: file.stat().st_mtime)
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
