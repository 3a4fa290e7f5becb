"""A rank whose main thread is stuck is ended by another one, whatever becomes of what is to be saved before."""

from __future__ import annotations

import threading

import pytest
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Fault, Temporary
from nnunet_trainer.training.ranks import peer_watch


@pytest.mark.parametrize("does", ["raises", "never returns", "cannot start"])
def test_a_stuck_rank_is_ended(does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_watch, "SAVING_SECONDS", 0.01)
    monkeypatch.setattr(peer_watch, "ANSWER_SECONDS", 0.01)
    ended, hangs, finished = threading.Event(), threading.Event(), threading.Event()
    watch = peer_watch.PeerWatch(0, 1, None, lambda fault: ended.set())

    def finish(seconds: float) -> None:
        if does == "raises":
            raise OSError("the disk is gone")
        hangs.wait()

    watch.before_abort += [finish, lambda seconds: finished.set()]
    fault: Fault = Temporary("RankFailed", "rank 1 failed")
    aborting = threading.Thread(target=watch._abort, args=(fault,), daemon=True)
    aborting.start()
    if does == "cannot start":
        monkeypatch.setattr(threading.Thread, "start", _refuses)
    assert ended.wait(60)
    assert does == "cannot start" or finished.wait(60), "the next one has its turn"
    hangs.set()
    watch._leaving.set()
    aborting.join(60)


@pytest.mark.parametrize(
    ("saving_ended", "aborts_after"),
    [(None, 70), (20, 70), (60, 70.5), (75, 78), (80.5, 80.75)],
)
def test_whoever_waited_for_a_disk_has_time_to_come_to_the_others(
    saving_ended: float | None, aborts_after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a grace of 100 s from SIGTERM on, 81 are a rank's own."""
    monkeypatch.setenv(pod.ENV_GRACE_SECONDS, "100")
    sigterm = 1000.0
    ended: list[Fault] = []
    watch = peer_watch.PeerWatch(0, 1, None, lambda fault: (ended.append(fault), watch._leaving.set())[0])  # type: ignore[func-returns-value]
    watch._stop_since = sigterm
    if saving_ended is not None:
        watch.saving = True
        watch._watch_stop(sigterm + saving_ended)
        monkeypatch.setattr("nnunet_trainer.training.ranks.peer_watch.time.monotonic", lambda: sigterm + saving_ended)
        watch.saving_done()
    watch._watch_stop(sigterm + aborts_after - 0.01)
    assert not ended
    watch._watch_stop(sigterm + aborts_after + 0.01)
    assert "did not come together" in ended[0].message


def _refuses(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
