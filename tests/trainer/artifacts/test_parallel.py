from __future__ import annotations

import itertools
import threading

import pytest
from nnunet_trainer.artifacts.parallel import for_each


def test_every_item_is_worked_on_once() -> None:
    seen: list[int] = []
    assert for_each(range(100), seen.append, threads=4) == 100
    assert sorted(seen) == list(range(100))
    assert for_each([], seen.append) == 0


def test_the_first_error_ends_it_even_when_the_items_never_end() -> None:
    def work(item: int) -> None:
        if item == 50:
            raise ValueError("fifty")

    with pytest.raises(ValueError, match="fifty"):
        for_each(itertools.count(), work, threads=3)


def test_no_more_threads_than_asked_for() -> None:
    together, most, lock, gate = 0, 0, threading.Lock(), threading.Barrier(3)

    def work(item: int) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        gate.wait(60)
        with lock:
            together -= 1

    for_each(range(9), work, threads=3)
    assert most == 3
