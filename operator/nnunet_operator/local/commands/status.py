"""`local status`: the chain as a tree, as `kubectl nnunet status` shows it."""

from __future__ import annotations

import argparse

from ...api.resources import KINDS
from ...inspection import status_words
from . import store_argument


def status(arguments: argparse.Namespace) -> int:
    """Print the chain."""
    store, namespace = store_argument.open_store(arguments), arguments.namespace
    return status_words.run(arguments, lambda: [m for kind in KINDS for m in store.all(kind, namespace)], namespace=namespace)
