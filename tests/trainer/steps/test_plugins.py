"""A plug-in's normalization and loss from plans to a trained model: what is made says so, and is refused with another or none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.artifact import require
from nnunet_trainer.contract import plugins, pod
from nnunet_trainer.contract.faults import BadConfiguration, Fault, Temporary
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import DatasetOrder, Location, PlannerChoice, TrainerChoice, TrainOrder
from nnunet_trainer.extensions import kinds, load_again, loaded_places
from nnunet_trainer.inference.model import Model
from nnunet_trainer.planning.plans.patch import merge
from nnunet_trainer.steps import common, owners
from support.plugins import isolated, write

from .conftest import RECIPE, SMALL, Prepared

NORMALIZATION = """
    from nnunet_trainer.extensions import register

    @register("normalization", "Halved")
    def halved(image, seg, use_mask, properties):
        image /= {by}
"""
LOSS = """
    from nnunet_trainer.extensions import register

    @register("loss", "Squares")
    def squares(context):
        return lambda logits, target: {factor} * (logits ** 2).mean()
"""
PATCH = merge(SMALL, {"configurations": {"3d_fullres": {"normalization_schemes": ["Halved"]}}})
TRAINER = TrainerChoice(name="squares", base="nnUNetTrainer", recipe={**RECIPE, "epochs": 1, "loss": "Squares"})


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Mounts plug-ins, as the ConfigMaps `data` and `losses` of a pod."""
    monkeypatch.setenv(pod.ENV_PLUGINS, str(tmp_path / "plugins"))

    def mount(by: float = 2, factor: float = 1) -> None:
        write(tmp_path / "plugins", "data", normalization=NORMALIZATION.replace("{by}", str(by)))
        write(tmp_path / "plugins", "losses", loss=LOSS.replace("{factor}", str(factor)))

    with isolated():
        mount()
        yield mount


def refused(work: Callable[..., Any], *arguments: Any, **options: Any) -> Fault:
    with pytest.raises(BadConfiguration) as fault, isolated():
        work(*arguments, **options)
    return fault.value


def test_from_plans_to_a_model(prepared: Prepared, plug: Callable[..., None]) -> None:
    chain = prepared.chain
    with isolated():
        plans = chain.plan(prepared.read, patch=PATCH, plugins=["data"])
    assert [(each["name"], each["needed"]) for each in plans.summary["plugins"]] == [("data", True)]
    said = refused(chain.preprocess, prepared.read, plans)
    assert (said.reason, "normalization Halved; it is not here" in said.message) == ("MissingPlugin", True)
    plug(by=3)
    said = refused(chain.preprocess, prepared.read, plans, plugins=["data"])
    assert (said.reason, "is another: data (digest" in said.message) == ("PluginChanged", True)
    with isolated():
        other = chain.plan(prepared.read, patch=PATCH, plugins=["data"])
        assert other.artifacts[0].digest != plans.artifacts[0].digest
    plug()
    with isolated():
        data = chain.preprocess(prepared.read, plans, plugins=["data"])
    assert data.artifacts[0].digest != prepared.data.artifacts[0].digest
    assert refused(chain.train, chain.train_order(data, plans)).reason == "MissingPlugin"

    def order(**changes: Any) -> TrainOrder:
        return chain.train_order(data, plans, trainer=TRAINER, plugins=["data", "losses"], owner="uid-7", **changes)

    with isolated():
        trained = chain.train(order())
    model = folder(trained)
    checkpoint = torch.load(model / "fold_0/checkpoint_final.pth", map_location="cpu", weights_only=False)
    assert [each["components"] for each in checkpoint["nnunet_operator"]["plugins"]] == [["loss Squares"]]
    assert json.loads((model / "plans.json").read_text())["plugins"][0]["name"] == "data"
    said = refused(Model.load, model)
    assert (said.reason, "Name it in spec.plugins, or with --plugins DIR" in said.hint) == ("MissingPlugin", True)

    # The ConfigMap is edited while the run has folds left: they would be trained by other code than those that are done.
    plug(factor=2)
    said = refused(chain.train, order(attempt=1))
    assert (said.reason, "The plug-in losses is another than when this TrainingRun began" in said.message) == (
        "PluginChanged",
        True,
    )
    # Another TrainingRun may be trained by it.
    owners.refuse_other_plugins(chain.store, "runs/ns/run/0123456789abcdef", replace(order(), owner="uid-8"), {"losses": "00" * 32})


def folder(trained: Report) -> Path:
    return Path(trained.summary["folderUri"].removeprefix("file://")).parent


def test_an_extractor_and_its_parameters_make_another_dataset(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
        from nnunet_trainer.extensions import register
        from nnunet_trainer.fingerprint.extractors import DatasetFingerprintExtractor

        @register("extractor", "Counting")
        class Counting(DatasetFingerprintExtractor):
            def __init__(self, *, start: int = 0) -> None:
                self.start = start

            def dataset(self, fingerprint, cases):
                return {**fingerprint, "count": self.start + len(cases)}
    """
    monkeypatch.setenv(pod.ENV_PLUGINS, str(tmp_path))
    write(tmp_path, "mine", counting=text)
    chain, digests = prepared.chain, {prepared.read.artifacts[0].digest}
    for start in (0, 5):
        with isolated():
            read = chain.dataset(extractor="Counting", extractor_parameters={"start": start}, plugins=["mine"])
            found = require(open_store(chain.given(read, "dataset").location), "dataset").read_json("dataset_fingerprint.json")
            assert (found["count"], found["plugins"][0]["name"]) == (start + 5, "mine")
            digests.add(read.artifacts[0].digest)
            notes = require(open_store(chain.given(chain.plan(read), "plans").location), "plans").read_json("report.json")["notes"]
            assert f"the fingerprint also has count: {start + 5}" in notes
    assert len(digests) == 3
    said = refused(chain.dataset, extractor="Counting")
    assert said.reason == "UnknownExtractor"
    said = refused(chain.dataset, extractor="Counting", extractor_parameters={"start": "x"}, plugins=["mine"])
    assert "start: an integer was expected, found 'x'" in said.message


def test_a_planner_that_is_not_there_is_known_before_anything_is_read(prepared: Prepared) -> None:
    said = refused(prepared.chain.plan, prepared.read, planner=PlannerChoice(parameters={"pooling": "Mine"}))
    assert said.reason == "UnknownPlannerStep"


def test_an_attempt_goes_on_with_the_plugins_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted ConfigMap changes under a running pod: a worker that begins hours later imports what its parent did."""
    monkeypatch.setenv(pod.ENV_PLUGINS, str(tmp_path / "plugins"))
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "scratch"))
    text = "from nnunet_trainer.extensions import register\n@register('normalization', 'Mine')\ndef mine(*_): return {value}\n"
    mounted = tmp_path / "plugins/mine"
    mounted.mkdir(parents=True)
    (mounted / "mine.py").write_text(text.format(value=1))
    with isolated():
        common.import_plugins(ordered("mine"))
        places = loaded_places()
        (mounted / "mine.py").write_text(text.format(value=2))
        assert kinds.find("normalization", "Mine").make() == 1
        with ProcessPoolExecutor(1, get_context("spawn"), initializer=load_again, initargs=(places,)) as pool:
            assert pool.submit(_normalized).result() == 1


def _normalized() -> Any:
    return kinds.find("normalization", "Mine").make()


@pytest.mark.parametrize(
    ("mounted", "reason"),
    [({"mine.py": "A"}, None), ({"mine.py": "B"}, "PluginChanged"), ({"other.py": "A"}, "PluginChanged"), ({}, "MissingPlugin")],
    ids=["the same", "another text", "another name", "gone"],
)
def test_another_plugin_than_the_order_was_written_with_is_refused_before_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: dict[str, str], reason: str | None
) -> None:
    monkeypatch.setenv(pod.ENV_PLUGINS, str(tmp_path / "plugins"))
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "scratch"))
    texts = {name: f"raise RuntimeError('imported {name}')\n" for name in "AB"}
    config_map = {"metadata": {"name": "mine"}, "data": {"mine.py": texts["A"], "notes.txt": "are not imported"}}
    folder = tmp_path / "plugins/mine"
    folder.mkdir(parents=True)
    for name, text in mounted.items():
        (folder / name).write_text(texts[text])
    with isolated(), pytest.raises(Fault) as fault:
        common.import_plugins(replace(ordered("mine"), plugin_digests={"mine": plugins.of_config_map(config_map)}))
    if reason is None:
        assert "imported A" in fault.value.message
    else:
        assert (fault.value.reason, isinstance(fault.value, Temporary)) == (reason, True)


def ordered(*names: str) -> DatasetOrder:
    place = Location(uri="file:///data")
    return DatasetOrder(name="Dataset001_A", source=place, storage=place, plugins=list(names))
