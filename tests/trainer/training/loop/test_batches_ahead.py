"""Batches that a GPU's second stream augments, without a GPU: streams that only write down what they are asked to do."""

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


def trained(streams, count, epochs=1, late=()):
    """Steps of some epochs, none of which the GPU has begun with when the next batch is asked for; the most batches that were held.

    Batches that are late are not ready when the one before is trained on.
    """
    log, training, current = streams
    held, most = weakref.WeakSet(), 0

    def augmented(batch):
        nonlocal most
        assert current[-1].name == "augmentation"
        current[-1].work(("augment", batch))
        made = torch.full((1,), batch)
        held.add(made)
        most = max(most, len(held))
        return made, [torch.zeros(1)]

    for epoch in range(epochs):
        asked = itertools.count(epoch * count + 1)
        made = iter(range(epoch * count, (epoch + 1) * count))
        for upcoming in batches.ahead(made, augmented, GPU, lambda asked=asked: next(asked) not in late):
            data, targets = upcoming.taken()
            assert len(targets) == 1
            assert current == [training]
            training.work(("train", int(data)))
    return log, most


def certain(log):
    """By place in the log, what is done for certain when its stream begins with what is asked for there."""
    done, before = {"training": frozenset(), "augmentation": frozenset()}, []
    history = [dict(done)]
    for whose, what in log:
        before.append(done[whose])
        waits = what[0] in done
        done[whose] |= history[what[1]][what[0]] if waits else {what}
        history.append(dict(done))
    return before


@pytest.mark.parametrize("late", [(), (2,), (1, 3, 4), range(9)], ids=str)
@pytest.mark.parametrize(("count", "epochs"), [(1, 1), (2, 1), (7, 1), (3, 3)])
def test_a_step_begins_when_its_batch_is_ready_and_the_next_one_is_augmented_beside_it(streams, count, epochs, late):
    log, _ = trained(streams, count, epochs, late)
    total, before = count * epochs, certain(log)
    order = [what for _, what in log if what[0] in ("augment", "train")]
    assert [number for what, number in order if what == "train"] == list(range(total))
    for number in range(total):
        assert ("augment", number) in before[log.index(("training", ("train", number)))]
        following = number + 1
        if following % count:  # of the same epoch
            first = order.index(("augment", following)) < order.index(("train", number))
            assert first == (following not in late), "a step does not wait for what is late"
            begun = log.index(("augmentation", ("augment", following)))
            assert ("train", number) not in before[begun]


@pytest.mark.parametrize("late", [(), (2,), (1, 3, 4), range(12)], ids=str)
@pytest.mark.parametrize(("count", "epochs"), [(7, 1), (4, 3)])
def test_memory_is_used_again_only_behind_the_step_that_looked_at_it(streams, count, epochs, late):
    """Where Python drops a batch, the augmentation after that may take its memory: its step must be done on the GPU by then."""
    log, most = trained(streams, count, epochs, late)
    before = certain(log)
    assert most <= 4, "however far ahead of the GPU the steps are queued"
    for place, (whose, what) in enumerate(log):
        if whose == "augmentation" and what[0] == "augment":
            queued = {number for _, (kind, number) in log[:place] if kind == "train"}
            done = {number for kind, number in before[place] if kind == "train"}
            assert queued - done <= {what[1] - 1}, "that of the batch before it, which is still held"


def test_a_batch_that_cannot_be_read_is_told_by_the_stream_that_trains(streams):
    def made():
        yield 0
        raise ValueError("a case cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        list(batches.ahead(made(), lambda batch: (torch.zeros(1), []), GPU, lambda: True))
