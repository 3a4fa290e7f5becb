"""The supervisor's parts, without processes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
from nnunet_trainer.contract import progress
from nnunet_trainer.contract.faults import BadData, ExitCode
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.process_exit import failures
from nnunet_trainer.supervision.current_progress import CurrentProgress
from nnunet_trainer.supervision.worker import ProgressSender


def test_a_diverged_loss_does_not_silence_the_rest() -> None:
    read, write = os.pipe()
    ProgressSender(write)(Progress(step="train", epoch=3, train_loss=float("nan"), val_loss=float("inf"), learning_rate=0.01))
    os.close(write)
    with os.fdopen(read) as lines:
        heard = progress.decode(lines.read())
    assert heard is not None
    assert (heard.epoch, heard.train_loss, heard.val_loss, heard.learning_rate) == (3, None, None, 0.01)


def test_nobody_hears_and_the_step_goes_on() -> None:
    read, write = os.pipe()
    os.close(read)
    listener = ProgressSender(write)
    listener(Progress(step="train"))
    listener(Progress(step="train"))
    os.close(write)


def test_long_lines_of_several_threads_come_whole() -> None:
    """More than the kernel keeps together in a pipe."""
    read, write = os.pipe()
    sender, threads = ProgressSender(write), 4
    warnings = {str(epoch): [f"{epoch}"] * 3000 for epoch in range(threads)}

    def send(epoch: int) -> None:
        for _ in range(20):
            sender(Progress(step="train", epoch=epoch, warnings=warnings[str(epoch)]))

    with ThreadPoolExecutor(threads + 1) as pool, os.fdopen(read) as lines:
        told = pool.submit(lambda: [json.loads(line) for line in lines])
        for sent in [pool.submit(send, epoch) for epoch in range(threads)]:
            sent.result()
        os.close(write)
        found = told.result()
    assert len(found) == 20 * threads
    assert all(each["warnings"] == warnings[str(each["epoch"])] for each in found)


def test_one_line_for_each_epoch_and_phase() -> None:
    log = io.StringIO()
    state = CurrentProgress("train", log)
    for phase, epoch, done in [
        ("staging", None, 1),
        ("staging", None, 2),
        ("training", 0, 0),
        ("training", 0, 5),
        ("validating patches", 0, 5),
        ("training", 1, 0),
    ]:
        state.hear(Progress(step="train", phase=phase, epoch=epoch, done=done))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["phase"], line.get("epoch")) for line in lines] == [("staging", None), ("training", 0), ("training", 1)]


def test_warnings_are_told_when_they_begin_and_when_they_are_over() -> None:
    log = io.StringIO()
    state = CurrentProgress("train", log)
    told = [(0, None), (1, ["slow"]), (1, ["slow"]), (2, ["slow"]), (2, ["slow", "stuck"]), (3, ["stuck"]), (4, None)]
    for epoch, warnings in told:
        state.hear(Progress(step="train", phase="training", epoch=epoch, warnings=warnings))
        assert state.progress.warnings == warnings
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["epoch"], line.get("warnings"), line.get("warningsOver")) for line in lines] == [
        (0, None, None),
        (1, ["slow"], None),
        (2, None, None),
        (2, ["stuck"], None),
        (3, None, ["slow"]),
        (4, None, ["stuck"]),
    ]


def test_metrics_are_prometheus_text() -> None:
    state = CurrentProgress("train", io.StringIO())
    state.hear(Progress(step="train", epoch=2, train_loss=0.25, warnings=["a", "b"]))
    text = state.as_metrics()
    assert '\nnnunet_warnings{step="train"} 2\n' in text
    assert '\nnnunet_train_loss{step="train"} 0.25\n' in text
    assert "val_loss" not in text
    for line in text.splitlines():
        assert line.startswith(("# HELP nnunet_", "# TYPE nnunet_", "nnunet_"))


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (BadData("InvalidCases", "x"), "InvalidCases", ExitCode.BAD_DATA),
        (MemoryError(), "OutOfMemory", ExitCode.TRY_AGAIN),
        (OSError(errno.ENOSPC, "full", "/scratch/x"), "ScratchFull", ExitCode.IO_ERROR),
        (KeyError("x"), "InternalError", ExitCode.TRY_AGAIN),
        (BrokenProcessPool("a worker died"), "InternalError", ExitCode.TRY_AGAIN),
        (RuntimeError("two\nlines"), "InternalError", ExitCode.TRY_AGAIN),
    ],
)
def test_every_exception_has_a_reason(error: Exception, reason: str, code: ExitCode) -> None:
    fault = failures.as_fault(error)
    assert (fault.reason, fault.exit_code) == (reason, code)
    assert "\n" not in fault.message


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "NCCL error in: ProcessGroupNCCL.cpp:3384, unhandled cuda error. Last error: Cuda failure 2 'out of memory'",
        "backend='inductor' raised: OutOfMemoryError: CUDA out of memory.",
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_gpu_memory_is_told_in_all_its_forms(text: str, wrapped: bool) -> None:
    error: Exception = RuntimeError(text)
    if wrapped:
        outer = RuntimeError("a compiled graph failed")
        outer.__cause__ = error
        error = outer
    fault = failures.as_fault(error)
    assert (fault.reason, fault.exit_code) == ("OutOfGPUMemory", ExitCode.GPU_OUT_OF_MEMORY)
    assert "spec.planner.gpuMemoryGB" in fault.hint


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDNN_STATUS_EXECUTION_FAILED",
        "DataLoader worker ran out of memory",
    ],
)
def test_other_errors_are_not_taken_for_it(text: str) -> None:
    assert failures.as_fault(RuntimeError(text)).reason == "InternalError"


@pytest.mark.parametrize(
    ("status", "stopping", "oom", "reason", "code"),
    [
        (0, False, False, None, 0),
        (-signal.SIGTERM, True, False, "Stopped", 143),
        (-signal.SIGTERM, False, False, "Killed", 75),
        (-signal.SIGKILL, False, True, "OOMKilled", 137),
        (-signal.SIGKILL, False, False, "Killed", 75),
        (-signal.SIGSEGV, False, False, "Killed", 75),
        (1, False, False, "Crashed", 1),
    ],
)
def test_a_process_without_a_report(status: int, stopping: bool, oom: bool, reason: str | None, code: int) -> None:
    error = failures.of_status(status, "rank 1 of 2", stopping=stopping, oom=oom)
    if reason is None:
        assert error is None
        return
    assert error is not None
    assert (error.reason, error.code) == (reason, code)
    assert error.message.startswith("rank 1 of 2")


def test_the_supervisor_and_the_data_steps_import_no_torch() -> None:
    code = (
        "import sys, nnunet_trainer.supervisor;"
        "assert not {'numpy', 'boto3', 'torch'} & set(sys.modules), 'supervisor';"
        "from nnunet_trainer.steps import dataset, plan, transfer, preprocess;"
        "assert not {'boto3', 'torch'} & set(sys.modules), 'steps'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("limit", "said"), [(40 * 2**20, "limit of 40 MiB"), (2**30, "limit of 1.0 GiB"), (3 * 2**29, "limit of 1.5 GiB")]
)
def test_the_memory_limit_is_told_in_a_fitting_unit(monkeypatch: pytest.MonkeyPatch, limit: int, said: str) -> None:
    monkeypatch.setattr(failures, "memory_limit", lambda: limit)
    assert said in failures.out_of_memory()
