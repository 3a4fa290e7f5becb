"""Curves as a PNG, drawn as the trainer draws its progress.png."""

from __future__ import annotations

import os
from pathlib import Path

from nnunet_operator.inspection.training_curves import Curves, as_logging
from nnunet_trainer.contract.faults import BadUsage


def write(curves: Curves, file: Path) -> None:
    """Write the picture, at once or not at all.

    Raises:
        BadUsage: matplotlib is not installed, or there is no such folder.
    """
    from nnunet_trainer.report.progress_plot import progress_figure

    if not file.parent.is_dir():
        raise BadUsage("NoSuchFolder", f"There is no folder {file.parent}.")
    try:
        figure = progress_figure(as_logging(curves))
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise BadUsage("NoMatplotlib", "A PNG needs matplotlib.", hint="pip install matplotlib, or leave -o out.") from error
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    figure.savefig(beside, format="png", dpi=60)
    os.replace(beside, file)
