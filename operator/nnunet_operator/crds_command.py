"""`nnunet-operator crds`: the CustomResourceDefinitions, as files or on standard output."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write them."""
    parser.add_argument("-o", "--output", metavar="DIR", help="write one file a kind into this folder (default: standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Write them; on standard output as one stream, for `kubectl apply --server-side -f -`."""
    from .api.schema import crds

    if arguments.output:
        for path in crds.write(arguments.output):
            print(path)
    else:
        print("---\n".join(crds.dump(manifest) for manifest in crds.generate().values()), end="")
    return 0
