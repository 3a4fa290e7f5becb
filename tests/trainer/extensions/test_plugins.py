"""Plug-ins are found, imported with messages, told apart by their digests, and required where they are needed again."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration, Fault, Temporary
from nnunet_trainer.extensions import find, kinds, load_plugins, plugins, provenance
from support.plugins import isolated, write

NORMALIZATION = """
    from nnunet_trainer.extensions import register

    @register("normalization", "Halved")
    def halved(image, seg, use_mask, properties):
        "Half of it."
        image /= 2
"""


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


BROKEN: dict[str, tuple[dict[str, str], str, tuple[str, ...]]] = {
    "does not import": (
        {"bad": "import os\nnumber = 1\nraise ValueError('of mine')\n"},
        "PluginFailed",
        ("bad.py cannot be imported: ValueError: of mine", "bad.py, line 3: raise ValueError('of mine')"),
    ),
    "fails in a function": (
        {"bad": "def deep():\n    return 1 / 0\n\ndeep()\n"},
        "PluginFailed",
        ("ZeroDivisionError", "line 2: return 1 / 0"),
    ),
    "is no Python": ({"bad": "def f(:\n"}, "PluginFailed", ("mine/bad.py cannot be imported: SyntaxError", "line 1): def f(:")),
    "exits": ({"bad": "raise SystemExit(3)"}, "PluginFailed", ("SystemExit: 3",)),
    "imports what is not there": (
        {"bad": "import nowhere_at_all"},
        "PluginFailed",
        ("No module named 'nowhere_at_all'", "in the trainer's image"),
    ),
    "registers nothing": ({"empty": "x = 1"}, "EmptyPlugin", ("The plug-in mine (empty.py)", "registers nothing", "@register")),
    "a kind that there is not": (
        {"bad": "from nnunet_trainer.extensions import register\nregister('normalisation', 'A')(print)"},
        "UnknownKind",
        ("The plug-in mine", "Did you mean normalization"),
    ),
    "a name that is built in": (
        {"bad": "from nnunet_trainer.extensions import register\n@register('normalization', 'CTNormalization')\ndef f(*a): ..."},
        "DuplicateName",
        ("'CTNormalization'", "normalization.py:", "bad.py:2"),
    ),
    "a planner without a plans name of its own": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "from nnunet_trainer.planning.planner_presets import derive\n"
            "@register('planner', 'Mine')\ndef mine(): return derive('ExperimentPlanner', plans_name='nnUNetPlans')"
        },
        "PlansNameTaken",
        ("The planner Mine", "nnUNetPlans, which is ExperimentPlanner's", "plans_name='nnUNetPlans_Mine'"),
    ),
    "a planner that shares another's data": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "from nnunet_trainer.planning.planner_presets import derive\n"
            "@register('planner', 'Mine')\n"
            "def mine(): return derive('ResEncUNetPlanner', plans_name='mine', shares_data=True)"
        },
        "PlansNameTaken",
        ("write over nnUNetPlans' data",),
    ),
    "a plans name that leads elsewhere": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "from nnunet_trainer.planning.planner_presets import derive\n"
            "@register('planner', 'Mine')\ndef mine(): return derive('ExperimentPlanner', plans_name='../mine')"
        },
        "InvalidPlanner",
        ("'../mine', expected a folder's name",),
    ),
    "a planner that is none": (
        {"bad": "from nnunet_trainer.extensions import register\n@register('planner', 'Mine')\ndef mine(): return 3"},
        "InvalidPlanner",
        ("made as 3", "derive("),
    ),
    "a field that planners lack": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "from nnunet_trainer.planning.planner_presets import derive\n"
            "@register('planner', 'Mine')\ndef mine(): return derive('ExperimentPlanner', plans_name='mine', poling='Late')"
        },
        "UnknownParameter",
        ("'poling'", "Did you mean pooling"),
    ),
    "an argument too few": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "@register('normalization', 'Mine')\ndef mine(image, properties): ..."
        },
        "InvalidSignature",
        ("The normalization Mine takes (image, properties); it is given (image, seg, use_mask, properties)",),
    ),
    "an argument too many": (
        {"bad": "from nnunet_trainer.extensions import register\n@register('schedule', 'Mine')\ndef mine(epochs, rate): ..."},
        "InvalidSignature",
        ("The schedule Mine takes (epochs, rate); it is given (epochs)", "keyword-only arguments: (epochs, *, "),
    ),
    "a parameter that nobody could set": (
        {"bad": "from nnunet_trainer.extensions import register\n@register('loss', 'Mine')\ndef mine(context, weight=1.0): ..."},
        "InvalidSignature",
        ("The loss Mine takes (context, weight=1.0)", "keyword-only"),
    ),
    "a parameter of what has none": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "from nnunet_trainer.planning.planner_presets import derive\n"
            "@register('planner', 'Mine')\ndef mine(*, low=1): return derive('ExperimentPlanner', plans_name='mine')"
        },
        "InvalidSignature",
        ("and no parameters",),
    ),
    "a constructor's parameter": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "from nnunet_trainer.fingerprint.extractors import DatasetFingerprintExtractor\n"
            "@register('extractor', 'Mine')\nclass Mine(DatasetFingerprintExtractor):\n    def __init__(self, percent=5): ..."
        },
        "InvalidSignature",
        ("The extractor Mine takes (percent=5); it is given ()",),
    ),
    "a type that is not imported": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "@register('normalization', 'Mine')\ndef f(image, seg, mask, properties, *, low: 'Percent' = 1): ..."
        },
        "PluginFailed",
        ("The normalization scheme 'Mine'", "bad.py:2", "name 'Percent' is not defined"),
    ),
    "a default out of its range": (
        {
            "bad": "from typing import Annotated\nfrom nnunet_trainer.extensions import Range, register\n"
            "@register('pooling', 'Mine')\ndef f(configuration, patch, *, times: Annotated[int, Range(1, 4)] = 5): ..."
        },
        "PluginFailed",
        ("'Mine'", "the default of times: 5 is out of range; an integer between 1 and 4 was expected"),
    ),
    "a default of another type": (
        {
            "bad": "from nnunet_trainer.extensions import register\n"
            "@register('loss', 'Mine')\ndef f(context, *, weight: float = 'much'): ..."
        },
        "PluginFailed",
        ("The loss 'Mine'", "the default of weight: a number was expected, found 'much'"),
    ),
    "a reader of another name": (
        {
            "bad": "from nnunet_trainer.extensions import register\nfrom nnunet_trainer.dataset.readers import NibabelIO\n"
            "register('reader', 'Mine')(NibabelIO)"
        },
        "InvalidReader",
        ("The image reader Mine", "`name`"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_plugin_is_named(tmp_path: Path, name: str) -> None:
    files, reason, parts = BROKEN[name]
    write(tmp_path, "mine", **files)
    with pytest.raises(BadConfiguration) as refused:
        load_plugins(tmp_path, ["mine"])
    assert refused.value.reason == reason
    assert [part for part in parts if part not in str(refused.value)] == []


def test_two_plugins_of_one_name_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, "a", first=NORMALIZATION)
    write(tmp_path, "b", second=NORMALIZATION)
    with pytest.raises(BadConfiguration, match=r"'Halved'.*a/first\.py:4.*b/second\.py:4"):
        load_plugins(tmp_path, ["a", "b"])


def test_a_config_map_that_is_not_there_may_come(tmp_path: Path) -> None:
    """Its folder is mounted empty: the pod ends at once, and another attempt may find it."""
    (tmp_path / "mine").mkdir()
    with pytest.raises(Temporary, match="there is no ConfigMap mine"):
        load_plugins(tmp_path, ["mine"])
    (tmp_path / "mine/readme.txt").write_text("")
    with pytest.raises(BadConfiguration, match="has no Python file in"):
        load_plugins(tmp_path, ["mine"])
    with pytest.raises(BadConfiguration, match="'other' was expected"):
        load_plugins(tmp_path, ["other"])


def test_files_of_a_plugin_import_each_other(tmp_path: Path) -> None:
    write(
        tmp_path,
        "mine",
        halves=NORMALIZATION.replace("image /= 2", "image /= TWO").replace("@reg", "from .numbers import TWO\n\n    @reg"),
    )
    write(tmp_path, "mine", numbers="TWO = 2", __init__="", version='__version__ = "1.2"')
    (plugin,) = load_plugins(tmp_path, ["mine"])
    assert (plugin.name, plugin.version, plugin.installed) == ("mine", "1.2", False)
    assert find("normalization", "Halved").plugin == plugin
    assert load_plugins(tmp_path, ["mine"]) == [plugin]  # once


def test_an_installed_package_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "halving_package", __init__=NORMALIZATION)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "halving_package", raising=False)
    entry = metadata.EntryPoint("halves", "halving_package", plugins.ENTRY_POINTS)
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: [entry])
    (plugin,) = load_plugins(None)
    assert plugin.installed
    before = plugin.digest
    assert find("normalization", "Halved").plugin == plugin
    write(tmp_path, "halving_package", __init__=NORMALIZATION + "\n")
    plugins._LOADED.clear()
    (plugin,) = load_plugins(None)
    assert plugin.digest != before


def test_a_digest_is_that_of_the_files(tmp_path: Path) -> None:
    digests = set()
    for i, (file, text) in enumerate([("a", NORMALIZATION), ("b", NORMALIZATION), ("a", NORMALIZATION + "\n    # other\n")]):
        with isolated():
            write(tmp_path / str(i), "mine", **{file: text})
            digests.add(load_plugins(tmp_path / str(i), ["mine"])[0].digest)
    assert len(digests) == 3
    with isolated():
        write(tmp_path / "elsewhere", "mine", a=NORMALIZATION)
        assert load_plugins(tmp_path / "elsewhere", ["mine"])[0].digest in digests  # wherever they are mounted


def recorded(tmp_path: Path) -> list[dict[str, Any]]:
    with isolated():
        write(tmp_path / "before", "mine", a=NORMALIZATION)
        load_plugins(tmp_path / "before", ["mine"])
        return provenance.records([("normalization", "Halved"), ("normalization", "CTNormalization"), ("planner", "none")])


def test_what_was_made_with_a_plugin_needs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = recorded(tmp_path)
    assert [(r["name"], r["components"]) for r in records] == [("mine", ["normalization Halved"])]
    with pytest.raises(Fault, match=r"Plans p was made with the plug-in mine .*normalization Halved; it is not here") as missing:
        provenance.require(records, ["normalization"], "Plans p")
    assert missing.value.reason == "MissingPlugin"
    write(tmp_path, "mine", a=NORMALIZATION.replace("/= 2", "/= 3"))
    load_plugins(tmp_path, ["mine"])
    with pytest.raises(Fault, match="the one that is here is another") as changed:
        provenance.require(records, ["normalization"], "Plans p")
    assert changed.value.reason == "PluginChanged"
    with caplog.at_level(logging.WARNING):
        both = [{**record, "components": ["network N", *record["components"]]} for record in records]
        with pytest.raises(Fault, match="is another"):
            provenance.require(both, ["normalization"], "Plans p")
        assert not caplog.text, "the fault says it all"
        provenance.require(records, ["network"], "Plans p")  # not needed for that
    assert "is another" in caplog.text
    assert "not used here" in caplog.text
    for nothing in (None, [], "x", [3], [{"components": "x"}]):
        provenance.require(nothing, ["normalization"], "Plans p")


def test_the_same_plugin_elsewhere_will_do(tmp_path: Path) -> None:
    records = recorded(tmp_path)
    write(tmp_path / "now", "mine", a=NORMALIZATION)
    load_plugins(tmp_path / "now", ["mine"])
    provenance.require(records, ["normalization"], "Plans p")


def test_all_kinds_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "mine", a=NORMALIZATION)
    assert cli.main(["components", "normalization", "--plugins", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().out
    assert "Plug-in mine (digest" in said
    assert f"  Halved: Half of it.\n    From the plug-in mine (digest {load_plugins(tmp_path)[0].digest[:12]})" in said
    assert "CT2Normalization" in said
    assert "Normalization, given (image, seg, use_mask, properties):" in said
    assert cli.main(["components", "patch and batch"]) == 0
    said = capsys.readouterr().out
    assert "BatchBeforePatch" in said
    assert "batch3d: an integer between 1 and 4096, default 8" in said
    assert cli.main(["components", "planers"]) == 78
    assert "Did you mean planner" in capsys.readouterr().err
    assert cli.main(["components", "--plugins", str(tmp_path / "nowhere")]) == 64


def test_without_a_kind_names_alone_are_listed_and_all_of_a_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "mine", a=NORMALIZATION)
    assert cli.main(["components", "--plugins", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().out
    assert [line.partition(":")[0] for line in said.splitlines() if re.match(r"[a-z]\w+: ", line)] == list(kinds.KINDS)
    assert len(said.splitlines()) < 80
    words = set(re.findall(r"[\w.]+", said))
    for kind in kinds.KINDS:
        assert words >= set(kinds.registry(kind)), kind
    assert "  Halved: Half of it.\n    From the plug-in mine" in said
    assert "0, default" not in said, "no parameters of built-in ones"
    assert said.endswith("nnunet-trainer components KIND\n")


def test_built_in_components_that_a_plugin_brings_in_are_not_its_own(tmp_path: Path) -> None:
    """In a process of its own, in which nobody has looked at them before."""
    head = "from nnunet_trainer.planning import planner_presets\nfrom nnunet_trainer.training.components.schedules import poly\n"
    write(tmp_path, "mine", a=head + textwrap.dedent(NORMALIZATION))
    code = (
        "import pathlib, sys; from nnunet_trainer.extensions import load_plugins, kinds\n"
        "(plugin,) = load_plugins(pathlib.Path(sys.argv[1]))\n"
        "print(sorted(component.name for _, registry in kinds.imported() for component in registry.of(plugin)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['Halved']"
