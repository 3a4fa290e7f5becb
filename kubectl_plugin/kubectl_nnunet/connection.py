"""The cluster that a call means: kubeconfig, context, namespace."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api_reader import ApiReader

USER_AGENT = "kubectl-nnunet"


def add_arguments(parser: argparse.ArgumentParser, *, all_namespaces: bool = False) -> None:
    """The flags of every command that asks a cluster, named as kubectl's."""
    group = parser.add_argument_group("which cluster")
    group.add_argument("-n", "--namespace", metavar="NS", help="default: that of the kubeconfig's context, else default")
    if all_namespaces:
        group.add_argument("-A", "--all-namespaces", action="store_true", help="in all of them")
    group.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current context)")
    group.add_argument("--kubeconfig", metavar="FILE", type=Path, help="default: $KUBECONFIG or ~/.kube/config")


@contextmanager
def opened(arguments: argparse.Namespace, patience: float | None = None) -> Iterator[ApiReader]:
    """The connection of one call. Fills in `arguments.namespace` from the kubeconfig's context where it is not said.

    Args:
        arguments: as `add_arguments` has them.
        patience: as `ApiReader` has it.

    Raises:
        BadUsage: there is no usable kubeconfig, or it has no such context.
    """
    from nnunet_operator.cluster.api.kubeconfig import connect  # slow to import: not for --help, nor to complete a flag

    from .api_reader import ApiReader

    logging.getLogger("kubernetes.aio.config").setLevel(logging.ERROR)  # what it warns of, a fault says
    loop = asyncio.new_event_loop()
    try:
        api = loop.run_until_complete(connect(arguments.kubeconfig, arguments.context, user_agent=USER_AGENT))
        arguments.namespace = arguments.namespace or api.context_namespace or "default"
        try:
            yield ApiReader(api, loop, patience)
        finally:
            loop.run_until_complete(api.close())
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
