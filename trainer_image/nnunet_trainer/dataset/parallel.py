"""Worker processes that start fast, stay within the container's limits and import no torch."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from nnunet_trainer.contract.control_groups import cpu_limit as cpu_limit
from nnunet_trainer.contract.control_groups import memory_limit as memory_limit
from nnunet_trainer.contract.faults import Temporary
from nnunet_trainer.extensions import load_again, loaded_places

T = TypeVar("T")
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def single_threaded() -> None:
    """One thread in this process's libraries: cases are worked on side by side. To be called before numpy is imported."""
    for name in THREADS:
        os.environ.setdefault(name, "1")


def num_workers(asked: int | None, jobs: int) -> int:
    """How many workers to start: as many as asked (or the limit's cores), no more than there are jobs."""
    return max(1, min(asked if asked else cpu_limit(), jobs))


def run(
    function: Callable[..., T],
    jobs: Iterable[tuple[Any, ...]],
    workers: int,
    weights: list[int] | None = None,
    preload: Sequence[str] = (),
) -> Iterator[tuple[int, T]]:
    """Call `function(*job)` for each job in processes of their own (in this one when there is one worker), in any order.

    Args:
        function: of a module, importable by the workers.
        jobs: argument tuples.
        workers: processes.
        weights: bytes that each job is expected to take. Jobs run at once only while their sum stays within three
            quarters of the limit, so that a large case is worked on alone instead of being killed.
        preload: modules that every worker will need; imported once for all of them.

    Yields:
        (index of the job, result), as they finish. The first exception of a job is raised, after the running ones have ended.

    Raises:
        Temporary: a worker was killed, most likely for want of memory.
    """
    listed = list(jobs)
    if workers <= 1 or len(listed) <= 1:
        for index, job in enumerate(listed):
            yield index, function(*job)
        return
    costs = weights or [0] * len(listed)
    room = memory_limit() * 3 // 4
    queue = sorted(range(len(listed)), key=lambda i: -costs[i])
    kept = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # inherited: one thread a worker
    try:
        # Not more processes than can be busy: an idle one keeps some of the memory of its last job.
        workers = min(workers, _fitting(costs, room))
        context = _context([function.__module__, *preload])
        with ProcessPoolExecutor(workers, mp_context=context, initializer=load_again, initargs=(loaded_places(),)) as pool:
            running: dict[Future[T], int] = {}
            try:
                while queue or running:
                    used = sum(costs[i] for i in running.values())
                    while queue and len(running) < workers:
                        fitting = next((i for i in queue if not running or used + costs[i] <= room), None)
                        if fitting is None:
                            break
                        queue.remove(fitting)
                        used += costs[fitting]
                        running[pool.submit(function, *listed[fitting])] = fitting
                    done, _ = wait(running, return_when="FIRST_COMPLETED")
                    for future in done:
                        yield running.pop(future), future.result()
            except BrokenProcessPool as error:
                raise Temporary(
                    "WorkerKilled",
                    "A worker process was killed, most likely because the memory limit was reached.",
                    hint="Give the step more memory, or fewer workers. What was finished is kept.",
                ) from error
            finally:
                for future in running:
                    future.cancel()
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _fitting(costs: Sequence[int], room: int) -> int:
    """How many of these jobs can run at once: the cheapest ones that fit together, at least one."""
    sums = itertools.accumulate(sorted(costs))
    return max(1, sum(total <= room for total in sums))


def _context(modules: list[str]) -> Any:
    """A fork where this process has one thread: nothing is imported again. Else a fork server, which copies no threads' locks."""
    if _threads() == 1:
        for module in modules:
            importlib.import_module(module)
        if _threads() == 1:
            return get_context("fork")
    context = get_context("forkserver")
    context.set_forkserver_preload(modules)
    return context


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 2  # unknown
