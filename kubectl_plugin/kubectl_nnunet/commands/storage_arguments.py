"""How a run's storage is reached from here, with the caller's own credentials."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..results import storage
from ..results.places import FoldPlace

if TYPE_CHECKING:
    from ..api_reader import ApiReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags, named as the aws command's."""
    group = parser.add_argument_group("the storage")
    group.add_argument("--endpoint-url", metavar="URL", help="of the S3 server, as reached from here (default: the cluster's)")
    group.add_argument("--profile", metavar="NAME", help="of ~/.aws/config (default: as for the aws command)")


def prepare(arguments: argparse.Namespace, cluster: ApiReader, places: Iterable[FoldPlace]) -> None:
    """Have boto3 use the profile that was named, and trust the CA that the cluster trusts for these places."""
    names = {str(place.access["caConfigMap"]) for place in places if place.access.get("caConfigMap")}
    storage.use(arguments.profile, [cluster.config_map(arguments.namespace, name) for name in sorted(names)])
