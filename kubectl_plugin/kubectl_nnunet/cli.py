"""`kubectl-nnunet`, which kubectl calls as `kubectl nnunet`. Only the command that is called is imported."""

from __future__ import annotations

import sys

from nnunet_trainer.contract import command_line

PROGRAM = "kubectl nnunet"
COMMANDS = {
    "status": ("commands.status", "Show datasets, plans and training as a tree, with how far each is."),
    "why": ("commands.why", "Say what an object waits for, down to its pod's events, and what to do."),
    "logs": ("commands.logs", "Print what an object's work writes, of its newest attempt."),
    "plot": ("commands.plot", "Draw a training's curves, here or as a PNG."),
    "fetch": ("commands.fetch", "Fetch a training's results from its storage, with your own credentials."),
    "rerun": ("commands.rerun", "Have what failed tried again."),
    "suspend": ("commands.suspend", "Stop training with a checkpoint."),
    "resume": ("commands.resume", "Let what was suspended go on."),
    "completion": ("commands.completion", "Print the script that completes these words in bash or zsh."),
}


CLUSTER_FLAGS = {"-n": 2, "--namespace": 2, "--context": 2, "--kubeconfig": 2, "-A": 1, "--all-namespaces": 1}
"""Those of `connection.add_arguments`, with how many words each is."""


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    description = "Datasets, plans and training of nnunet-operator on a cluster."
    words = command_first(sys.argv[1:] if argv is None else argv)
    return command_line.run(PROGRAM, description, COMMANDS, __package__ or "kubectl_nnunet", words)


def command_first(argv: list[str]) -> list[str]:
    """Put the command before flags that say which cluster: kubectl takes these before its verb, too."""
    at = 0
    while at < len(argv) and (flag := argv[at].partition("=")[0]) in CLUSTER_FLAGS:
        at += 1 if "=" in argv[at] else CLUSTER_FLAGS[flag]
    return [argv[at], *argv[:at], *argv[at + 1 :]] if at and argv[at : at + 1] and argv[at] in COMMANDS else argv


if __name__ == "__main__":
    sys.exit(main())
