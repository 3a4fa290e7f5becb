"""Batches that a GPU's second stream augments, without a GPU: streams that only write down what they are asked to do."""

import gc
import itertools
import weakref
from contextlib import contextmanager

import pytest
import torch
from nnunet_trainer.training.loop import batches

GPU = torch.device("cuda")


class Stream:
    """What it is asked for, in order, together with what all others are; events are its work so far."""

    def __init__(self, log, name):
        self.log, self.name = log, name

    def work(self, what):
        self.log.append((self.name, what))

    def record_event(self):
        return self.name, len(self.log)

    def wait_event(self, event):
        self.work(event)

    def wait_stream(self, other):
        self.wait_event(other.record_event())


@pytest.fixture
def streams(monkeypatch):
    """The log, and the training's stream."""
    log = []
    training = Stream(log, "training")
    current = [training]

    @contextmanager
    def on(stream):
        current.append(stream)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: current[-1])
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(log, "augmentation"))
    batches._stream.cache_clear()
    yield log, training, current
    batches._stream.cache_clear()


def trained(streams, count, epochs=1):
    """Steps of some epochs, whose batches the GPU has not begun with when the next ones are asked for; most that were alive."""
    log, training, current = streams
    alive, most = weakref.WeakSet(), 0
    numbers = itertools.count()

    def augmented(batch):
        nonlocal most
        assert current[-1].name == "augmentation"
        current[-1].work(("augment", batch))
        made = torch.full((1,), batch)
        alive.add(made)
        gc.collect()
        most = max(most, len(alive))
        return made, [torch.zeros(1)]

    for _ in range(epochs):
        for upcoming in batches.ahead(iter([next(numbers) for _ in range(count)]), augmented, GPU):
            data, targets = upcoming.taken()
            assert len(targets) == 1
            assert current == [training]
            training.work(("train", int(data)))
    return log, most


def known(log, stream, at):
    """What is done for certain when `stream` begins with what it was asked for at this place."""
    found = set()
    for place in range(at - 1, -1, -1):
        whose, what = log[place]
        if whose != stream:
            continue
        found.add(what)
        if what[0] in ("training", "augmentation"):
            found |= known(log, what[0], what[1])
    return found


@pytest.mark.parametrize(("count", "epochs"), [(1, 1), (2, 1), (7, 1), (3, 3)])
def test_a_step_begins_when_its_batch_is_ready_and_the_next_batch_is_begun_before_it(streams, count, epochs):
    log, _ = trained(streams, count, epochs)
    total = count * epochs
    order = [what for _, what in log if what[0] in ("augment", "train")]
    assert [number for what, number in order if what == "train"] == list(range(total))
    for number in range(total):
        assert ("augment", number) in known(log, "training", log.index(("training", ("train", number))))
        following = number + 1
        if following % count:  # of the same epoch
            assert order.index(("augment", following)) < order.index(("train", number))
            # Beside each other: neither waits for the other.
            begun = log.index(("augmentation", ("augment", following)))
            assert ("train", number) not in known(log, "augmentation", begun)


@pytest.mark.parametrize(("count", "epochs"), [(7, 1), (4, 3)])
def test_memory_is_used_again_only_behind_the_step_that_looked_at_it(streams, count, epochs):
    """Where Python drops a batch, the augmentation after that may take its memory: its step must be done on the GPU by then."""
    log, most = trained(streams, count, epochs)
    assert most <= 4, "however far ahead of the GPU the steps are queued"
    for place, (whose, what) in enumerate(log):
        if whose == "augmentation" and what[0] == "augment":
            queued = {step for _, step in log[:place] if step[0] == "train"}
            assert queued <= known(log, "augmentation", place)


def test_a_batch_that_cannot_be_read_is_told_by_the_stream_that_trains(streams):
    def made():
        yield 0
        raise ValueError("a case cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        list(batches.ahead(made(), lambda batch: (torch.zeros(1), []), GPU))
