"""The first process of a trainer's pod: `nnunet-trainer run ORDER`.

It reads the work order, starts the step's ranks as processes of their own, serves `/progress` and `/metrics`, forwards SIGTERM, and
whatever happens leaves a report as the pod's termination message and exits with the contract's code. It imports nothing heavy: a
step that is killed for want of memory, or crashes, does not take the report with it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from .contract import control_groups, pod, progress, report, work_order
from .contract.faults import BadUsage, ExitCode, Fault
from .contract.json_text import codec
from .contract.report import Report
from .contract.work_order import WorkOrder
from .process_exit import failures
from .supervision import logs, ranks
from .supervision.current_progress import CurrentProgress
from .supervision.server import serve

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `nnunet-trainer run`."""
    parser.add_argument("order", type=Path, help="the work order, a JSON file")


def run(arguments: argparse.Namespace) -> int:
    """Carry a work order out. Returns the contract's exit code."""
    logs.configure()
    try:
        end = _carry_out(arguments.order)
    except Fault as fault:
        end = Report(step="unknown", error=failures.as_error(fault))
    except Exception as error:
        log.exception("the supervisor failed")
        end = Report(step="unknown", error=failures.as_error(failures.as_fault(error)))
    _leave(end)
    return end.error.code if end.error else int(ExitCode.DONE)


def _carry_out(file: Path) -> Report:
    try:
        text = file.read_text()
    except OSError as error:
        raise BadUsage("InvalidWorkOrder", f"The work order {file} cannot be read: {error.strerror}.") from error
    order = work_order.decode(text)
    scratch = pod.scratch()
    scratch.mkdir(parents=True, exist_ok=True)
    kills = control_groups.oom_kills()

    with tempfile.TemporaryDirectory(prefix="reports-", dir=scratch) as folder:
        state = CurrentProgress(order.step, shared=Path(folder))

        def hear(line: str) -> None:
            heard = progress.decode(line)
            if heard is not None:
                state.hear(heard)

        with serve(state):
            ends = ranks.run(ranks.environments(order, os.environ), file.resolve(), Path(folder), hear)
        end = _conclude(order, ends, Path(folder), oom=control_groups.oom_kills() > kills)
    return end if end.error is None else replace(end, summary={**_how_far(state), **end.summary})


def _how_far(state: CurrentProgress) -> dict[str, object]:
    """What of a training that did not end well is not lost."""
    last = state.progress
    known = {"epoch": last.epoch, "checkpointEpoch": last.checkpoint_epoch, "checkpointUri": last.checkpoint_uri}
    return {name: value for name, value in known.items() if value is not None}


def _conclude(order: WorkOrder, ends: ranks.Ends, folder: Path, *, oom: bool) -> Report:
    """The pod's report: rank 0's when all ended well, else that of the rank that failed first."""
    left = {int(f.stem.removeprefix("report-")): f for f in folder.glob("report-*.json")}
    many = len(ends.ends) > 1
    failure = ends.first_failure
    if failure is None:
        return codec.loads(Report, left[0].read_text()) if 0 in left else Report(step=order.step)
    # A rank that meets an error says so before the others lose it: the oldest report with an error is the cause. When all of them
    # heard of SIGTERM, the first rank knows what became of the checkpoint.
    told = sorted((f.stat().st_mtime_ns, i, codec.loads(Report, f.read_text())) for i, f in left.items())
    own = [(i, r.error) for _, i, r in told if r.error is not None and r.error.code != ExitCode.STOPPED]
    stopped = sorted((i, r.error) for _, i, r in told if r.error is not None and r.error.code == ExitCode.STOPPED)
    causes = own if failure.status > 0 or ends.stopping else []
    if ends.was_stopped(failure):
        causes = own or stopped
    if causes:
        index, cause = causes[0]
        if many:
            first = min(end.rank for end in ends.ends)
            cause = replace(cause, message=f"rank {first + index}: {cause.message}")
        return replace(codec.loads(Report, left[index].read_text()), error=cause)
    who = f"rank {failure.rank} of {len(ends.ends)}" if many else f"the step's process ({order.step})"
    return Report(step=order.step, error=failures.of_status(failure.status, who, stopping=ends.stopping, oom=oom))


def _leave(end: Report) -> None:
    """Write the report where the kubelet (or the local shell) reads it."""
    text = report.encode(end)
    try:
        pod.termination_log().write_text(text)
    except OSError as error:
        log.warning("the report could not be left at %s: %s", pod.termination_log(), error.strerror)
    if end.error is None:
        print(text, flush=True)
        return
    said = f"{end.error.reason}: {end.error.message} {end.error.hint}".rstrip()
    if os.environ.get(logs.ENV_POD):
        log.error("%s", said)
    else:
        print(said, file=sys.stderr, flush=True)
