"""How long a store that fails is waited for: the work of days is not thrown away for an outage of an hour."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ...artifacts import ObjectInfo, ObjectStore
from ...contract.faults import BadConfiguration, Fault, StorageFault
from ...training.loop.stopping import seconds_left

T = TypeVar("T")
log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
MENDED = ("StorageAccessDenied", "BucketNotFound", "StorageCredentialsMissing", "StorageCertificateRejected")
"""What people mend while it is waited for: keys that expired, a bucket that was deleted. Everything in the store worked before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Pauses between two attempts, and how long an outage is waited for, in seconds."""

    first: float = 5
    most: float = 60
    patience: float = 2 * 3600

    def pause(self, failures: int) -> float:
        """After so many failures in a row, from 1 on."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 30))


class PatientStore:
    """A store whose requests are made again for as long as it fails: without an answer, full, or closed to us until people mend it.

    Args:
        store: whose requests.
        stop: once it is set, what is left of the grace counts.
        backoff: how often, and how long.
        warn: hears what is waited for, and None when that is over; from several threads.
    """

    def __init__(self, store: ObjectStore, stop: threading.Event, backoff: Backoff, warn: Callable[[str | None], None]) -> None:
        self.store, self.root = store, store.root
        self._stop, self._backoff, self._warn = stop, backoff, warn
        self._lock = threading.Lock()
        self._since: float | None = None
        self._pausing = threading.Event()  # nobody sets it

    def uri(self, key: str = "") -> str:
        return self.store.uri(key)

    def stat(self, key: str) -> ObjectInfo | None:
        return self._ask(lambda: self.store.stat(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        yield from self._ask(lambda: [*self.store.list(prefix)])

    def get(self, key: str) -> bytes:
        return self._ask(lambda: self.store.get(key))

    def put(self, key: str, data: bytes) -> None:
        self._ask(lambda: self.store.put(key, data))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        attempts: list[bool] = []

        def put() -> bool:
            attempts.append(True)
            # An attempt whose answer was lost may have been the first one.
            return self.store.put_if_absent(key, data) or (len(attempts) > 1 and self.store.get(key) == data)

        return self._ask(put)

    def get_file(self, key: str, path: Path) -> None:
        self._ask(lambda: self.store.get_file(key, path))

    def put_file(self, path: Path, key: str) -> None:
        self._ask(lambda: self.store.put_file(path, key))

    def copy(self, key: str, target: str, size: int) -> bool:
        return self.store.copy(key, target, size)  # a refusal is not waited for: the file is put instead

    def delete(self, key: str) -> None:
        self._ask(lambda: self.store.delete(key))

    def discard_unfinished(self, prefix: str, part: str = "") -> int:
        return self.store.discard_unfinished(prefix, part)

    def local_path(self, key: str) -> Path | None:
        return self.store.local_path(key)

    def _ask(self, request: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                result = request()
            except (StorageFault, BadConfiguration) as fault:
                if isinstance(fault, BadConfiguration) and fault.reason not in MENDED:
                    raise
                failures += 1
                self._wait(fault, failures)
                continue
            with self._lock:
                over, self._since = self._since is not None, None
            if over:
                self._warn(None)
            return result

    def _wait(self, fault: Fault, failures: int) -> None:
        now = time.monotonic()
        with self._lock:
            begins, self._since = self._since is None, self._since or now
            waited = now - self._since
        if begins:
            log.warning("The results wait for the store: %s %s", fault.message, fault.hint)
            self._warn(f"The results wait for the store: {fault.message} {fault.hint}".rstrip())
        left, pause = seconds_left(self._stop), self._backoff.pause(failures)
        if waited >= self._backoff.patience or (left is not None and left <= 0):
            raise fault
        self._pausing.wait(pause if left is None else min(pause, left))


def within_grace(work: Callable[[], T], stop: threading.Event) -> T:
    """What `work` returns. It runs in a thread of its own, and is left to it when the grace that `stop` knows of is over.

    Raises:
        TimeoutError: it is.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="within-grace", daemon=True).start()
    while not done.done():
        left = seconds_left(stop)
        if left is not None and left <= 0:
            raise TimeoutError
        try:
            done.exception(LOOK_SECONDS if left is None else min(LOOK_SECONDS, left))
        except TimeoutError:
            continue
    return done.result()
