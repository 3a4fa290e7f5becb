"""The trainer that is installed here: the one of this environment, or another program."""

from __future__ import annotations

import os
from importlib import metadata

from nnunet_trainer.contract.catalogue import ENTRY_POINTS

TRAINER = "NNUNET_TRAINER"
"""Names the program `nnunet-trainer` where it is installed in another environment than this one."""


def program() -> str | None:
    """Another program than the one beside this one."""
    return os.environ.get(TRAINER) or None


def knows_more() -> bool:
    """Whether it may know names that the catalogue does not: it is another one, or packages with plug-ins are installed."""
    return program() is not None or bool(metadata.entry_points(group=ENTRY_POINTS))
