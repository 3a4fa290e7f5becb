"""Trainings on disks that are slow, full, or that lost power: they go on, say so, and lose no more than they must."""

import threading

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import Stopped, StorageFault
from nnunet_trainer.contract.work_order import CheckpointPolicy
from nnunet_trainer.training.loop import checkpointing, fold_training, stopping
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.loop.validation import full_evaluation
from nnunet_trainer.training.reporting.reporter import Reporter
from nnunet_trainer.training.state import checkpoint_writer

SHORT = {"iterationsPerEpoch": 2, "validationIterations": 1}
FULL = StorageFault("CheckpointNotWritten", "checkpoint_latest.pth cannot be written: No space left on device.")


class Disk:
    """Writes checkpoints, and remembers which; `fails` and `waits` are asked before, with the name and the epoch."""

    def __init__(self, monkeypatch, fails=lambda name, epoch: False):
        self.written, self.release, self.held = [], threading.Event(), set()
        self.fails = fails
        self._save = checkpoint.save
        monkeypatch.setattr(checkpoint_writer.checkpoint, "save", self.save)

    def save(self, path, content):
        epoch = content["current_epoch"]
        if epoch in self.held:
            assert self.release.wait(60)
        if self.fails(path.name, epoch):
            raise FULL
        digest = self._save(path, content)
        weights = {key: value.clone() for key, value in content["network_weights"].items()}
        self.written.append((path.name, epoch, content[checkpoint.EXTRA]["iteration"], weights))
        return digest


def told(heard):
    return [warning for progress in heard for warning in progress.warnings or []]


def test_a_full_disk_does_not_stop_a_training_that_has_a_checkpoint(setup, monkeypatch):
    disk = Disk(monkeypatch, lambda name, epoch: epoch in (2, 3))
    heard, lines = [], []
    result = train(setup({**SHORT, "epochs": 5}, listener=heard.append, log=lines.append))
    assert result.epochs == 5
    assert {epoch for _, epoch, _, _ in disk.written} <= {1, 4, 5}
    assert disk.written[-1][:2] == (checkpoint.FINAL, 5)
    assert any("not on this machine's disk: checkpoint_latest.pth cannot be written: No space left" in line for line in lines)
    assert sum("not on this machine's disk" in line for line in lines) == 1, "one line, however long it lasts"
    assert any("not on this machine's disk" in warning for warning in told(heard))


def test_a_disk_without_room_for_the_first_checkpoint_is_said_at_once(setup, monkeypatch):
    Disk(monkeypatch, lambda name, epoch: True)
    with pytest.raises(StorageFault, match="No space left"):
        train(setup({**SHORT, "epochs": 50}))


def test_a_final_checkpoint_that_cannot_be_written_is_an_error_and_the_latest_stays(setup, monkeypatch):
    Disk(monkeypatch, lambda name, epoch: name == checkpoint.FINAL)
    s = setup({**SHORT, "epochs": 2})
    with pytest.raises(StorageFault):
        train(s)
    assert checkpoint.load(s.fold_folder / checkpoint.LATEST)["current_epoch"] == 1


def test_training_goes_on_while_a_slow_disk_writes_and_the_snapshot_stays_what_it_was(setup, monkeypatch, tmp_path):
    reference = Disk(monkeypatch)
    train(setup({**SHORT, "epochs": 5}, results=tmp_path / "reference"))
    monkeypatch.undo()
    monkeypatch.setattr(checkpointing, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(checkpointing, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr("nnunet_trainer.training.reporting.reporter.progress_plot", lambda logging, folder: folder / "p.png")
    disk, heard, lines = Disk(monkeypatch), [], []
    disk.held = {1}

    def listen(progress):
        heard.append(progress)
        if progress.epoch == 4:
            disk.release.set()

    train(setup({**SHORT, "epochs": 5}, listener=listen, log=lines.append))
    assert [epoch for _, epoch, _, _ in disk.written] in ([1, 4, 5], [1, 5]), "what came while it was busy is newer when it is free"
    for end in (disk.written[0], disk.written[-1]):
        whole = next(weights for name, *position, weights in reference.written if position == [*end[1:3]])
        assert all(torch.equal(end[3][key], whole[key]) for key in whole), end[:3]
    assert any("The disk is slow" in line or "is of an older epoch" in line for line in lines)
    assert any("The disk is slow" in warning or "is of an older epoch" in warning for warning in told(heard))


@pytest.mark.parametrize("harm", ["cut", "zeros"])
def test_after_a_power_cut_the_newest_whole_one_wins(setup, monkeypatch, harm):
    """As the kernel may leave them: the newest file is not all there, another was being written."""
    s = setup({**SHORT, "epochs": 4}, stop=threading.Event(), checkpoint=CheckpointPolicy(keep=2))
    s.listener = lambda progress: s.stop.set() if progress.epoch == 2 else None
    with pytest.raises(Stopped):
        train(s)
    latest = s.fold_folder / checkpoint.LATEST
    size = latest.stat().st_size
    content = latest.read_bytes()
    latest.unlink()  # not the file of another name
    latest.write_bytes({"cut": content[: size // 2], "zeros": bytes(size)}[harm])
    torn = s.fold_folder / f".{checkpoint.LATEST}.4711.part"
    torn.write_bytes(content[:100])
    lines = []
    result = train(setup({**SHORT, "epochs": 4}, resume=True, log=lines.append))
    assert result.resumed_from_epoch in (1, 2)
    assert not torn.exists()
    [skipped] = [line for line in lines if line.startswith("Warning: Skipped")]
    assert str(latest) in skipped
    [where] = [line for line in lines if line.startswith("Continuing from")]
    assert f"epoch {result.resumed_from_epoch}" in where


def test_a_disk_that_hangs_does_not_outlast_the_grace(setup, monkeypatch):
    disk = Disk(monkeypatch)
    disk.held = {1}
    stop = stopping.StopRequest(grace=0.2)
    s = setup({**SHORT, "epochs": 50}, stop=stop, listener=lambda progress: stop.set() if progress.epoch == 2 else None)
    monkeypatch.setattr(checkpointing, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Stopped, match="its checkpoint could not be written, there is none: the disk is too slow"):
        train(s)
    disk.release.set()


def test_a_best_checkpoint_that_is_written_after_one_that_was_not_is_no_older_one(setup, monkeypatch):
    dice = {1: 0.1, 2: 0.2, 3: 0.3}  # of a better epoch each; none of those that follow is
    monkeypatch.setattr(fold_training, "validate_epoch", lambda session, *rest: (0.5, [dice.get(session.epoch + 1, 0.0)] * 2))
    disk, heard, lines = Disk(monkeypatch, lambda name, epoch: epoch == 2), [], []
    disk.held = {3}

    def listen(progress):
        heard.append(progress)
        if progress.epoch == 4:  # it was looked at while it was being written
            disk.release.set()

    train(setup({**SHORT, "epochs": 6}, listener=listen, log=lines.append))
    assert (checkpoint.LATEST, 3) in [written[:2] for written in disk.written]
    assert any("not on this machine's disk" in line for line in lines)
    assert "Checkpoints are written again." in lines
    assert not [line for line in lines if "of an older epoch" in line]


def test_what_follows_the_steps_of_an_epoch_may_take_any_time(setup, monkeypatch):
    """Within a step a training that does not move is told to stand still."""
    seen = []

    def look(session):
        place, _ = session.ranks.peers.places.own
        seen.append((place.order < 0, place.phase))

    def evaluate(session, reporter):
        look(session)
        return full_evaluation.none(session)

    monkeypatch.setattr(full_evaluation, "evaluate", evaluate)
    monkeypatch.setattr(fold_training.input_checks, "check_data", lambda session: None)  # there is no ground truth
    monkeypatch.setattr(Reporter, "epoch_done", lambda self, statistics: look(self.session))
    train(setup({**SHORT, "epochs": 1}))
    train(setup({**SHORT, "epochs": 1, "fullEvaluation": {"everyEpochs": 1}}, trainer="Evaluating"))
    assert seen == [(True, "the end of an epoch"), (True, "the full evaluation"), (True, "the full evaluation")]
