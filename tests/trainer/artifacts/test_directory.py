from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore, directory, open_store
from nnunet_trainer.contract.faults import ExitCode, Fault
from nnunet_trainer.contract.work_order import Location


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(Location(uri=f"file://{tmp_path}"))


def test_a_full_disk_leaves_the_old_object_and_no_part(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/x", b"old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(directory.os, "fsync", full)
    for write in (
        lambda: store.put("a/x", b"new"),
        lambda: store.put_if_absent("a/y", b"new"),
        lambda: store.put_file(tmp_path / "a/x", "a/z"),
    ):
        with pytest.raises(Fault) as caught:
            write()
        assert (caught.value.reason, caught.value.exit_code) == ("StorageFull", ExitCode.IO_ERROR)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["x"]
    assert store.get("a/x") == b"old"


def test_a_file_system_without_links_still_puts_once(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(directory.os, "link", refuse)
    assert store.put_if_absent("m", b"first")
    assert not store.put_if_absent("m", b"second")
    assert store.get("m") == b"first"


def test_what_was_left_half_written_is_not_listed(store: ObjectStore, tmp_path: Path) -> None:
    store.put("x", b"1")
    (tmp_path / ".partial-y-1-2-3").write_bytes(b"torn")
    assert [i.key for i in store.list()] == ["x"]


def test_a_refused_folder_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault) as caught:
        open_store(Location(uri=f"file://{tmp_path}/file/below")).put("x", b"")
    assert str(tmp_path) in str(caught.value)


def test_what_writers_that_died_left_is_removed(tmp_path: Path) -> None:
    store = open_store(Location(uri=f"file://{tmp_path}"))
    store.put("attempts/0/fold_0/whole.pth", b"1")
    left = [f"attempts/0/fold_{fold}/{directory.PARTIAL}a.pth-1-2-3" for fold in (0, 1)] + [
        f"elsewhere/{directory.PARTIAL}a.pth-1-2-3"
    ]
    for name in left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    assert store.discard_unfinished("attempts/", "/fold_0/") == 1
    assert [(tmp_path / name).exists() for name in left] == [False, True, True]
    assert store.discard_unfinished("attempts/") == 1
    assert (tmp_path / left[2]).exists()
    assert [info.key for info in store.list()] == ["attempts/0/fold_0/whole.pth"]
