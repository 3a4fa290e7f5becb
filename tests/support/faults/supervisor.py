"""A Deployment of one replica: an operator that ends is started again."""

from __future__ import annotations

import signal
import threading
from types import TracebackType

from nnunet_trainer.contract.faults import ExitCode

from ..operator import OperatorProcess

EXPECTED = {0, int(ExitCode.TRY_AGAIN), int(ExitCode.IO_ERROR), -signal.SIGKILL}
"""Exit statuses that a fault may cause; any other is a defect."""


class Supervisor:
    """Keeps an operator running until it leaves the context.

    Args:
        operator: not started yet.
    """

    def __init__(self, operator: OperatorProcess) -> None:
        self.operator = operator
        self.ended: list[int] = []
        """Exit statuses, in order."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def kill(self) -> None:
        """SIGKILL; the next one is started at once."""
        self.operator.process.kill()

    def __enter__(self) -> Supervisor:
        self.operator.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)
        self.operator.kill()
        if kind is None and not set(self.ended) <= EXPECTED:
            raise RuntimeError(f"The operator ended with {self.ended}:\n{self.operator.log[-5000:]}")

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            if (status := self.operator.process.poll()) is not None:
                self.ended.append(status)
                self.operator.start(ready=False)
