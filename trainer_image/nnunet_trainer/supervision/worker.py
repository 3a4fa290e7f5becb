"""The process that carries a step out: one a rank. It hands its progress to the supervisor by a pipe, its report by a file."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import logging
import math
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..artifacts.location import child
from ..artifacts.writer import as_json
from ..contract import control_groups, keys, pod, work_order
from ..contract.faults import Fault
from ..contract.json_text import codec
from ..contract.progress import Progress
from ..contract.report import Report
from ..contract.work_order import WorkOrder
from ..process_exit import abort, failures
from . import logs

ENV_PROGRESS = "NNUNET_PROGRESS_FD"
ENV_SUPERVISOR = "NNUNET_SUPERVISOR_PID"
log = logging.getLogger(__name__)


class ProgressSender:
    """Sends the supervisor how far a step is. Only rank 0 does, from several threads (those that train, and that upload)."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        if self._descriptor is None:
            return
        line = codec.dumps(_finite(replace(progress, updated_at=progress.updated_at or round(time.time(), 3)))) + "\n"
        left = line.encode()
        with self._lock:  # the kernel keeps together no more than PIPE_BUF (4,096) bytes, and a signal may cut what is longer
            try:
                while left and self._descriptor is not None:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:  # nobody hears any more; the step goes on
                self._descriptor = None


def _finite(progress: Progress) -> Progress:
    # JSON has no NaN: a loss that diverged is left out, so that the rest is heard.
    values = {name: getattr(progress, name) for name in Progress.__slots__}
    return replace(progress, **{n: None for n, v in values.items() if isinstance(v, float) and not math.isfinite(v)})


def main(order_file: str, report_file: str) -> int:
    """Carry the order out, leave the report, return the contract's exit code."""
    _die_with_the_supervisor()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears Ctrl-C too, and says SIGTERM
    logs.configure()
    descriptor = int(os.environ[ENV_PROGRESS]) if ENV_PROGRESS in os.environ else None
    order: WorkOrder | None = None
    kills = control_groups.oom_kills()
    abort.report_with(lambda fault: _leave_report(_failed(order, fault), report_file))
    try:
        order = work_order.decode(Path(order_file).read_text())
        report = _step(order.step).carry_out(order, ProgressSender(descriptor))
        code = 0
    except BaseException as error:
        from ..extensions.uncaught_errors import plugins_fault

        fault = plugins_fault(error) or failures.as_fault(error, kills)
        if fault is not error:
            log.error("%s", fault.reason, exc_info=error)
        report, code = _failed(order, fault), int(fault.exit_code)
    while not abort.begin_report():  # another thread does, and ends this process
        time.sleep(1)
    _leave_report(report, report_file)
    return code


def _step(name: str) -> Any:
    """The module of a step."""
    gc.disable()  # what modules make stays: looking for what could be freed among it takes a tenth of the import of torch
    try:
        return importlib.import_module(f"nnunet_trainer.steps.{name}")
    finally:
        gc.freeze()
        gc.enable()


def _leave_report(report: Report, file: str) -> None:
    beside = Path(file + ".partial")
    beside.write_text(codec.dumps(report))
    os.replace(beside, file)


def _failed(order: WorkOrder | None, fault: Fault) -> Report:
    report = Report(step=order.step if order else "unknown", error=failures.as_error(fault))
    if (
        order is None
        or isinstance(order, work_order.DeleteResultsOrder)
        or not fault.findings
        or os.environ.get("RANK", "0") != "0"
    ):
        return report
    # The whole list of findings is too long for a status: it goes beside the artifacts.
    from ..artifacts import open_store

    name = order.name if isinstance(order, work_order.DatasetOrder) else order.dataset_name
    key = f"reports/{name}/{keys.short(keys.digest(codec.dumps(order)))}"
    whole = {**codec.to_plain(report), "message": fault.message, "findings": list(fault.findings)}
    location = child(order.storage, f"{key}/report.json")
    try:
        open_store(order.storage).put(f"{key}/report.json", as_json(whole))
    except Fault as other:
        log.warning("the whole report could not be kept: %s", other)
        return report
    return replace(report, detail=location.uri)


def _die_with_the_supervisor() -> None:
    # A step whose supervisor was killed must not go on: its next attempt may run already.
    prctl_set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(prctl_set_parent_death_signal, signal.SIGKILL)
    if os.environ.get(ENV_SUPERVISOR, str(os.getppid())) != str(os.getppid()):  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    code = 1  # an error of this file's own
    # Registered first, so called last: what others do at the end is done, but torch is not taken apart, which takes a second.
    atexit.register(lambda: abort.leave(code))
    # The scratch folder is the working directory: what a library drops there goes with the pod.
    pod.scratch().mkdir(parents=True, exist_ok=True)
    code = main(sys.argv[1], sys.argv[2])
    if code:
        # The report is written. Leaving in order could wait for ranks that wait for this one, in a collective, or for uploads to a
        # store that does not answer.
        abort.leave(code)
