"""The object store keeps what an API server would keep, whatever happens to the process that writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_operator.local.object_store.store import Conflict, Store
from nnunet_operator.local.object_store.three_way_merge import merged
from nnunet_trainer.contract.faults import BadUsage, Temporary

Manifest = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def thing(name: str = "one", spec: Manifest | None = None, kind: str = "Dataset", **metadata: Any) -> Manifest:
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec or {"a": 1}}


def test_metadata_is_kept_as_an_api_server_keeps_it(store: Store) -> None:
    first, said = store.apply(thing(), "user")
    meta = first["metadata"]
    assert (said, meta["generation"], meta["namespace"]) == ("created", 1, "default")
    again, said = store.apply(thing(), "user")
    assert (said, again) == ("unchanged", first)
    changed, said = store.apply(thing(spec={"a": 2}), "user")
    assert (said, changed["metadata"]["generation"], changed["metadata"]["uid"]) == ("configured", 2, meta["uid"])
    assert int(changed["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])
    with_status = store.set_status(changed, {"phase": "x"})
    assert with_status is not None
    assert with_status["metadata"]["generation"] == 2, "a status is no new generation"
    revision = store.revision()
    store.set_status(changed, {"phase": "x"})
    assert store.revision() == revision, "the same status is not written again"
    labelled, _ = store.apply(thing(spec={"a": 2}, labels={"x": "y"}), "user")
    assert labelled["metadata"]["generation"] == 2
    assert labelled["status"] == {"phase": "x"}


def test_each_manager_takes_away_only_its_own(store: Store) -> None:
    store.apply(thing(spec={"mine": 1, "both": {"a": 1, "b": 2}}), "user")
    store.edit("Dataset", "default", "one", lambda new: new["spec"].update(suspend=True))
    found, _ = store.apply(thing(spec={"both": {"b": 3}}), "user")
    assert found["spec"] == {"both": {"b": 3}, "suspend": True}


def test_names_conflict_and_immutable_maps_stay(store: Store) -> None:
    store.create(thing())
    with pytest.raises(Conflict, match="Dataset default/one already exists"):
        store.create(thing())
    frozen = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "order"}, "immutable": True, "data": {"k": "v"}}
    store.apply(frozen, "operator")
    assert store.apply(frozen, "operator")[1] == "unchanged"
    with pytest.raises(Conflict, match="immutable"):
        store.apply({**frozen, "data": {"k": "other"}}, "operator")


def test_deleting_checks_the_uid_and_waits_for_finalizers(store: Store) -> None:
    first = store.create(thing())
    assert not store.delete("Dataset", "default", "one", uid="another")
    assert store.delete("Dataset", "default", "one", uid=first["metadata"]["uid"])
    assert store.get("Dataset", "default", "one") is None
    assert not store.delete("Dataset", "default", "one")
    store.create(thing(finalizers=["x"]))
    store.delete("Dataset", "default", "one")
    found = store.get("Dataset", "default", "one")
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]
    store.edit("Dataset", "default", "one", lambda new: new["metadata"].update(finalizers=[]))
    assert store.get("Dataset", "default", "one") is None


def test_what_is_read_is_a_copy(store: Store) -> None:
    store.create(thing())
    for read in (lambda: store.get("Dataset", "default", "one"), lambda: store.all("Dataset")[0]):
        read()["spec"]["a"] = "changed by the reader"
        assert read()["spec"] == {"a": 1}


def test_another_process_sees_and_is_seen(store: Store) -> None:
    other = Store(store.root)
    store.create(thing())
    found = other.get("Dataset", "default", "one")
    assert found
    other.set_status(found, {"phase": "other"})
    assert store.get("Dataset", "default", "one")["status"] == {"phase": "other"}  # type: ignore[index]


def test_one_process_works_at_a_time(store: Store) -> None:
    with (
        store.working(),
        pytest.raises(Temporary, match=f"Process {os.getpid()} works on .*store already"),
        Store(store.root).working(),
    ):
        pass
    with Store(store.root).working():
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadUsage, match="holds something else"):
        Store(tmp_path)
    with pytest.raises(BadUsage, match="is no name"):
        Store(tmp_path / "new").get("Dataset", "default", "../../thesis")


def test_a_kill_leaves_whole_objects(tmp_path: Path) -> None:
    writer = textwrap.dedent("""
        import sys
        from pathlib import Path
        from nnunet_operator.local.object_store.store import Store
        store = Store(Path(sys.argv[1]))
        print("ready", flush=True)
        n = 0
        while True:
            n += 1
            thing = {"kind": "Dataset", "metadata": {"name": f"d{n % 3}"}, "spec": {"n": n, "same": [n] * 2000}}
            store.apply(thing, "writer")
            print(n, flush=True)
    """)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", writer, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        written = [int(process.stdout.readline()) for _ in range(5)][-1]
        process.send_signal(signal.SIGKILL)
        written = max([written, *map(int, process.stdout.read().split("\n")[:-1])])
        process.wait()
        found = Store(tmp_path / "s").all("Dataset")
        assert all(set(item["spec"]["same"]) == {item["spec"]["n"]} for item in found)
        assert max(item["spec"]["n"] for item in found) >= written, "what was acknowledged is there"
    assert not [f for f in (tmp_path / "s" / "objects").rglob("*.json") if json.loads(f.read_text())["kind"] != "Dataset"]


values = st.recursive(st.integers(0, 3), lambda v: st.dictionaries(st.sampled_from("abc"), v, max_size=3), max_leaves=8)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@settings(derandomize=True, deadline=None)
@given(objects)
def test_applying_twice_is_applying_once(wanted: Manifest) -> None:
    assert merged(wanted, wanted, wanted) == wanted


@settings(derandomize=True, deadline=None)
@given(objects, objects)
def test_alone_a_manager_gets_exactly_what_it_wants(first: Manifest, second: Manifest) -> None:
    assert _filled(merged(first, first, second)) == _filled(second)


@settings(derandomize=True, deadline=None)
@given(objects, objects, objects)
def test_what_is_wanted_is_there_afterwards(live: Manifest, last: Manifest, wanted: Manifest) -> None:
    assert _contains(merged(live, last, wanted), wanted)


def _filled(data: Any) -> Any:
    """Without empty objects: whether `{}` stays is of no matter."""
    if not isinstance(data, dict):
        return data
    return {key: value for key, item in data.items() if (value := _filled(item)) != {}}


def _contains(whole: Any, part: Any) -> bool:
    if not isinstance(part, dict) or not isinstance(whole, dict):
        return bool(whole == part)
    return all(key in whole and _contains(whole[key], value) for key, value in part.items())


def test_what_is_read_is_the_readers_own_at_every_depth(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"a": [{"b": {"c": [1, None, "x", True, 2.5]}}]}})
    for read in (
        lambda: store.get("Pod", "default", "p"),
        lambda: store.all("Pod")[0],
        lambda: store.edit("Pod", "default", "p", id),
    ):
        first, again = read(), read()
        assert first == again
        assert first is not None
        first["spec"]["a"][0]["b"]["c"].append("mine")
        first["spec"]["a"][0]["b"]["d"] = {}
        assert read() == again
