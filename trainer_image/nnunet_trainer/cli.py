"""`nnunet-trainer`: every step of nnU-Net by hand, and `run` for a work order.

Each command lives in a module of its own with `add_arguments(parser)` and `run(arguments) -> int`; only the one that is called is
imported, so that `--help` is quick and no step imports what another needs.
"""

from __future__ import annotations

import os
import sys

from .contract import command_line

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""How threads of numerical libraries wait for each other, unless the environment says otherwise: some microseconds, then asleep.

By default they keep their cores busy for milliseconds. Where there are more threads than cores, or a container's quota is used up,
those that are waited for do not get on meanwhile: steps of a training on a CPU took five times the CPU seconds.
"""

COMMANDS = {
    "run": ("supervisor", "Carry out a work order (what a Job does)."),
    "verify": ("dataset.command", "Check a raw dataset, and name every fault at once."),
    "fingerprint": ("fingerprint.command", "Extract a dataset's fingerprint."),
    "plan": ("planning.command", "Plan configurations from a fingerprint."),
    "calibrate": ("training.calibration.command", "Measure what a planner's networks take of a GPU's memory."),
    "transfer": ("planning.transfer_command", "Make one dataset's plans fit another."),
    "preprocess": ("preprocessing.command", "Preprocess a dataset for one configuration."),
    "train": ("training.command", "Train one fold."),
    "trainers": ("training.trainers_command", "List the trainers, and the components that a recipe can name."),
    "components": ("training.components_command", "List what can be named: losses, planners, their steps, readers …"),
    "predict": ("inference.command", "Predict images with a trained model."),
    "evaluate": ("evaluation.command", "Compare predictions with the ground truth."),
    "report": ("report.command", "Summarize results folders."),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    if not WAITING.keys() & os.environ.keys():
        os.environ.update(WAITING)  # read when the libraries are loaded, here and in processes that this one starts
    description = "nnU-Net's steps, each by hand or from a work order."
    try:
        return command_line.run("nnunet-trainer", description, COMMANDS, __package__ or "nnunet_trainer", argv)
    except Exception as error:
        from .extensions.uncaught_errors import plugins_fault

        if (fault := plugins_fault(error)) is None:
            raise
        return command_line.tell(fault)


if __name__ == "__main__":
    sys.exit(main())
