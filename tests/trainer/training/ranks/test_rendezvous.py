"""Ranks that never come are named by all that did; with all there, each gets the store."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadData, Fault, Stopped, Temporary
from nnunet_trainer.training.ranks import peer_faults, peers, rendezvous
from support.ports import free_port


def arrive(ranks, world_size, meet=rendezvous.meet):
    """What becomes of each rank that comes: its store, or its fault."""
    port = free_port()

    def one(rank):
        try:
            return meet(rank, world_size, "127.0.0.1", port)
        except Fault as fault:
            return fault

    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(one, ranks))


def test_all_come(monkeypatch):
    monkeypatch.setenv(pod.ENV_RENDEZVOUS_SECONDS, "30")
    stores = arrive([2, 0, 1], 3)
    stores[0].set("who", "rank 2")
    assert [store.get("who") for store in stores] == [b"rank 2"] * 3


@pytest.mark.parametrize(
    ("here", "world_size", "local", "missing", "came"),
    [
        ([0, 1], 3, 1, "Rank 2 (node 2) of 3", "ranks 0, 1 (nodes 0, 1) did"),
        ([0], 4, 2, "Ranks 1, 2, 3 (nodes 0, 1) of 4", "rank 0 (node 0) did"),
        ([0, 1], 4, 2, "Ranks 2, 3 (node 1) of 4", "ranks 0, 1 (node 0) did"),
    ],
)
def test_who_does_not_come_is_named_by_all_others(monkeypatch, here, world_size, local, missing, came):
    monkeypatch.setenv(pod.ENV_RENDEZVOUS_SECONDS, "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    faults = arrive(here, world_size)
    for fault in faults:
        assert isinstance(fault, Temporary)
        assert fault.reason == "RankMissing"
        assert fault.message.startswith(missing), fault.message
        assert came in fault.message
        assert "within 2 s" in fault.message
        assert "rendezvousDeadlineSeconds" in fault.hint


def test_without_the_first_rank_the_others_say_so(monkeypatch):
    monkeypatch.setenv(pod.ENV_RENDEZVOUS_SECONDS, "2")
    (fault,) = arrive([1], 2)
    assert isinstance(fault, Temporary)
    assert fault.message.startswith("Rank 0 at 127.0.0.1:")
    assert "did not answer rank 1 on" in fault.message


@pytest.mark.parametrize("stopped", [False, True])
def test_an_attempt_that_fails_is_made_anew_unless_the_rank_was_stopped(monkeypatch, stopped):
    """As where the first rank has just gone again, and its next pod comes."""
    monkeypatch.setenv(pod.ENV_RENDEZVOUS_SECONDS, "60")
    made, tried = rendezvous.dist.TCPStore, []

    def attempt(*arguments, is_master, timeout, **options):
        if not is_master:
            tried.append(timeout.total_seconds())
            if len(tried) <= 2:
                raise RuntimeError("Connection reset by peer")
        return made(*arguments, is_master=is_master, timeout=timeout, **options)

    def meet(rank, world_size, address, port):
        def check():
            if rank and stopped and tried:
                raise peer_faults.stopped_at_the_start()

        return rendezvous.meet(rank, world_size, address, port, check)

    monkeypatch.setattr(rendezvous.dist, "TCPStore", attempt)
    if stopped:
        monkeypatch.setattr(rendezvous, "_listens", lambda *_: True)
        (fault,) = arrive([1], 2, meet)
        assert (fault.reason, len(tried)) == ("Stopped", 1)
    else:
        stores = arrive([0, 1], 2, meet)
        stores[0].set("who", "rank 0")
        assert (stores[1].get("who"), len(tried)) == (b"rank 0", 3)
        assert stores[1].timeout.total_seconds() > rendezvous.TRY_SECONDS, "it waits for the others longer than for an attempt"
    assert max(tried) <= rendezvous.TRY_SECONDS


@pytest.mark.parametrize("where", ["while some are missing", "when all have arrived"])
@pytest.mark.parametrize("stopped", [0, 1, 2])
def test_one_that_is_stopped_is_told_to_all_that_have_come(monkeypatch, stopped, where):
    monkeypatch.setenv(pod.ENV_RENDEZVOUS_SECONDS, "60")
    here, all_here = set(), threading.Event()

    def meet(rank, world_size, address, port):
        def check():
            here.add(rank)
            if len(here) == 3:
                all_here.set()
            if rank == stopped and all_here.is_set():
                raise peer_faults.stopped_at_the_start()

        if where == "while some are missing":
            return rendezvous.meet(rank, world_size, address, port, check)
        store = rendezvous.meet(rank, world_size, address, port)
        with rendezvous.ending_together(store, rank, world_size):
            while True:
                rendezvous.pause(store, check)

    for rank, fault in enumerate(arrive([0, 1, 2], 4 if where == "while some are missing" else 3, meet)):
        assert isinstance(fault, Stopped)
        assert fault.reason == "Stopped"
        who = "" if rank == stopped else f"rank {stopped} on {socket.gethostname()} was stopped: "
        assert fault.message == f"{who}The training was stopped before its first epoch."


@pytest.mark.parametrize(
    ("fault", "stops", "reason"),
    [
        (peer_faults.first_went_away(1), "meanwhile", "Stopped"),
        (peer_faults.first_went_away(1), "never", "RankLost"),
        (Stopped("Stopped", "rank 0 was stopped."), "meanwhile", "Stopped"),
        (Temporary("RankMissing", "Rank 2 did not arrive."), "before", "Stopped"),
        (Temporary("RankMissing", "Rank 2 did not arrive."), "never", "RankMissing"),
        (BadData("UnknownLabel", "ball_03 holds the value 7."), "never", "UnknownLabel"),
    ],
)
def test_the_own_stop_is_said_before_what_comes_of_a_peer_that_was_stopped(monkeypatch, fault, stops, reason):
    monkeypatch.setattr(peers, "STOP_SECONDS", 60.0 if stops == "meanwhile" else 0.01)
    stop = threading.Event()
    if stops == "before":
        stop.set()
    if stops == "meanwhile":
        threading.Timer(0.05, stop.set).start()
    with pytest.raises(Fault) as caught, peers.own_stop_first(stop):
        raise fault
    assert caught.value.reason == reason
    assert caught.value.message == ("The training was stopped before its first epoch." if reason == "Stopped" else fault.message)
