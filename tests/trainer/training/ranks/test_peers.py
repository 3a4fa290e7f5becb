"""A rank that fails, is killed or hangs: the others end soon, and say which it was, where, and why."""

import json
import os
import signal
import time

import pytest
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.training.ranks import peer_watch
from support.trainings import ranks

from . import failing_ranks

pytestmark = pytest.mark.xdist_group("ranks")  # one worker has the server that they are forked from

QUICK = {"OUT_SECONDS": 0.5, "TELL_SECONDS": 0.1, "TICK_SECONDS": 0.05}
"""It makes no difference whether these pass before a busy machine does anything. With others it would, so that they are long."""
PATIENT = {"CAUSE_SECONDS": 60.0, "FIRST_SAYS_SECONDS": 60.0, "STOP_SECONDS": 60.0}


@pytest.fixture(scope="module", autouse=True)
def warm():
    """What is waited for is what a rank does, not that the server it is forked from reads torch."""
    ranks.warm()


def started(folder, world, culprit, does, grace="300", later=None, **settings):
    arguments = (str(folder), culprit, does, {**QUICK, **PATIENT, **settings}, later or {})
    return ranks.start(world, failing_ranks.rank, arguments, folder, {"NNUNET_GRACE_SECONDS": grace})


def told(folder, rank):
    return json.loads((folder / f"end-{rank}.json").read_text())


def stands(folder, rank):
    """Where the first rank has heard that another stands."""
    return failing_ranks.told(folder, 0, rank)


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("world", "culprit"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
@pytest.mark.parametrize(
    ("does", "reason", "code", "message"),
    [
        ("fails", "UnknownLabel", ExitCode.BAD_DATA, r" failed: ball_03 holds the value 7."),
        ("is killed", "RankLost", ExitCode.STOPPED, r" went away without a report at epoch 0, iteration "),
    ],
)
def test_the_others_end_with_its_name_and_cause(tmp_path, world, culprit, does, reason, code, message):
    processes = started(tmp_path, world, culprit, does)
    found = ranks.ends(processes)
    for rank in range(world):
        if rank == culprit and does == "is killed":
            assert found[rank] == -signal.SIGKILL
            continue
        assert found[rank] == code, (tmp_path / f"rank-{rank}.log").read_text()
        end = told(tmp_path, rank)
        assert end["reason"] == reason
        if rank != culprit:
            assert end["message"].startswith(f"rank {culprit} on {os.uname().nodename}{message}"), end


@pytest.mark.parametrize(
    ("does", "reason", "code"),
    [("has a bug", "InternalError", 75), ("leaves", "RankLost", 143), ("is killed in a collective", "RankLost", 143)],
)
def test_other_ways_to_fail(tmp_path, does, reason, code):
    found = ranks.ends(started(tmp_path, 2, 1, does))
    assert found[0] == code, (tmp_path / "rank-0.log").read_text()
    end = told(tmp_path, 0)
    assert end["reason"] == reason
    assert end["message"].startswith("rank 1 on ")


@pytest.mark.parametrize("does", ["is killed before it is connected", "is killed before the process group"])
@pytest.mark.parametrize(("world", "culprit"), [(2, 0), (2, 1), (3, 1)])
def test_a_rank_that_is_killed_while_ranks_find_each_other(tmp_path, world, culprit, does):
    processes = started(tmp_path, world, culprit, does, later={"CONNECT_SECONDS": 0.0}, STOP_SECONDS=0.1)
    if culprit:  # the others would be missed too
        until(lambda: all((tmp_path / f"connected-{rank}").exists() for rank in range(1, world) if rank != culprit))
    ranks.ends([processes[culprit]])
    (tmp_path / "later").touch()
    found = ranks.ends(processes)
    for rank in set(range(world)) - {culprit}:
        log = (tmp_path / f"rank-{rank}.log").read_text()
        assert found[rank] == ExitCode.STOPPED, log  # what counts is how the culprit's own pod ended
        end = told(tmp_path, rank)
        assert end["reason"] == "RankLost", log
        assert f"rank {culprit}" in end["message"].lower(), end


@pytest.mark.parametrize(("world", "culprit"), [(2, 0), (2, 1), (3, 1)])
def test_a_rank_that_is_stuck_in_a_collective_after_a_report_is_ended(tmp_path, world, culprit):
    """As with NCCL: the one that failed is still there, so that nothing breaks the others' collective."""
    processes = started(tmp_path, world, culprit, "fails, and does not go")
    others = [process for rank, process in enumerate(processes) if rank != culprit]
    until((tmp_path / "told").exists)
    found = ranks.ends(others)  # long before the collective's own timeout
    assert found == [ExitCode.BAD_DATA] * (world - 1)
    for rank in set(range(world)) - {culprit}:
        assert told(tmp_path, rank)["message"].startswith(f"rank {culprit} on {os.uname().nodename} failed: ball_03")
    ranks.ends(processes, 0)


@pytest.mark.parametrize("stopped", [False, True])
def test_the_end_of_a_stuck_rank_waits_for_what_its_threads_are_writing(tmp_path, stopped):
    (tmp_path / "the disk is slow").touch()
    does = "hangs" if stopped else "fails, and does not go"
    processes = started(tmp_path, 2, 1, does, grace="100", **({"STOP_SHARE": 0.01} if stopped else {}))
    if stopped:
        until(lambda: (tmp_path / "exchanging-0").exists() and (tmp_path / "ready-1").exists())
        processes[0].terminate()
    until(lambda: (tmp_path / "writing-0").exists() and (tmp_path / "writing-0").read_text())
    seconds = float((tmp_path / "writing-0").read_text())
    assert (0 < seconds < 0.9 * 100 - 0.01 * 100) if stopped else seconds == peer_watch.SAVING_SECONDS
    assert processes[0].is_alive()
    (tmp_path / "the disk is slow").unlink()
    assert ranks.ends(processes[:1]) == [ExitCode.STOPPED if stopped else ExitCode.BAD_DATA]
    assert (tmp_path / "written-0").exists()
    ranks.ends(processes, 0)


@pytest.mark.parametrize("does", ["hangs before it arrives", "hangs before the process group"])
@pytest.mark.parametrize(("world", "culprit"), [(2, 0), (2, 1), (3, 1)])
def test_sigterm_while_ranks_find_each_other_ends_them_at_once(tmp_path, world, culprit, does):
    processes = started(tmp_path, world, culprit, does, OUT_SECONDS=60.0)
    others = [rank for rank in range(world) if rank != culprit]
    until(lambda: all((tmp_path / f"begun-{rank}").exists() for rank in others))
    if does == "hangs before the process group":
        until((tmp_path / f"hangs-{culprit}").exists)
    for rank in others:
        processes[rank].terminate()
    assert ranks.ends([processes[rank] for rank in others]) == [ExitCode.STOPPED] * len(others)
    for rank in others:
        end = told(tmp_path, rank)
        assert end["reason"] == "Stopped"
        assert "stopped before its first epoch" in end["message"]
    ranks.ends(processes, 0)


@pytest.mark.parametrize("stopped", [0, 2])
@pytest.mark.parametrize("does", ["hangs before it arrives", "hangs before the process group"])
def test_a_rank_that_is_stopped_while_ranks_find_each_other_is_no_failure_of_another(tmp_path, does, stopped):
    """As when SIGTERM reaches the others later, or only one pod is deleted."""
    processes = started(tmp_path, 3, 1, does, STOP_SECONDS=0.1)
    here = ["arrived-0", "arrived-2"] if does == "hangs before it arrives" else ["connected-2", "hangs-1"]
    until(lambda: all((tmp_path / name).exists() for name in here))
    processes[stopped].terminate()
    other = 2 - stopped
    assert ranks.ends([processes[0], processes[2]]) == [ExitCode.STOPPED] * 2, (tmp_path / f"rank-{other}.log").read_text()
    assert told(tmp_path, stopped)["reason"] == "Stopped"
    assert told(tmp_path, other)["reason"] in ("Stopped", "RankLost")  # the first may be gone before it is connected
    ranks.ends(processes, 0)


@pytest.mark.parametrize("does", ["hangs", "is frozen"])
def test_sigterm_with_a_rank_that_hangs_says_which_within_the_grace(tmp_path, does):
    processes = started(tmp_path, 2, 1, does, grace="1")
    until(lambda: (tmp_path / "exchanging-0").exists() and stands(tmp_path, 1) == failing_ranks.WAITS)
    processes[0].terminate()
    assert ranks.ends(processes[:1]) == [ExitCode.STOPPED]
    end = told(tmp_path, 0)
    assert end["reason"] == "Stopped"
    assert f"rank 1 on {os.uname().nodename} is behind, at {failing_ranks.WAITS} " in end["message"]
    assert "The checkpoint of epoch 0, iteration 5 stands." in end["message"]
    assert "in exchange_gradients" in (tmp_path / "rank-0.log").read_text()
    ranks.ends(processes, 0)


def test_sigterm_to_another_rank_than_the_first_says_the_same(tmp_path):
    processes = started(tmp_path, 3, 2, "hangs", grace="1")
    until((tmp_path / "exchanging-0").exists)
    until(lambda: [stands(tmp_path, rank) for rank in (1, 2)] == [failing_ranks.EXCHANGES, failing_ranks.WAITS])
    processes[1].terminate()
    assert ranks.ends(processes[:2]) == [ExitCode.STOPPED] * 2
    for rank in range(2):
        assert f"rank 2 on {os.uname().nodename} is behind, at {failing_ranks.WAITS} " in told(tmp_path, rank)["message"]
    ranks.ends(processes, 0)


def test_all_stop_together_when_one_is_told(tmp_path):
    processes = started(tmp_path, 3, -1, "")
    until(lambda: all((tmp_path / f"ready-{rank}").exists() for rank in range(3)))
    processes[2].terminate()
    assert ranks.ends(processes) == [0, 0, 0]


def test_no_step_for_a_while_is_told_with_the_slowest_rank_and_where_each_stands(tmp_path):
    processes = started(tmp_path, 2, 1, "goes on after a while", later={"STALL_SECONDS": 0.2, "STALL_STEPS": 2})
    until(lambda: (tmp_path / "exchanging-0").exists() and stands(tmp_path, 1) == failing_ranks.WAITS)
    (tmp_path / "later").touch()
    behind = f"rank 1 on {os.uname().nodename} is behind, at {failing_ranks.WAITS} "
    until(lambda: (tmp_path / "stall-0.txt").exists() and behind in (tmp_path / "stall-0.txt").read_text())
    until((tmp_path / "stall-1.txt").exists)
    until(lambda: "in misbehave" in (tmp_path / "rank-1.log").read_text())
    until(lambda: "in exchange_gradients" in (tmp_path / "rank-0.log").read_text())
    (tmp_path / "go").touch()
    until(lambda: (tmp_path / "stall-0.txt").read_text() == "None")
    processes[0].terminate()
    assert ranks.ends(processes) == [0, 0]
