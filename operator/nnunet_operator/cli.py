"""`nnunet-operator`: the operator on a cluster, the same on one machine, and the CRDs.

Only the command that is called is imported.
"""

from __future__ import annotations

import sys

from nnunet_trainer.contract import command_line

COMMANDS = {
    "run": ("cluster.command", "Run the operator: inside a cluster, or against the one of your kubeconfig."),
    "diagnose": ("cluster.diagnosis.command", "Say what is wrong with an installation on a cluster, and what to do."),
    "local": ("local.commands.command_line", "The same manifests on this machine alone: no cluster, no containers, no root."),
    "crds": ("crds_command", "Write the CustomResourceDefinitions."),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    description = "nnU-Net on Kubernetes, declaratively; or on one machine."
    return command_line.run("nnunet-operator", description, COMMANDS, __package__ or "nnunet_operator", argv)


if __name__ == "__main__":
    sys.exit(main())
