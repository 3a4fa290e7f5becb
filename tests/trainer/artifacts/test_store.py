"""What every store does alike."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.artifacts.opening import open_file
from nnunet_trainer.artifacts.store import ObjectNotFound
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.work_order import Location


def test_what_is_put_is_got(store: ObjectStore) -> None:
    store.put("a/b/c.json", b"one")
    store.put("a/b/c.json", b"two")
    assert store.get("a/b/c.json") == b"two"
    assert store.uri("a/b/c.json") == f"{store.root}/a/b/c.json"


def test_a_missing_object_is_none_or_an_error_that_names_it(store: ObjectStore, tmp_path: Path) -> None:
    assert store.stat("a/none") is None
    with pytest.raises(ObjectNotFound, match="a/none"):
        store.get("a/none")
    with pytest.raises(ObjectNotFound, match="a/none") as caught:
        store.get_file("a/none", tmp_path / "x")
    assert caught.value.exit_code == ExitCode.BAD_DATA
    assert list(tmp_path.glob("*x*")) == []


def test_an_empty_prefix_lists_nothing(store: ObjectStore) -> None:
    assert list(store.list()) == []
    assert list(store.list("no/such/")) == []


def test_list_is_sorted_and_takes_a_prefix_of_keys_not_of_folders(store: ObjectStore) -> None:
    for key in ("b/2", "b/10", "bb/1", "a", "b/sub/3"):
        store.put(key, key.encode())
    assert [i.key for i in store.list()] == sorted(["a", "b/10", "b/2", "b/sub/3", "bb/1"])
    assert [i.key for i in store.list("b/")] == ["b/10", "b/2", "b/sub/3"]
    assert [i.key for i in store.list("b")] == ["b/10", "b/2", "b/sub/3", "bb/1"]
    assert [i.key for i in store.list("b/1")] == ["b/10"]
    assert {i.key: i.size for i in store.list("bb")} == {"bb/1": 4}


def test_stat_and_list_agree(store: ObjectStore) -> None:
    store.put("x/y", b"12345")
    assert store.stat("x/y") == next(iter(store.list("x/")))


def test_a_tag_changes_with_the_content(store: ObjectStore) -> None:
    store.put("x", b"12345")
    before = store.stat("x")
    store.put("x", b"54321")
    assert store.stat("x") != before


def test_only_the_first_put_if_absent_wins(store: ObjectStore) -> None:
    assert store.put_if_absent("m.json", b"first")
    assert not store.put_if_absent("m.json", b"second")
    assert store.get("m.json") == b"first"


def test_one_of_many_writers_at_once_wins(store: ObjectStore) -> None:
    with ThreadPoolExecutor(12) as pool:
        won = list(pool.map(lambda i: store.put_if_absent("m", str(i).encode()), range(12)))
    assert sum(won) == 1
    assert store.get("m") == str(won.index(True)).encode()


def test_files_of_any_size_come_back_as_they_were(store: ObjectStore, tmp_path: Path) -> None:
    rng = random.Random(1)
    for size in (0, 1, 1000, 17 * 2**20):
        source = tmp_path / "in"
        source.write_bytes(rng.randbytes(size))
        store.put_file(source, f"f/{size}")
        store.get_file(f"f/{size}", tmp_path / "deep" / "out")
        assert (tmp_path / "deep" / "out").read_bytes() == source.read_bytes()
        found = store.stat(f"f/{size}")
        assert found is not None
        assert found.size == size
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


def test_an_object_is_copied_within_the_store(store: ObjectStore, tmp_path: Path) -> None:
    store.put("x/source", b"12345")
    store.put("y/target", b"another")
    assert store.copy("x/source", "y/target", 5)
    assert store.copy("x/source", "y/new/target", 5)
    store.put("x/source", b"later")
    assert [store.get(key) for key in ("y/target", "y/new/target")] == [b"12345"] * 2
    store.delete("x/source")
    store.get_file("y/new/target", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"12345"
    assert [info.key for info in store.list()] == ["y/new/target", "y/target"]


@pytest.mark.parametrize(("source", "size"), [("x", 4), ("none", 5)])
def test_what_cannot_be_copied_leaves_what_is_there(store: ObjectStore, source: str, size: int) -> None:
    store.put("x", b"12345")
    store.put("target", b"before")
    assert not store.copy(source, "target", size)
    assert not store.copy(source, "new", size)
    assert store.get("target") == b"before"
    assert [info.key for info in store.list()] == ["target", "x"]


def test_delete_is_done_once_and_asked_for_twice(store: ObjectStore) -> None:
    store.put("x", b"")
    store.delete("x")
    store.delete("x")
    assert store.stat("x") is None


def test_a_location_below_another_sees_its_part(location: Location, store: ObjectStore) -> None:
    from nnunet_trainer.artifacts.location import child

    store.put("datasets/D/1/manifest.json", b"{}")
    below = open_store(child(location, "datasets/D/1"))
    assert below.get("manifest.json") == b"{}"
    folder, name = open_file(child(location, "datasets/D/1/manifest.json"))
    assert folder.get(name) == b"{}"
