"""`kubectl nnunet status`."""

from __future__ import annotations

import argparse

from nnunet_operator.api.resources import KINDS
from nnunet_operator.inspection import status_words

from .. import connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    status_words.add_arguments(parser)
    connection.add_arguments(parser, all_namespaces=True)


def run(arguments: argparse.Namespace) -> int:
    """Print the chain."""
    with connection.opened(arguments) as cluster:
        namespace = None if arguments.all_namespaces else arguments.namespace
        return status_words.run(arguments, lambda: [m for kind in KINDS for m in cluster.all(kind, namespace)], namespace=namespace)
