"""Snapshots are copies, one at a time; a checkpoint of several names is one file; what cannot be written is told."""

import errno
import os
import threading

import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.checkpoints import checkpoint, files
from nnunet_trainer.contract.faults import StorageFault
from nnunet_trainer.training.state import checkpoint_writer
from nnunet_trainer.training.state.checkpoint_writer import CheckpointWriter
from nnunet_trainer.training.state.snapshot import SnapshotMemory

from trainer.architecture.plans import plain

CPU = torch.device("cpu")


def content(epoch, value=0.0):
    return {"network_weights": {"w": torch.full((4, 4), value)}, "current_epoch": epoch, "logging": {"lrs": [0.1]}}


@pytest.fixture
def writer(tmp_path):
    made = CheckpointWriter(tmp_path, CPU, keep_previous=True)
    yield made
    made.close(60)


def trained():
    network = architecture.build(plain(3), 1, 3, True).to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return network, optimizer


def test_a_snapshot_is_what_the_step_left(tmp_path):
    network, optimizer = trained()
    now = {"network_weights": network.state_dict(), "optimizer_state": optimizer.state_dict(), "current_epoch": 1}
    torch.save(now, tmp_path / "direct.pth")
    memory = SnapshotMemory(CPU)
    taken = memory.take(now).wait()
    optimizer.step()
    torch.save(taken, tmp_path / "snapshot.pth")
    one, other = (checkpoint.load(tmp_path / name) for name in ("direct.pth", "snapshot.pth"))
    assert one["network_weights"].keys() == other["network_weights"].keys()
    for key, value in one["network_weights"].items():
        assert torch.equal(value, other["network_weights"][key]), key
        assert value.stride() == other["network_weights"][key].stride(), key
    momenta = [state["momentum_buffer"] for state in one["optimizer_state"]["state"].values()]
    for value, same in zip(momenta, (s["momentum_buffer"] for s in other["optimizer_state"]["state"].values()), strict=True):
        assert torch.equal(value, same)
    assert one["optimizer_state"]["param_groups"] == other["optimizer_state"]["param_groups"]
    assert taken["network_weights"]._metadata == network.state_dict()._metadata
    assert (tmp_path / "snapshot.pth").stat().st_size <= (tmp_path / "direct.pth").stat().st_size, "shared weights are one memory"


def test_the_memory_of_a_snapshot_is_used_again():
    network, optimizer = trained()
    memory = SnapshotMemory(CPU)

    def take():
        taken = memory.take({"w": network.state_dict(), "o": optimizer.state_dict()}).wait()
        return [value.data_ptr() for value in taken["w"].values()]

    first, size = take(), memory.bytes
    optimizer.step()
    assert take() == first
    assert memory.bytes == size == 2 * 4 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("links", [True, False])
def test_a_checkpoint_of_two_names_is_written_once(tmp_path, monkeypatch, links):
    calls, passed = [], []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint_writer.checkpoint, "save", lambda path, content: calls.append(path.name) or save(path, content))
    if not links:

        def refuse(*paths):
            raise OSError(errno.EPERM, "no hard links")

        monkeypatch.setattr(os, "link", refuse)
    writer = CheckpointWriter(tmp_path, CPU, keep_previous=True, written=lambda path, *rest: passed.append((path.name, *rest)))
    for epoch in (1, 2):
        writer.write(content(epoch), [checkpoint.LATEST, checkpoint.BEST])
        assert writer.wait(60)
    writer.write(content(3), [checkpoint.LATEST])
    writer.close()
    assert calls == [checkpoint.LATEST] * 3
    digests = [passed[i][2] for i in (0, 2, 4)]
    names = [checkpoint.LATEST, checkpoint.BEST] * 2 + [checkpoint.LATEST]
    assert passed == [(name, epoch, digests[epoch - 1]) for name, epoch in zip(names, (1, 1, 2, 2, 3), strict=True)]
    for name, epoch in ((checkpoint.LATEST, 3), (checkpoint.PREVIOUS, 2), (checkpoint.BEST, 2)):
        assert checkpoint.load(tmp_path / name)["current_epoch"] == epoch
        assert checkpoint.digests(tmp_path / name)[0] == digests[epoch - 1]
    assert (tmp_path / checkpoint.PREVIOUS).samefile(tmp_path / checkpoint.BEST) is links
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_a_snapshot_is_not_overwritten_while_it_is_written(tmp_path, writer, monkeypatch):
    go, save = threading.Event(), checkpoint.save

    def slow(path, content):
        assert go.wait(60)
        return save(path, content)

    monkeypatch.setattr(checkpoint_writer.checkpoint, "save", slow)
    state = content(1, 1.0)
    writer.write(state, [checkpoint.LATEST])
    state["network_weights"]["w"].fill_(2)
    state["logging"]["lrs"] = []
    assert not writer.wait(0)
    assert writer.busy_seconds is not None
    with pytest.raises(AssertionError):
        writer.write(content(2), [checkpoint.LATEST])
    go.set()
    assert writer.wait(60)
    assert (checkpoint.load(tmp_path / checkpoint.LATEST)["network_weights"]["w"] == 1).all()


class FailingFile:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("where", ["at once", "in the middle", "fsync", "link", "rename"])
def test_a_full_disk_is_told_and_the_older_one_stays(tmp_path, writer, monkeypatch, where):
    writer.write(content(1), [checkpoint.LATEST, checkpoint.BEST])
    assert writer.wait(60)

    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where in ("at once", "in the middle"):
            path_type, real = type(tmp_path), type(tmp_path).open
            room = 0 if where == "at once" else 700

            def limited(path, mode="r", *more, **named):
                return FailingFile(real(path, mode, *more, **named), room) if mode == "wb" else real(path, mode, *more, **named)

            patch.setattr(path_type, "open", limited)
        else:
            patch.setattr(files.os, {"fsync": "fsync", "link": "link", "rename": "replace"}[where], full)
        writer.write(content(2), [checkpoint.LATEST, checkpoint.BEST])
        assert writer.wait(60), "a full disk is no crash"
        assert isinstance(writer.fault, StorageFault)
        assert "No space left on device" in writer.fault.message
    paths = [tmp_path / name for name in (checkpoint.LATEST, checkpoint.PREVIOUS, checkpoint.BEST)]
    found, problems = checkpoint.newest(paths)
    assert found is not None
    assert found.position[0] == (2 if where == "link" else 1)
    assert problems == []
    assert checkpoint.load(paths[2])["current_epoch"] == 1
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    writer.write(content(3), [checkpoint.LATEST, checkpoint.BEST])
    assert writer.wait(60)
    assert writer.fault is None
    assert [checkpoint.load(paths[i])["current_epoch"] for i in (0, 2)] == [3, 3]


def test_what_nobody_foresaw_comes_to_the_training(writer, monkeypatch):
    def broken(path, content):
        raise TypeError("cannot pickle")

    monkeypatch.setattr(checkpoint_writer.checkpoint, "save", broken)
    writer.write(content(1), [checkpoint.LATEST])
    with pytest.raises(TypeError, match="cannot pickle"):
        writer.wait(60)


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), StorageFault("StorageUnreachable", "no answer")])
def test_whoever_passes_a_checkpoint_on_may_fail(tmp_path, fault, caplog):
    def fail(*arguments):
        raise fault

    writer = CheckpointWriter(tmp_path, CPU, keep_previous=False, written=fail)
    writer.write(content(1), [checkpoint.LATEST])
    assert writer.wait(60)
    assert (writer.fault, writer.last.epoch) == (None, 1)
    assert "checkpoint_latest.pth is written, but not passed on" in caplog.text
    writer.close()
