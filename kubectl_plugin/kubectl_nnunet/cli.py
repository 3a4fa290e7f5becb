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


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    description = "Datasets, plans and training of nnunet-operator on a cluster."
    return command_line.run(PROGRAM, description, COMMANDS, __package__ or "kubectl_nnunet", argv)


if __name__ == "__main__":
    sys.exit(main())
