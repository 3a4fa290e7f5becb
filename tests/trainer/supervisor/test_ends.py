"""However a step ends, its pod leaves a report and the contract's exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.report import Error

from .conftest import PATIENCE, Pod


def error(trainer_pod: Pod, does: str, code: int, **environment: str) -> Error:
    found, report = trainer_pod.run(does, **environment)
    assert report.error is not None
    assert found == report.error.code == code, trainer_pod.err
    assert report.artifacts == []
    return report.error


def test_well(trainer_pod: Pod) -> None:
    code, report = trainer_pod.run("ends well")
    assert code == 0
    assert report.error is None
    assert [(a.kind, a.uri) for a in report.artifacts] == [("run", "file:///x")]
    assert report.summary["WORLD_SIZE"] is None  # one process needs no rendezvous
    assert "epoch" in trainer_pod.lines()[0]


def test_well_with_things_to_do_at_its_end(trainer_pod: Pod) -> None:
    code, _ = trainer_pod.run("has things to do at its end")
    assert code == 0, trainer_pod.err
    done = {path.name for path in (trainer_pod.folder / "scratch").iterdir()}
    assert {"at exit", "thread", "pool"} <= done


def test_with_findings_too_long_for_a_status(trainer_pod: Pod) -> None:
    code, report = trainer_pod.run("finds faults")
    assert code == ExitCode.BAD_DATA
    assert report.error is not None
    assert report.error.reason == "InvalidCases"
    assert report.error.message.startswith("300 of 400 cases: case_0: its label holds 7; case_1")
    assert report.error.message.endswith("and 295 more.")
    assert report.error.hint == "Repair them."
    assert report.detail is not None
    whole = json.loads(Path(report.detail.removeprefix("file://")).read_text())
    assert len(whole["findings"]) == 300


def test_with_a_bug(trainer_pod: Pod) -> None:
    found = error(trainer_pod, "has a bug", ExitCode.TRY_AGAIN)
    assert found.reason == "InternalError"
    assert found.message.startswith("KeyError: 'missing' (sitecustomize.py, line")
    assert "\n" not in found.message
    assert "Traceback" in trainer_pod.err


def test_without_memory(trainer_pod: Pod) -> None:
    assert error(trainer_pod, "runs out of memory", ExitCode.TRY_AGAIN).reason == "OutOfMemory"


def test_without_gpu_memory(trainer_pod: Pod) -> None:
    found = error(trainer_pod, "runs out of GPU memory", ExitCode.GPU_OUT_OF_MEMORY)
    assert found.reason == "OutOfGPUMemory"
    assert "2.00 GiB" in found.message
    assert "spec.planner.gpuMemoryGB" in found.hint


def test_killed(trainer_pod: Pod) -> None:
    found = error(trainer_pod, "is killed", ExitCode.TRY_AGAIN)
    assert (found.reason, "SIGKILL" in found.message) == ("Killed", True)


def test_an_exit_code_without_a_report(trainer_pod: Pod) -> None:
    assert error(trainer_pod, "leaves", 9).reason == "Crashed"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "InvalidWorkOrder"),
        ("{}", "ContractMismatch"),
        ('{"version": 99, "step": "train"}', "ContractMismatch"),
        ('{"version": 1, "step": "dance"}', "InvalidWorkOrder"),
        ('{"version": 1, "step": "train"}', "InvalidWorkOrder"),
    ],
)
def test_an_order_that_is_none(trainer_pod: Pod, text: str, reason: str) -> None:
    code, report = trainer_pod.run("ends well", text)
    assert code == ExitCode.BAD_USAGE
    assert report.error is not None
    assert report.error.reason == reason
    assert "Traceback" not in trainer_pod.err


def test_a_termination_log_that_cannot_be_written_changes_nothing(trainer_pod: Pod) -> None:
    process = trainer_pod.start("ends well", NNUNET_TERMINATION_LOG=str(trainer_pod.folder))
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "could not be left" in err
    assert '"artifacts"' in out
