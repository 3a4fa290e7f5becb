"""Asks running pods how far they are, in a thread of its own."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from nnunet_trainer.contract import progress
from nnunet_trainer.contract.pod import PROGRESS_PORT

from ...reconcile.view import Heard, Manifest

PATH = "/progress"


def ask(ip: str, port: int = PROGRESS_PORT, timeout: float = 2.0) -> progress.Progress | None:
    """One answer of one pod, or None when it does not answer, or not with progress."""
    connection = http.client.HTTPConnection(ip, port, timeout=timeout)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        return progress.decode(answer.read(progress.MAX_BYTES + 1)) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class ProgressThread:
    """Asks each running pod every `interval` seconds, and keeps the last answer of each by the pod's uid."""

    def __init__(self, interval: float = 2.0) -> None:
        self.interval = interval
        self.heard: dict[str, Heard] = {}
        self.news = 0  # grows with each answer that differs from the one before
        self._addresses: dict[str, str] = {}  # by uid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def ask_from_now_on(self, pods: Iterable[Manifest]) -> None:
        """Ask these pods, as far as they have addresses, and no others."""
        self._addresses = {pod["metadata"]["uid"]: ip for pod in pods if (ip := pod["status"].get("podIP"))}
        self.heard = {uid: heard for uid, heard in self.heard.items() if uid in self._addresses}

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            for uid, ip in list(self._addresses.items()):
                answer = ask(ip)
                if answer is None or self._stop.is_set():
                    continue
                before = self.heard.get(uid)
                self.heard = {**self.heard, uid: Heard(progress=answer, at=datetime.now(UTC))}
                if before is None or before.progress != answer:
                    self.news += 1
