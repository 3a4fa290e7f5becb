"""What a thread writes for people: in order, all of it, and nobody waits for it."""

import threading

import pytest
from nnunet_trainer.contract.faults import Stopped
from nnunet_trainer.report.tensorboard import EventFile
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting import reporter
from nnunet_trainer.training.reporting.background_work import BackgroundWork

PATIENCE = 60.0


def test_the_newest_is_next_and_the_last_is_done():
    work, done, begun, release = BackgroundWork(), [], threading.Event(), threading.Event()

    def first():
        begun.set()
        assert release.wait(PATIENCE)
        done.append(threading.current_thread() is threading.main_thread())

    work.submit(first)
    assert begun.wait(PATIENCE)
    for number in range(5):
        work.submit(lambda number=number: done.append(number))
    release.set()
    assert work.close(PATIENCE)
    assert done == [False, 4]
    assert work.close(0)
    work.submit(lambda: done.append("again"))
    assert work.close(PATIENCE)
    assert done[-1] == "again"


def test_without_work_there_is_nothing_to_wait_for():
    assert BackgroundWork().close(0)


def test_work_that_hangs_is_left():
    work, release, done = BackgroundWork(), threading.Event(), []
    work.submit(release.wait)
    work.submit(lambda: done.append("the next"))
    assert not work.close(0.01)
    release.set()
    assert work.close(PATIENCE)
    assert done[-1:] == ["the next"]


def test_what_it_fails_with_is_raised_by_the_next_call_and_what_follows_is_done_all_the_same():
    work, done = BackgroundWork(), []

    def fails():
        raise OSError("no space left on device")

    work.submit(fails)
    with pytest.raises(OSError, match="no space left"):
        work.close(PATIENCE)
    work.submit(lambda: done.append("this"))
    assert work.close(PATIENCE)
    assert done == ["this"]


def test_epochs_go_on_while_a_plot_is_drawn_and_the_last_one_is_drawn_whole(setup, monkeypatch):
    epochs, drawn, gone_on = 4, [], threading.Event()

    def plot(lists, folder):
        assert gone_on.wait(PATIENCE), "the epochs wait for the plot"
        drawn.append(len(lists["train_losses"]))

    monkeypatch.setattr(reporter, "progress_plot", plot)
    monkeypatch.setattr(reporter, "PLOT_EVERY_SECONDS", -1.0)
    s = setup({"epochs": epochs, "iterationsPerEpoch": 1, "validationIterations": 1})
    s.listener = lambda progress: gone_on.set() if progress.epoch == epochs - 1 else None
    train(s)
    assert drawn[-1] == epochs
    assert drawn == sorted(set(drawn))


@pytest.mark.parametrize("fault", [OSError("the fonts are missing"), None])
def test_a_plot_that_fails_is_told_and_ends_nothing(setup, monkeypatch, fault):
    def plot(lists, folder):
        if fault is not None:
            raise fault

    monkeypatch.setattr(reporter, "progress_plot", plot)
    lines = []
    train(setup({"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1}, log=lines.append))
    assert any("the fonts are missing" in line for line in lines) == (fault is not None)


@pytest.mark.parametrize("ends", ["whole", "stopped", "failed"])
def test_curves_are_whole_however_a_training_ends(setup, monkeypatch, ends):
    """With a disk that is slow: it writes the second epoch only when the main thread is on its way out."""
    written, leaving, write = [], threading.Event(), EventFile.write

    def slow(self, logging):
        epochs = len(logging["train_losses"])
        if epochs == 2:
            assert leaving.wait(PATIENCE)
        write(self, logging)
        written.append(epochs)

    close = BackgroundWork.close

    def closing(self, seconds):
        leaving.set()
        return close(self, seconds)

    monkeypatch.setattr(EventFile, "write", slow)
    monkeypatch.setattr(BackgroundWork, "close", closing)
    s = setup({"epochs": 2 if ends == "whole" else 3, "iterationsPerEpoch": 1, "validationIterations": 1}, stop=threading.Event())

    def listen(progress):
        if progress.epoch == 2 and ends == "stopped":
            s.stop.set()
        if progress.epoch == 2 and ends == "failed":
            raise ValueError("a listener's own")

    s.listener = listen
    if ends == "whole":
        train(s)
    else:
        with pytest.raises(Stopped if ends == "stopped" else ValueError):
            train(s)
    assert written[-1] == 2
