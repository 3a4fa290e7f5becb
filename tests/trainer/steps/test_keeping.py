"""What the next attempt goes on with is put once, by the clock and at the end, and what could not be is counted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.contract.faults import StorageFault
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps.attempts.keeping import Keeper


class Folder:
    """Files that come, and a store for them that notes what is put."""

    def __init__(self, path: Path) -> None:
        self.path, self.put = path / "validation", list[str]()
        self.path.mkdir()
        self.store = open_store(Location(uri=f"file://{path}/store"))
        real = self.store.put_file

        def put_file(file: Path, key: str) -> None:
            self.put.append(key)
            real(file, key)

        self.store.put_file = put_file  # type: ignore[method-assign]

    def write(self, *names: str, text: str = "x") -> None:
        for name in names:
            (self.path / name).write_text(text)

    def files(self) -> dict[Path, str]:
        return {path: f"p/{path.name}" for path in sorted(self.path.iterdir())}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_files_are_put_once_and_again_when_they_change(folder: Folder) -> None:
    keeper = Keeper(folder.store, folder.files, minutes=60)
    folder.write("a", "b", ".being-written")
    assert keeper.keep(60) is None
    folder.write("c")
    folder.write("a", text="longer")
    assert keeper.keep(60) is None
    assert sorted(folder.put[:2]) == ["p/a", "p/b"]
    assert sorted(folder.put[2:]) == ["p/a", "p/c"]
    assert folder.store.get("p/a") == b"longer"


@pytest.mark.parametrize(("minutes", "wanted"), [(0, ["p/a"]), (60, [])])
def test_it_is_done_by_the_clock(folder: Folder, minutes: float, wanted: list[str]) -> None:
    keeper = Keeper(folder.store, folder.files, minutes)
    folder.write("a")
    keeper.look()
    if keeper._thread is not None:
        keeper._thread.join(60)
    assert folder.put == wanted


@pytest.mark.parametrize("hangs", [False, True])
def test_what_could_not_be_kept_is_counted(folder: Folder, hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(*(f"case_{i:02d}.nii.gz" for i in range(20)))
    go = threading.Event()
    _away_from(folder.store, 12, go if hangs else None)
    if hangs:
        join = threading.Thread.join

        def until_the_others_are_put(thread: threading.Thread, timeout: float | None = None) -> None:
            while thread.name == "keeping" and len([*folder.store.list("p/")]) < 12:
                join(thread, 0.01)
            if thread.name != "keeping":
                join(thread, timeout)

        monkeypatch.setattr(threading.Thread, "join", until_the_others_are_put)
    problem = Keeper(folder.store, folder.files, minutes=60).keep(60)
    assert problem is not None
    assert problem.startswith("8 of 20 files that the next attempt could go on with are not in the store: ")
    assert problem.endswith("the 60 s that were left are over." if hangs else "no answer")
    assert len([*folder.store.list("p/")]) == 12
    go.set()


def _away_from(store: ObjectStore, case: int, go: threading.Event | None) -> None:
    """From this case on the store does not answer, or says that it is away."""
    real = store.put_file

    def put_file(path: Path, key: str) -> None:
        if int(path.name[5:7]) >= case:
            if go is None:
                raise StorageFault("StorageUnreachable", "no answer")
            assert go.wait(60)
        real(path, key)

    store.put_file = put_file  # type: ignore[method-assign]
