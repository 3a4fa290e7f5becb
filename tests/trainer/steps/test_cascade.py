"""A cascade through the steps: both folds of 3d_lowres, then 3d_cascade_fullres on what they predicted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from nnunet_trainer.artifacts import artifact, open_store
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadData, Stopped
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import Input, Location, PreviousStage, TrainerChoice, TrainOrder
from nnunet_trainer.preprocessing.storage import PreprocessedFolder
from nnunet_trainer.steps import staging, train
from support import pages
from support.datasets import copy_examples

from .conftest import RECIPE, TARGET, Chain, make_quick

pytestmark = pytest.mark.xdist_group("trained-stages")  # its chain is made once, not by each worker

OBJECTS = [document for text in pages.blocks("cascade.md", "yaml") for document in yaml.safe_load_all(text)]
CASCADE = next(each["spec"]["patch"] for each in OBJECTS if each["kind"] == "Plans")
TRAINER = TrainerChoice(name="tiny", base="nnUNetTrainer", recipe={**RECIPE, "augmentation": "noMirroring"})
PREDICTED = "predicted_next_stage/3d_cascade_fullres"


class Stages(NamedTuple):
    """A dataset in two folds, planned and preprocessed for both stages, and the first stage's folds."""

    chain: Chain
    plans: Report
    data: dict[str, Report]
    lowres: dict[str, Report]
    splits: list[dict[str, list[str]]]

    def order(self, configuration: str, **changes: Any) -> TrainOrder:
        fields = {"configuration": configuration, "validation": "Run", "trainer": TRAINER, **changes}
        given = self.chain.train_order(self.data[configuration], self.plans, **fields)
        return replace(given, run=configuration.replace("_", "-"))

    def previous(self, *folds: str) -> PreviousStage:
        reports = {fold: self.lowres[fold] for fold in folds}
        return PreviousStage(run="lowres", folds={fold: _fold(self.chain, report) for fold, report in reports.items()})


def _fold(chain: Chain, report: Report) -> Input:
    made = report.artifact("run")
    assert made is not None
    return Input(location=replace(chain.storage, uri=report.summary["folderUri"]), digest=made.digest)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder = tmp_path_factory.mktemp("cascade")
    raw = copy_examples(folder / "raw", 4)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (raw / TARGET / "labelsTr").iterdir())
    splits = [{"train": names[2:], "val": names[:2]}, {"train": names[:2], "val": names[2:]}]
    (raw / TARGET / "splits_final.json").write_text(json.dumps(splits))
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        patch.setenv(pod.ENV_SCRATCH, str(folder / "scratch"))
        chain = Chain(Location(uri=f"file://{folder}/store"), raw)
        read = chain.dataset()
        plans = chain.plan(read, patch=CASCADE)
        data = {name: chain.preprocess(read, plans, configuration=name) for name in ("3d_lowres", "3d_cascade_fullres")}
        made = Stages(chain, plans, data, {}, splits)
        for fold in ("0", "1"):
            patch.setenv(pod.ENV_SCRATCH, str(folder / f"scratch-{fold}"))
            made.lowres[fold] = chain.train(made.order("3d_lowres", fold=fold))
    return made


def _files(report: Report) -> set[str]:
    model = Path(report.summary["folderUri"].removeprefix("file://")).parent
    return {path.name for path in (model / PREDICTED).iterdir()}


def test_plans_name_the_previous_stage(stages: Stages) -> None:
    told = stages.plans.summary["configurations"]
    assert told["3d_cascade_fullres"]["previousStage"] == "3d_lowres"
    assert told["3d_cascade_fullres"]["previousStageFolds"] == len(stages.splits)
    assert {"previousStage", "previousStageFolds"}.isdisjoint(told["3d_lowres"])


def test_the_first_stage_publishes_its_predictions(stages: Stages) -> None:
    """In each fold's artifact, and where nnU-Net looks for them, of all folds together."""
    assert _files(stages.lowres["0"]) == {f"{case}.b2nd" for split in stages.splits for case in split["val"]}
    for fold, split in enumerate(stages.splits):
        report = stages.lowres[str(fold)]
        found = artifact.require(open_store(_fold(stages.chain, report).location), "run", report.artifacts[0].digest)
        assert {path for path in found.files if path.startswith(PREDICTED)} == {f"{PREDICTED}/{c}.b2nd" for c in split["val"]}


def test_the_second_stage_trains_and_validates_on_them(stages: Stages, pod_scratch: Path) -> None:
    order = stages.order("3d_cascade_fullres", fold="0", previous_stage=stages.previous("0", "1"))
    report = stages.chain.train(order)
    assert report.summary["validationDice"] is not None
    assert stages.chain.train(order).summary["found"] is True
    cases = pod_scratch / "nnUNet_preprocessed" / TARGET / "nnUNetPlans_3d_fullres"
    store = PreprocessedFolder(cases, pod_scratch / "previous_stage")
    for case in store.cases:
        opened = store.open(case)
        assert opened.previous.shape == opened.data.shape[1:]
        assert set(np.unique(opened.previous[:])) <= {0, 1, 2}


def test_cases_that_no_fold_predicted_are_named(stages: Stages, pod_scratch: Path) -> None:
    with pytest.raises(BadData) as caught:
        stages.chain.train(stages.order("3d_cascade_fullres", fold="1", previous_stage=stages.previous("0")))
    assert caught.value.reason == "MissingPreviousStage"
    assert f"TrainingRun lowres lacks those of {', '.join(stages.splits[1]['val'])}." in caught.value.message
    assert caught.value.hint == "Train fold 1 of 3d_lowres with the final validation, which predicts the cases of each fold."


def test_a_run_without_predictions_is_told(stages: Stages, pod_scratch: Path) -> None:
    order = stages.order("3d_lowres", fold="0", previous_stage=stages.previous("0"))
    with pytest.raises(BadData, match="Fold 0 of TrainingRun lowres has predicted nothing for 3d_lowres"):
        stages.chain.train(order)


def test_a_fold_validated_later_is_predicted_then(stages: Stages, pod_scratch: Path) -> None:
    order = replace(stages.order("3d_lowres", fold="0"), run="later", validation="Skip")
    skipped = stages.chain.train(order)
    assert not (Path(skipped.summary["folderUri"].removeprefix("file://")).parent / PREDICTED).exists()
    report = stages.chain.train(replace(order, validation="Run", attempt=1))
    assert _files(report) == {f"{case}.b2nd" for case in stages.splits[0]["val"]}
    found = artifact.require(open_store(_fold(stages.chain, report).location), "run", report.artifacts[0].digest)
    assert sum(path.startswith(PREDICTED) for path in found.files) == 2


def test_predictions_of_a_stopped_validation_are_kept(
    stages: Stages, pod_scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunet_trainer.inference import validation

    order, calls = replace(stages.order("3d_lowres", fold="0"), run="stopped"), []
    predict: Callable[..., Any] = validation.predict_logits

    def stopping(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise Stopped("Stopped", "The validation was stopped.")
        return predict(*arguments, **more)

    monkeypatch.setattr(validation, "predict_logits", stopping)
    with pytest.raises(Stopped):
        stages.chain.train(order)
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "another-pod"))
    report = stages.chain.train(replace(order, attempt=1))
    assert len(calls) == 3, "the first case is not predicted again"
    assert _files(report) == {f"{case}.b2nd" for case in stages.splits[0]["val"]}


def test_the_ranks_of_a_pod_stage_once(tmp_path: Path, pod_scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def work() -> list[str]:
        done.append("worked")
        return ["result"]

    assert [staging.once("stage", work), staging.once("stage", work)] == [["result"]] * 2
    assert len(done) == 2, "without a supervisor each process stands alone"
    for supervisor in ("first", "second"):
        (tmp_path / supervisor).mkdir()
        monkeypatch.setenv(pod.ENV_SHARED, str(tmp_path / supervisor))
        done.clear()
        assert [staging.once("stage", work) for _ in range(3)] == [["result"]] * 3
        assert done == ["worked"]
    monkeypatch.setenv(pod.ENV_SHARED, str(tmp_path / "first"))
    assert staging.once("other", lambda: ["another"]) == ["another"]


def test_the_digest_of_a_run_is_of_its_previous_stage_too(stages: Stages) -> None:
    order = stages.order("3d_cascade_fullres", fold="0", previous_stage=stages.previous("0", "1"))
    one = stages.order("3d_cascade_fullres", fold="0", previous_stage=stages.previous("0"))
    assert train.run_digest(order, {}, None) != train.run_digest(one, {}, None)
