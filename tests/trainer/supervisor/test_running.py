"""While a step runs: progress, metrics, signals, ranks."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from nnunet_trainer.contract import progress
from nnunet_trainer.contract.faults import BadUsage, ExitCode
from nnunet_trainer.supervision import ranks

from .conftest import PATIENCE, Pod


def ask(trainer_pod: Pod, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{trainer_pod.port}{path}", timeout=PATIENCE) as answer:
        return answer.read().decode()


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.02)


def phase(trainer_pod: Pod) -> str:
    return json.loads(ask(trainer_pod, "/progress"))["phase"]


def test_progress_and_metrics_are_served_and_sigterm_is_forwarded(trainer_pod: Pod) -> None:
    process = trainer_pod.start("is stopped")
    wait_for(lambda: phase(trainer_pod) == "waiting")
    heard = progress.decode(ask(trainer_pod, "/progress"))
    assert heard is not None
    assert (heard.step, heard.epoch) == ("train", 2)
    assert heard.updated_at is not None
    metrics = ask(trainer_pod, "/metrics")
    assert 'nnunet_epoch{step="train"} 2' in metrics
    assert "# TYPE nnunet_epoch gauge" in metrics
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(trainer_pod, "/else")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    report = trainer_pod.report()
    assert process.returncode == ExitCode.STOPPED
    assert report.error is not None
    assert (report.error.reason, report.error.message) == ("Stopped", "A checkpoint of epoch 2 is saved.")
    assert report.summary == {"epoch": 2}


def test_ctrl_c_stops_as_sigterm_does(trainer_pod: Pod) -> None:
    process = trainer_pod.start("is stopped")
    wait_for(lambda: phase(trainer_pod) == "waiting")
    (child,) = _children(process.pid)
    os.kill(child, signal.SIGINT)  # a terminal tells the whole group
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == ExitCode.STOPPED
    assert trainer_pod.report().summary == {"epoch": 2}


def test_a_port_that_is_taken_is_said_and_does_not_stop_the_step(trainer_pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", trainer_pod.port)):
        code, _ = trainer_pod.run("ends well")
    assert code == 0
    assert "progress is not served" in trainer_pod.err


def test_each_rank_gets_torchruns_variables(trainer_pod: Pod) -> None:
    code, report = trainer_pod.run("ends well", trainer_pod.order(gpus_per_node=2))
    assert code == 0
    assert report.summary == {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("does", "reason", "code"),
    [("rank 1 fails", "OutOfGPUMemory", ExitCode.GPU_OUT_OF_MEMORY), ("rank 1 is killed", "Killed", ExitCode.TRY_AGAIN)],
)
def test_the_first_rank_that_fails_is_named_and_the_others_end(trainer_pod: Pod, does: str, reason: str, code: int) -> None:
    found, report = trainer_pod.run(does, trainer_pod.order(gpus_per_node=2))
    assert found == code
    assert report.error is not None
    assert report.error.reason == reason
    assert report.error.message.startswith("rank 1")


def test_killing_the_supervisor_ends_the_ranks(trainer_pod: Pod) -> None:
    process = trainer_pod.start("waits", trainer_pod.order(gpus_per_node=2))
    wait_for(lambda: phase(trainer_pod) == "waiting" and len(_children(process.pid)) == 2)
    children = _children(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: all(_gone(pid) for pid in children))


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_rank_that_does_not_hear_is_killed(trainer_pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    order = trainer_pod.order(gpus_per_node=2)
    code, report = trainer_pod.run("rank 1 ignores the end", order, NNUNET_GRACE_SECONDS="2")
    assert code == ExitCode.BAD_DATA
    assert report.error is not None
    assert report.error.message == "rank 0: rank 0 says so"


@pytest.mark.parametrize(
    ("fails", "code", "reason"),
    [
        ("raises", ExitCode.BAD_DATA, "Bad"),
        ("is killed", ExitCode.TRY_AGAIN, "Killed"),
        ("leaves", 9, "Crashed"),
        ("is stopped", ExitCode.STOPPED, "Stopped"),
    ],
)
def test_a_failure_after_another_rank_was_stopped_is_the_pods(trainer_pod: Pod, fails: str, code: int, reason: str) -> None:
    found, report = trainer_pod.run(f"rank 0 is stopped, then rank 1 {fails}", trainer_pod.order(gpus_per_node=3))
    assert report.error is not None
    assert (found, report.error.reason) == (code, reason), trainer_pod.err
    assert report.error.message.startswith("rank 0: A checkpoint" if fails == "is stopped" else "rank 1")


def test_a_rank_that_hangs_does_not_take_the_report_of_a_stop_with_it(trainer_pod: Pod) -> None:
    process = trainer_pod.start("rank 1 hangs, rank 0 is stopped", trainer_pod.order(gpus_per_node=2), NNUNET_GRACE_SECONDS="2")
    wait_for(lambda: phase(trainer_pod) == "waiting")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    report = trainer_pod.report()
    assert process.returncode == ExitCode.STOPPED
    assert report.error is not None
    assert (report.error.reason, report.error.message) == ("Stopped", "rank 0: A checkpoint of epoch 2 is saved.")


def test_the_ranks_of_several_nodes(trainer_pod: Pod) -> None:
    order = trainer_pod.order(nodes=2, gpus_per_node=4)
    made = ranks.environments(order, {"JOB_COMPLETION_INDEX": "1", "MASTER_ADDR": "run-0.run"})
    assert [e["RANK"] for e in made] == ["4", "5", "6", "7"]
    assert {e["WORLD_SIZE"] for e in made} == {"8"}
    assert {(e["MASTER_ADDR"], e["MASTER_PORT"]) for e in made} == {("run-0.run", "29500")}
    for environment in ({}, {"MASTER_ADDR": "x", "JOB_COMPLETION_INDEX": "2"}):
        with pytest.raises(BadUsage, match="MASTER_ADDR"):
            ranks.environments(order, environment)
