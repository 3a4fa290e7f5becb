"""`nnunet-operator`: the operator on a cluster, the same on one machine, and the CRDs.

Only the command that is called is imported.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from importlib import metadata

from nnunet_trainer.contract.faults import ExitCode, Fault

COMMANDS = {
    "run": ("cluster.command", "Run the operator: inside a cluster, or against the one of your kubeconfig."),
    "local": ("local.command", "The same manifests on this machine alone: no cluster, no containers, no root."),
    "crds": ("crds_command", "Write the CustomResourceDefinitions."),
}

MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""What a full disk or a forbidden folder says: nobody's bug."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; a person's mistake ends in one message and the contract's exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="nnunet-operator", description="nnU-Net on Kubernetes, declaratively; or on one machine.")
    parser.add_argument("--version", action="version", version=f"nnunet-operator {metadata.version('nnunet-operator')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            loaded = importlib.import_module(f".{module}", __package__)
            loaded.add_arguments(command)
            command.set_defaults(run=loaded.run)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:
        # argparse exits with 2 for a wrong argument; the contract says 64.
        return int(ExitCode.BAD_USAGE) if end.code == 2 else int(end.code or 0)
    try:
        return int(arguments.run(arguments))
    except Fault as fault:
        print(f"{fault.reason}: {fault}", file=sys.stderr)
        return int(fault.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        print(f"{error.strerror}: {error.filename or 'no file named'}", file=sys.stderr)
        return int(ExitCode.IO_ERROR)


if __name__ == "__main__":
    sys.exit(main())
