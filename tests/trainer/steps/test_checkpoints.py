"""Checkpoints go up beside the training, and the newest whole one is found."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore, digests, open_store
from nnunet_trainer.artifacts.digests import FileEntry
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration, Fault, StorageFault
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps.attempts.checkpoints import BEST, attempt_prefix, candidates, fetch_newest
from nnunet_trainer.steps.attempts.patience import Backoff
from nnunet_trainer.steps.attempts.uploads import Uploads

RUN = "runs/ns/run/0123"


class Away:
    """A store that takes no files while this is set; it refuses them, or does not answer."""

    def __init__(self) -> None:
        self.refused, self.hangs = 0, False
        self._away, self._condition = False, threading.Condition()

    def set(self) -> None:
        self._away = True

    def clear(self) -> None:
        with self._condition:
            self._away = False
            self._condition.notify_all()

    def wait_for(self, refused: int) -> None:
        with self._condition:
            assert self._condition.wait_for(lambda: self.refused >= refused, 60)

    def guard(self, store: ObjectStore, fault: Fault) -> ObjectStore:
        real = store.put_file

        def put_file(path: Path, key: str) -> None:
            with self._condition:
                if self._away and self.hangs:
                    assert self._condition.wait_for(lambda: not self._away, 60)
                if self._away:
                    self.refused += 1
                    self._condition.notify_all()
                    raise fault
            real(path, key)

        store.put_file = put_file  # type: ignore[method-assign]
        return store


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(Location(uri=f"file://{tmp_path}/store"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


class Training:
    """Writes checkpoints as a training does: always to the same name, by renaming."""

    def __init__(self, folder: Path, uploads: Uploads) -> None:
        self.folder, self.uploads = folder, uploads

    def save(self, epoch: int, name: str = "checkpoint_latest.pth") -> bytes:
        content = f"{name} {epoch}".encode() * 100
        beside = self.folder / "beside"
        beside.write_bytes(content)
        beside.rename(self.folder / name)
        self.uploads.written(self.folder / name, epoch, digests.of_bytes(content))
        return content


def write(store: ObjectStore, tmp_path: Path, work: Path, attempt: int, epochs: list[int], keep: int = 2) -> list[Progress]:
    heard: list[Progress] = []
    uploads = Uploads(store, attempt_prefix(RUN, attempt, "0"), keep, heard.append, work)
    training = Training(tmp_path, uploads)
    uploads.hear(Progress(step="train", phase="training"))
    for epoch in epochs:
        training.save(epoch)
        _drain(uploads)
    assert uploads.close(60) is None
    uploads.hear(Progress(step="train", phase="training", epoch=epochs[-1]))
    return heard


def _drain(uploads: Uploads) -> None:
    with uploads._condition:
        assert uploads._condition.wait_for(lambda: not uploads._waiting and not uploads._busy, 60)


def test_the_newest_are_kept_and_told(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    heard = write(store, tmp_path, work, 0, [1, 2, 3, 4])
    found, best = candidates(store, RUN, "0")
    assert [c.stored.epoch for c in found] == [4, 3]
    assert best == []
    assert (heard[-1].checkpoint_epoch, heard[-1].warnings) == (4, None)
    assert heard[-1].checkpoint_uri is not None
    assert heard[-1].checkpoint_uri.startswith(store.uri(f"{RUN}/attempts/0/fold_0/checkpoint_00004"))
    assert list(work.iterdir()) == []


UIDS = ("0b1c2d3e-0000-4000-8000-000000000001", "f" * 36)


def test_jobs_with_one_number_keep_apart_and_all_are_found(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    """A run of another cluster, or the same run made anew, counts its attempts from 0 too."""
    jobs = (None, *UIDS)  # without a Job: as version 0.1.0
    for i, job in enumerate(jobs):
        uploads = Uploads(store, attempt_prefix(RUN, 0, "0", job), 1, lambda p: None, work)
        training = Training(tmp_path, uploads)
        training.save(i + 1)
        training.save(i + 1, "checkpoint_best.pth")
        uploads.close(60)
    found, best = candidates(store, RUN, "0")
    assert [c.stored.epoch for c in found] == [3, 2, 1]
    assert sorted(c.stored.epoch for c in best) == [1, 2, 3]
    folders = {key.rpartition("/")[0] for key in (c.key for c in found)}
    assert folders == {f"{RUN}/attempts/0/fold_0", *(f"{RUN}/attempts/0-{uid}/fold_0" for uid in UIDS)}
    newest = fetch_newest(store, found, work)
    assert newest is not None
    assert newest[1].epoch == 3


@pytest.mark.parametrize(
    ("given", "uid"), [("", None), (UIDS[0], UIDS[0]), ("../x", None), ("a/b", None), ("x" * 65, None), ("a b", None)]
)
def test_the_uid_of_a_job_is_a_name_of_a_folder_or_none(monkeypatch: pytest.MonkeyPatch, given: str, uid: str | None) -> None:
    monkeypatch.setenv(pod.ENV_JOB_UID, given)
    assert pod.job_uid() == uid


def test_the_best_is_kept_whatever_comes_after(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    uploads = Uploads(store, attempt_prefix(RUN, 0, "0"), 1, lambda p: None, work)
    training = Training(tmp_path, uploads)
    content = training.save(1, "checkpoint_best.pth")
    for epoch in (1, 2, 3):
        training.save(epoch)
        _drain(uploads)
    uploads.close(60)
    found, best = candidates(store, RUN, "0")
    assert [c.stored.epoch for c in found] == [3]
    assert [(c.stored.name, c.stored.epoch) for c in best] == [(BEST, 1)]
    newest = fetch_newest(store, best, work)
    assert newest is not None
    assert newest[0].read_bytes() == content


def test_a_copy_that_fills_the_disk_does_not_stay(
    store: ObjectStore, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links")

    def copy(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    uploads = Uploads(store, attempt_prefix(RUN, 0, "0"), 1, lambda p: None, work)
    training = Training(tmp_path, uploads)
    monkeypatch.setattr(os, "link", link)
    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfile", copy)
        with pytest.raises(OSError, match="No space left"):
            training.save(1)
        assert list(work.iterdir()) == []
    training.save(2)
    assert uploads.close(60) is None
    assert [c.stored.epoch for c in candidates(store, RUN, "0")[0]] == [2]


def test_the_best_of_an_epoch_is_the_latest_ones_file(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    uploads = Uploads(store, attempt_prefix(RUN, 0, "0"), 2, lambda p: None, work)
    training = Training(tmp_path, uploads)
    put: list[str] = []
    real = store.put_file
    store.put_file = lambda path, key: (put.append(key), real(path, key))[1]  # type: ignore[method-assign]

    def save(epoch: int, *, better: bool) -> None:
        content = training.save(epoch)
        if better:
            (tmp_path / "checkpoint_best.pth").unlink(missing_ok=True)
            (tmp_path / "checkpoint_best.pth").hardlink_to(tmp_path / "checkpoint_latest.pth")
            uploads.written(tmp_path / "checkpoint_best.pth", epoch, digests.of_bytes(content))
        _drain(uploads)

    def files() -> list[str]:
        return sorted(Path(info.key).name for info in store.list(f"{RUN}/"))

    for epoch, better in ((1, True), (2, False), (3, False), (4, False)):
        save(epoch, better=better)
    found, best = candidates(store, RUN, "0")
    assert [c.stored.epoch for c in found] == [4, 3]
    assert [c.stored.epoch for c in best] == [1]
    assert len([name for name in files() if name.endswith(".pth")]) == 3, "the best one's file stays, though it is old"
    for wanted, which in ((4, found), (1, best)):
        newest = fetch_newest(store, which, work / str(wanted))
        assert newest is not None
        assert newest[0].read_bytes() == f"checkpoint_latest.pth {wanted}".encode() * 100
    save(5, better=True)
    uploads.close(60)
    assert len([name for name in files() if name.endswith(".pth")]) == 2, files()
    assert len(put) == 5, "once an epoch"


QUICK = Backoff(first=0.001, most=0.01, patience=60)


@pytest.mark.parametrize(
    "fault", [StorageFault("StorageUnreachable", "no answer"), BadConfiguration("StorageAccessDenied", "expired")]
)
def test_a_store_that_is_away_is_told_and_asked_until_it_answers(
    store: ObjectStore, tmp_path: Path, work: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    away = Away()
    heard: list[Progress] = []
    uploads = Uploads(away.guard(store, fault), attempt_prefix(RUN, 0, "0"), 2, heard.append, work, QUICK)
    training = Training(tmp_path, uploads)
    uploads.hear(Progress(step="train", epoch=1, checkpoint_epoch=1, checkpoint_sha256="of the file on this disk"))
    assert (heard[-1].checkpoint_epoch, heard[-1].checkpoint_sha256) == (None, None), "it is not in the store"
    training.save(1)
    _drain(uploads)
    away.set()
    warning = f"Checkpoints from epoch 2 on are not in the store: {fault.message}"
    for epoch in (2, 3):
        before = away.refused
        training.save(epoch)
        training.save(epoch, "checkpoint_best.pth")
        away.wait_for(before + 3)
        assert heard[-1].checkpoint_epoch == 1
        assert heard[-1].warnings == [warning], "one warning, however long it lasts"
    assert len(list(work.iterdir())) <= 4, "what waits: the newest, the best, and what was going up when they came"
    assert caplog.text.count("are not in the store") == 1
    folder = store.local_path(uploads.prefix)
    assert folder is not None
    left, going_up = folder / ".partial-checkpoint_00002_00002.pth-1-2", folder / "validation" / ".partial-case.nii.gz-1-2"
    for path in (left, going_up):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    away.clear()
    _drain(uploads)
    assert uploads.problem is None
    uploads.hear(Progress(step="train", epoch=3))
    assert (heard[-1].checkpoint_epoch, heard[-1].warnings) == (3, None)
    assert uploads.close(60) is None
    assert (left.exists(), going_up.exists()) == (False, True), "what another thread of the attempt puts is its own"
    found, best = candidates(store, RUN, "0")
    assert ([c.stored.epoch for c in found], [c.stored.epoch for c in best]) == ([3, 1], [3])
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("hangs", [False, True])
def test_uploads_end_when_the_time_is_over_and_say_what_is_lost(
    store: ObjectStore, tmp_path: Path, work: Path, hangs: bool
) -> None:
    away = Away()
    uploads = Uploads(
        away.guard(store, StorageFault("StorageUnreachable", "no answer")), attempt_prefix(RUN, 0, "0"), 2, lambda p: None, work
    )
    training = Training(tmp_path, uploads)
    training.save(1)
    _drain(uploads)
    away.hangs = hangs
    away.set()
    training.save(2)
    if not hangs:
        away.wait_for(2)  # the first is known by then
    problem = uploads.close(0.3)
    assert problem is not None
    assert ("its upload takes longer than the 0 s" if hangs else "from epoch 2 on are not in the store: no answer") in problem
    assert uploads.newest is not None
    assert uploads.newest.epoch == 1
    away.clear()
    uploads._thread.join(60)
    assert not uploads._thread.is_alive()
    assert [c.stored.epoch for c in candidates(store, RUN, "0")[0]] == [1], "what is abandoned is not described after all"


def test_a_warning_is_said_as_long_as_it_lasts(store: ObjectStore, work: Path) -> None:
    heard: list[Progress] = []
    uploads = Uploads(store, attempt_prefix(RUN, 0, "0"), 2, heard.append, work)
    uploads.hear(Progress(step="train", phase="training", epoch=7, warnings=["of the training"]))
    for warning in ("waits", None):
        uploads.say("uploading", warning)
    assert [(p.phase, p.epoch, p.warnings) for p in heard[1:]] == [
        ("uploading", 7, ["of the training", "waits"]),
        ("uploading", 7, ["of the training"]),
    ]
    uploads.close(60)


@pytest.mark.parametrize("becomes", ["uploaded", "refused"])
def test_a_checkpoint_that_is_going_up_is_waited_for_as_long_as_that_works(
    store: ObjectStore, tmp_path: Path, work: Path, becomes: str
) -> None:
    away = Away()
    guarded = away.guard(store, StorageFault("StorageFull", "full"))
    uploads = Uploads(guarded, attempt_prefix(RUN, 0, "0"), 2, lambda p: None, work, QUICK)
    training = Training(tmp_path, uploads)
    training.save(1)
    _drain(uploads)
    away.hangs = becomes == "uploaded"
    away.set()
    content = training.save(2, "checkpoint_final.pth")
    if becomes == "uploaded":
        threading.Timer(0.05, away.clear).start()
    entry = FileEntry(path="checkpoint_final.pth", size=len(content), sha256=digests.of_bytes(content))
    key = uploads.key_of(entry)
    if becomes == "uploaded":
        assert key is not None
        assert store.get(key) == content
    else:
        assert key is None
        away.clear()
    assert uploads.key_of(replace(entry, sha256="of nothing that was saved")) is None
    uploads.close(60)


def test_the_last_checkpoint_is_up_when_uploads_are_closed(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    """However fast they come: what waits is replaced by what is newer, and the newest is never dropped."""
    uploads = Uploads(store, attempt_prefix(RUN, 0, "0"), 2, lambda p: None, work)
    training = Training(tmp_path, uploads)
    for epoch in range(1, 60):
        training.save(epoch)
    assert uploads.close(60) is None
    found, _ = candidates(store, RUN, "0")
    assert found[0].stored.epoch == 59
    assert fetch_newest(store, found, tmp_path / "resume") is not None
    assert list(work.iterdir()) == []


def test_the_most_advanced_of_all_attempts_is_found(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    write(store, tmp_path, work, 0, [1, 2, 3])
    write(store, tmp_path, work, 1, [3])
    write(store, tmp_path, work, 2, [1])
    found, _ = candidates(store, RUN, "0")
    assert [(c.stored.epoch, c.order[1]) for c in found] == [(3, 1), (3, 0), (2, 0), (1, 2)]
    assert candidates(store, RUN, "1") == ([], [])


@pytest.mark.parametrize("harm", ["cut", "other", "gone", "no description"])
def test_one_that_is_not_whole_is_passed_over(store: ObjectStore, tmp_path: Path, work: Path, harm: str) -> None:
    write(store, tmp_path, work, 0, [1, 2])
    key = candidates(store, RUN, "0")[0][0].key
    whole = store.get(f"{key}.pth")
    {
        "cut": lambda: store.put(f"{key}.pth", whole[:-5]),
        "other": lambda: store.put(f"{key}.pth", whole[::-1]),
        "gone": lambda: store.delete(f"{key}.pth"),
        "no description": lambda: store.put(f"{key}.json", b"{"),
    }[harm]()
    found, _ = candidates(store, RUN, "0")
    newest = fetch_newest(store, found, tmp_path / "resume")
    assert newest is not None
    assert newest[0].read_bytes() == b"checkpoint_latest.pth 1" * 100


def test_a_store_that_is_away_at_the_start_is_no_reason_to_begin_anew(store: ObjectStore, tmp_path: Path, work: Path) -> None:
    write(store, tmp_path, work, 0, [1])
    found, _ = candidates(store, RUN, "0")

    def away(*arguments: object) -> None:
        raise StorageFault("StorageUnreachable", "no answer")

    store.stat = away  # type: ignore[method-assign]
    with pytest.raises(StorageFault):
        fetch_newest(store, found, tmp_path / "resume")
