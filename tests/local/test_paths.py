"""Paths beside a manifest, folders that stand in for URIs, results: each is the path as it is written."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_operator.local.commands.output import closing_table
from nnunet_operator.local.object_store import manifest_files
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.local.session.uri_map import UriMap, parse
from nnunet_trainer.contract import uri as uris
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage

NAMES = [
    "a#b",
    "?a",
    "a%20b",
    "%",
    " a b ",
    "dätä",
    "da\u0308ta\u0308",
    "a+b&c=d",
    "a:b",
    "~a",
    "~root",
    "'a\"b",
    "a\\b",
    "$HOME",
    "[a]*",
    "localhost",
]


def _absolute(folder: Path, text: str, field: str = "source") -> str:
    manifest = {
        "apiVersion": "nnunet.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": "d"},
        "spec": {field: {"uri": text}},
    }
    (folder / "d.yaml").write_text(yaml.safe_dump(manifest, allow_unicode=True))
    (found,) = manifest_files.read([str(folder / "d.yaml")], "default")
    return str(found["spec"][field]["uri"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["source", "storage", "pretrained"])
def test_a_path_is_the_one_that_is_written(tmp_path: Path, name: str, field: str) -> None:
    there = f"file://{tmp_path}/{name}/x"
    for text in (f"./{name}/x", f"{tmp_path}/{name}/x", f"file:./{name}/x", f"file://./{name}/x", there, f"./y/..//{name}/x/"):
        assert _absolute(tmp_path, text, field) == there
    assert uris.parse(there).path == f"{tmp_path}/{name}/x"


def test_a_folder_whose_name_is_odd_holds_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "a #%41?"
    folder.mkdir()
    assert _absolute(folder, "x") == f"file://{folder}/x"


@pytest.mark.parametrize("text", ["~/x", "file:~/x", "file://~/x"])
def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _absolute(tmp_path, text) == f"file://{tmp_path}/home/x"
    assert _absolute(tmp_path, "./~/x") == f"file://{tmp_path}/~/x"


@pytest.mark.parametrize(
    "text", ["s3://b/a#b", "pvc://c/a%20b", "C:\\data", "s3:b/x", "http://x/y", "", "file:", "file://", "FILE:///x"]
)
def test_what_is_no_path_stays_for_the_rules_of_the_api(tmp_path: Path, text: str) -> None:
    assert _absolute(tmp_path, text) == text


def test_localhost_is_this_machine(tmp_path: Path) -> None:
    assert _absolute(tmp_path, "file://localhost/x") == "file:///x"


def test_a_folder_whose_name_is_no_utf8_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    with pytest.raises(BadConfiguration, match="not UTF-8") as caught:
        _absolute(folder, "./x")
    str(caught.value).encode()


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadConfiguration, match="cannot be followed"):
        _absolute(tmp_path, "./loop/x")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_stands_in_for_the_uri_that_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    store = Store(tmp_path / "store")
    for n, text in enumerate((f"s3://b/{name}/x", f"s3://b/{name}{name}/x", f"s3://b/{name}")):
        store.create({"kind": "Dataset", "metadata": {"name": f"d{n}"}, "spec": {"source": {"uri": text}}})
    mapped = UriMap(store, [parse(f"s3://b/{name}={folder}")])
    seen = [mapped.get("Dataset", "default", f"d{n}") for n in range(3)]
    assert [s and s["spec"]["source"]["uri"] for s in seen] == [f"file://{folder}/x", f"s3://b/{name}{name}/x", f"file://{folder}"]


def test_a_mapping_that_can_be_read_in_two_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("1/raw=images").mkdir(parents=True)
    Path("images").mkdir()
    assert parse(f"s3://b/run=1/raw={tmp_path}/images") == ("s3://b/run=1/raw", tmp_path / "images")
    with pytest.raises(BadUsage, match=r"s3://b/run = 1/raw=images or s3://b/run=1/raw = images"):
        parse("s3://b/run=1/raw=images")


@pytest.mark.parametrize("prefix", ["s3://", "s3://b//raw", "s3://b/../raw", "http://b/raw", "s3://b#c"])
def test_a_mapping_of_no_uri(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(BadUsage):
        parse(f"{prefix}={tmp_path}")


@pytest.mark.parametrize("name", NAMES)
def test_results_are_shown_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert closing_table.place(f"file:///elsewhere/{name}") == f"/elsewhere/{name}"
    assert closing_table.place(uris.of_path(tmp_path / name)) == name


def test_what_to_do_next_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my store #1" / "Dataset001_X" / "nnUNetTrainer__nnUNetPlans__2d" / "fold_0"
    run = {
        "kind": "TrainingRun",
        "metadata": {"name": "r"},
        "spec": {"plansRef": {"name": "p"}},
        "status": {"results": {"uri": "file:///x"}, "meanDice": 0.5, "folds": [{"name": "0", "folder": uris.of_path(folder)}]},
    }
    lines = [
        shlex.split(line) for line in closing_table.closing([run], "").splitlines() if " predict " in line or " report " in line
    ]
    model = str(folder.parent.relative_to(tmp_path))
    assert [line[line.index("--model") + 1] if "--model" in line else line[-1] for line in lines] == [model, model]
    assert "--plugins" not in lines[0]
    rows = [{"name": "steps", "needed": True}, {"name": "planner", "needed": False}]
    plans = {"kind": "Plans", "metadata": {"name": "p", "generation": 1}, "spec": {}, "status": {"plugins": rows}}
    predict = next(line for line in closing_table.closing([run, plans], "").splitlines() if " predict " in line)
    assert predict.endswith(" --plugins FOLDER_OF_steps")


def _run(name: str, state: str, reason: str, *, stalled: bool) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": f"{name} is so"}
    conditions = [ready, {"type": "Stalled", "status": "True"}] if stalled else [ready]
    return {
        "kind": "TrainingRun",
        "metadata": {"name": name, "generation": 1},
        "spec": {"configuration": "2d"},
        "status": {"observedGeneration": 1, "conditions": conditions, "folds": [{"name": "0", "state": state}]},
    }


def test_what_failed_comes_before_what_waits_for_it() -> None:
    runs = [
        _run("a-waits", "Pending", "WaitingForRun", stalled=False),
        _run("b-refused", "Pending", "SourceFailed", stalled=True),
        _run("c-failed", "Failed", "PluginFailed", stalled=True),
    ]
    said = closing_table.closing(runs, "")
    assert said.index("c-failed: PluginFailed") < said.index("b-refused: SourceFailed") < said.index("a-waits: WaitingForRun")
    assert "describe trainingrun c-failed" in said
    assert "logs trainingrun/c-failed" in said
    states = {line.split()[0]: line.split()[-1] for line in closing_table.runs(runs).splitlines()[1:]}
    assert states == {"a-waits": "Pending", "b-refused": "SourceFailed", "c-failed": "Failed"}
