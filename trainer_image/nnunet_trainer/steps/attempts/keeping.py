"""What the next attempt goes on with besides checkpoints: put into the store at the end, as far as there is time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ...artifacts import ObjectStore
from ...artifacts.parallel import for_each
from ...contract.faults import Fault


def keep(files: Mapping[Path, str], store: ObjectStore, seconds: float) -> str | None:
    """Put files into the store, several at once. What takes longer is left to threads that die with the process.

    Args:
        files: on disk, and the key of each.
        store: where to.
        seconds: how long it may take.

    Returns:
        How many are not in the store and why; None when all are.
    """
    wanted = {path: key for path, key in files.items() if path.is_file() and not path.name.startswith(".")}
    until, done, problems = time.monotonic() + seconds, set[Path](), list[str]()

    def put(path: Path) -> None:
        if time.monotonic() >= until:
            return
        try:
            store.put_file(path, wanted[path])
        except (Fault, OSError) as error:
            problems.append(error.message if isinstance(error, Fault) else str(error))
        else:
            done.add(path)

    thread = threading.Thread(target=for_each, args=(wanted, put), name="keeping", daemon=True)
    thread.start()
    thread.join(seconds)
    if len(done) >= len(wanted):
        return None
    why = problems[0] if problems else f"the {seconds:.0f} s that were left are over."
    return f"{len(wanted) - len(done)} of {len(wanted)} files that the next attempt could go on with are not in the store: {why}"
