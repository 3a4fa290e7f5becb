"""`nnunet-trainer`: every step of nnU-Net by hand, and `run` for a work order.

Each command lives in a module of its own with `add_arguments(parser)` and `run(arguments) -> int`; only the one that is called is
imported, so that `--help` is quick and no step imports what another needs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from importlib import metadata

from .contract.faults import ExitCode, Fault

COMMANDS = {
    "run": ("supervisor", "Carry out a work order (what a Job does)."),
    "verify": ("dataset.command", "Check a raw dataset, and name every fault at once."),
    "fingerprint": ("fingerprint.command", "Extract a dataset's fingerprint."),
    "plan": ("planning.command", "Plan configurations from a fingerprint."),
    "transfer": ("planning.transfer_command", "Make one dataset's plans fit another."),
    "preprocess": ("preprocessing.command", "Preprocess a dataset for one configuration."),
    "train": ("training.command", "Train one fold."),
    "trainers": ("training.trainers_command", "List the trainers, and the components that a recipe can name."),
    "predict": ("inference.command", "Predict images with a trained model."),
    "evaluate": ("evaluation.command", "Compare predictions with the ground truth."),
    "report": ("report.command", "Summarize results folders."),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; a user's mistake ends in one message and the contract's exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="nnunet-trainer", description="nnU-Net's steps, each by hand or from a work order.")
    parser.add_argument("--version", action="version", version=f"nnunet-trainer {metadata.version('nnunet-operator')}")
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


if __name__ == "__main__":
    sys.exit(main())
