"""`nnunet-operator` with other constants: the first argument is JSON, dotted names and seconds."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta


def run(seconds: Mapping[str, float], arguments: Sequence[str]) -> int:
    """Replace the constants, each in its own module, and start; the exit status."""
    for name, value in seconds.items():
        module, _, constant = name.rpartition(".")
        found = importlib.import_module(module)
        before = getattr(found, constant)  # an error where it is not there any more
        setattr(found, constant, timedelta(seconds=value) if isinstance(before, timedelta) else type(before)(value))
    from nnunet_operator.cli import main

    return main([*arguments])


if __name__ == "__main__":
    sys.exit(run(json.loads(sys.argv[1]), sys.argv[2:]))
