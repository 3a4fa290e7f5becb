"""A rank whose main thread is stuck is ended by another one, whatever becomes of what is to be saved before."""

from __future__ import annotations

import threading

import pytest
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


def _refuses(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
