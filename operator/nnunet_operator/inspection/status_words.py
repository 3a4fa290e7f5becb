"""What the word `status` takes and prints, for whichever shell reads the objects."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nnunet_trainer.contract.faults import BadUsage, ExitCode, unknown_name

from ..api import kstatus
from ..api.kstatus import Status
from ..api.resources import KINDS, kind_of
from ..controller.object_client import key_of
from ..reconcile.view import Key, Manifest
from . import chain, status_tree
from .terminal import Terminal

WATCH_SECONDS = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `status`."""
    parser.add_argument("what", nargs="*", metavar="NAME", help="NAME or KIND/NAME: only its chain (default: all)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("-w", "--watch", action="store_true", help="look on until all is done")


def run(arguments: argparse.Namespace, read: Callable[[], list[Manifest]], *, namespace: str | None) -> int:
    """Print the trees.

    Args:
        arguments: as `add_arguments` has them.
        read: all objects of the four kinds, of the namespace.
        namespace: None: of all namespaces.

    Raises:
        BadUsage: no object bears a name that was given.
    """
    terminal = Terminal.of(sys.stdout)
    while True:
        manifests = read()
        if not manifests and arguments.output == "text":
            where = f"in namespace {namespace}" if namespace else "in any namespace"
            print(f"No datasets, plans or training {where}.", file=sys.stderr)
            return ExitCode.DONE
        roots = chain.trees(manifests)
        if arguments.what:
            roots = chain.around(roots, _wanted(arguments.what, manifests))
        if arguments.output == "json":
            print(json.dumps(status_tree.data(roots), indent=2, ensure_ascii=False))
        else:
            clear = "\033[H\033[J" if arguments.watch and terminal.colour else ""
            print(clear + status_tree.text(roots, terminal, datetime.now(UTC), namespaces=namespace is None), flush=True)
        shown = [m for root in roots for node in root.walk() for m in (node.manifest, node.made) if m is not None]
        if not arguments.watch or all(kstatus.compute(manifest) is not Status.IN_PROGRESS for manifest in shown):
            return ExitCode.DONE
        time.sleep(WATCH_SECONDS)


def _wanted(words: Sequence[str], manifests: Sequence[Manifest]) -> set[Key]:
    """The objects that words name, of whatever kind and namespace."""
    found: set[Key] = set()
    for word in words:
        kind, slash, name = word.rpartition("/")
        wanted = (kind_of(kind),) if slash else tuple(KINDS)
        named = {key_of(m) for m in manifests if m["kind"] in wanted and m["metadata"]["name"] == name}
        if not named:
            known = {m["metadata"]["name"] for m in manifests if m["kind"] in wanted}
            raise BadUsage("NotFound", unknown_name(wanted[0] if slash else "object", name, known))
        found |= named
    return found
