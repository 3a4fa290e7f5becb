"""Ranks that never come are named by all that did; with all there, each gets the store."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Fault, Temporary
from nnunet_trainer.training.ranks import rendezvous


def arrive(ranks, world_size):
    """What becomes of each rank that comes: its store, or its fault."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def one(rank):
        try:
            return rendezvous.meet(rank, world_size, "127.0.0.1", port)
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
