"""What the next attempt goes on with besides checkpoints: put into the store by the clock while validating, and at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ...artifacts import ObjectStore
from ...artifacts.parallel import for_each
from ...contract.faults import Fault


class Keeper:
    """Keeps files that come while a training validates. Those that did not change since are not put again.

    Args:
        store: where to.
        files: which there are now, and the key of each; a file has its name when it is whole.
        minutes: between two times.
    """

    def __init__(self, store: ObjectStore, files: Callable[[], Mapping[Path, str]], minutes: float) -> None:
        self.store, self._files, self._seconds = store, files, 60 * minutes
        self._kept: dict[Path, tuple[int, int]] = {}
        self._last = time.monotonic()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Put what has come, if it is time; in a thread."""
        if time.monotonic() - self._last < self._seconds or (self._thread is not None and self._thread.is_alive()):
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self.keep, args=(threading.TIMEOUT_MAX,), name="keeper", daemon=True)
        self._thread.start()

    def keep(self, seconds: float) -> str | None:
        """Put what has come, several files at once. What takes longer is left to threads that die with the process.

        Args:
            seconds: how long it may take.

        Returns:
            How many are not in the store and why; None when all are.
        """
        wanted = {path: key for path, key in self._files().items() if _state(path) not in (None, self._kept.get(path))}
        until, done, problems = time.monotonic() + seconds, set[Path](), list[str]()

        def put(path: Path) -> None:
            if time.monotonic() >= until:
                return
            state = _state(path)
            try:
                self.store.put_file(path, wanted[path])
            except (Fault, OSError) as error:
                problems.append(error.message if isinstance(error, Fault) else str(error))
            else:
                done.add(path)
                if state is not None:
                    self._kept[path] = state

        thread = threading.Thread(target=for_each, args=(wanted, put), name="keeping", daemon=True)
        thread.start()
        thread.join(seconds)
        if len(done) >= len(wanted):
            return None
        why = problems[0] if problems else f"the {seconds:.0f} s that were left are over."
        return (
            f"{len(wanted) - len(done)} of {len(wanted)} files that the next attempt could go on with are not in the store: {why}"
        )


def _state(path: Path) -> tuple[int, int] | None:
    """What tells whether a file changed; None when it is none, or hidden: it is being written."""
    if path.name.startswith("."):
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if path.is_file() else None
