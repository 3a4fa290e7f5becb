"""Who may start on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_operator.local.machine.scheduler import Machine, place, room_for, threads_of_each, threads_of_trainings

Manifest = dict[str, Any]


def pod(name: str, cpu: str | None = None, memory: str | None = None, gpus: int = 0) -> Manifest:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {"metadata": {"name": name}, "spec": {"containers": [{"resources": {"requests": requests, "limits": limits}}]}}


@pytest.mark.parametrize(
    ("queue", "running", "starts", "waits", "never"),
    [
        ([pod("a", "3"), pod("b", "2"), pod("c", "1")], [], ["a", "c"], ["b"], []),
        ([pod("a", "64")], [], ["a"], [], []),  # more than there is: the whole machine
        ([pod("a", "64")], [(pod("x", "500m"), [])], [], ["a"], []),
        ([pod("a"), pod("b")], [(pod("x", "3"), [])], ["a"], ["b"], []),  # who says nothing counts as one core
        ([pod("a", memory="9Gi"), pod("b", memory="2Gi")], [], ["a"], ["b"], []),
        ([pod("a", gpus=1), pod("b", gpus=2)], [(pod("x", gpus=1), ["0"])], ["a"], ["b"], []),
        ([pod("a", gpus=3)], [], [], [], ["a"]),
    ],
)
def test_the_machine_is_shared_out(queue: Any, running: Any, starts: Any, waits: Any, never: Any) -> None:
    result = place(queue, running, Machine(cores=4, memory=10 * 2**30, gpus=("0", "1")))
    assert [pod["metadata"]["name"] for pod, _ in result.start] == starts
    assert [pod["metadata"]["name"] for pod, _ in result.wait] == waits
    assert [pod["metadata"]["name"] for pod, _ in result.never] == never


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=12))
@settings(derandomize=True, deadline=None)
def test_nothing_is_given_out_twice(wishes: list[tuple[int, int]]) -> None:
    machine = Machine(cores=4, memory=2**30, gpus=("a", "b", "c"))
    queue = [pod(str(i), str(cpu), gpus=gpus) for i, (cpu, gpus) in enumerate(wishes)]
    given_out = place(queue, [], machine).start
    gpus = [gpu for _, taken in given_out for gpu in taken]
    assert len(gpus) == len(set(gpus))
    assert sum(min(4, wishes[int(p["metadata"]["name"])][0]) for p, _ in given_out) <= 4


@pytest.mark.parametrize(("there", "instead"), [((), True), (("0",), False)])
def test_ordered_gpus_are_never_left_out_in_silence(there: tuple[str, ...], instead: bool) -> None:
    """A machine without GPUs trains on its CPU where a manifest says so, and says how to say so."""
    machine = Machine(cores=4, memory=10 * 2**30, gpus=there)
    ((_, message),) = place([pod("a", gpus=2)], [], machine).never
    assert f"2 wanted, this machine has {len(there) or 'none'}." in message
    assert ("To train on the CPU, set spec.workers.gpusPerNode: 0." in message) == instead
    assert [p["metadata"]["name"] for p, _ in place([pod("b")], [], machine).start] == ["b"]


@pytest.mark.parametrize(
    ("pods", "cores", "threads"),
    [(1, 2, 2), (2, 2, 2), (1, 16, 16), (2, 16, 16), (3, 16, 10), (5, 16, 6), (40, 16, 1), (1, 0.5, 1), (2, 3.5, 3)],
)
def test_pods_have_twice_a_fair_share_of_threads_and_no_more_than_there_are_cores(pods: int, cores: float, threads: int) -> None:
    assert threads_of_each(pods, Machine(cores=cores, memory=2**30)) == threads


@pytest.mark.parametrize(
    ("pods", "cores", "threads"), [(1, 2, 2), (2, 2, 1), (1, 16, 16), (2, 16, 8), (3, 16, 5), (40, 16, 1), (1, 0.5, 1), (2, 3.5, 1)]
)
def test_trainings_side_by_side_have_a_fair_share_of_threads(pods: int, cores: float, threads: int) -> None:
    assert threads_of_trainings(pods, Machine(cores=cores, memory=2**30)) == threads


@pytest.mark.parametrize(
    ("asked", "room"),
    [
        ({}, 8),
        ({"cpu": "3"}, 2),
        ({"cpu": "100m"}, 80),
        ({"cpu": "100"}, 1),
        ({"memory": "6Gi"}, 2),
        ({"gpus": 1}, 3),
        ({"gpus": 2}, 1),
        ({"gpus": 1, "memory": "9Gi"}, 1),
    ],
)
def test_room_is_for_so_many_pods_of_a_kind(asked: dict[str, Any], room: int) -> None:
    assert room_for(pod("a", **asked), Machine(cores=8, memory=16 * 2**30, gpus=("0", "1", "2"))) == room
