"""`nnunet-operator` with other constants: the first argument is JSON, dotted names and seconds."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import timedelta


def main() -> None:
    """Replace the constants, each in its own module, and start."""
    given = json.loads(sys.argv.pop(1))
    for name, seconds in given.items():
        module, _, constant = name.rpartition(".")
        found = importlib.import_module(module)
        before = getattr(found, constant)  # an error where it is not there any more
        setattr(found, constant, timedelta(seconds=seconds) if isinstance(before, timedelta) else type(before)(seconds))
    from nnunet_operator.cli import main as operator

    sys.exit(operator())


if __name__ == "__main__":
    main()
