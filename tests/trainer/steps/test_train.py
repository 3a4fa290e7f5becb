"""The step `train` on the shipped images: results, resuming, pretrained weights, and a store that is away."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer.artifacts import artifact, open_store
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration, BadData, Stopped, StorageFault, Temporary
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import (
    DeleteResultsOrder,
    Input,
    Location,
    PretrainedPolicies,
    PretrainedWeights,
    PreviousStage,
    TrainerChoice,
    TrainOrder,
)
from nnunet_trainer.steps import delete_results, staging, train
from nnunet_trainer.steps.attempts import uploads
from nnunet_trainer.training.session.setup import TrainingSetup
from nnunet_trainer.training.state.checkpoint_writer import CheckpointWriter

from .conftest import RECIPE, TARGET, Chain, Prepared

FOLD = f"nnUNet_results/{TARGET}/tiny__nnUNetPlans__3d_fullres/fold_0"


@pytest.fixture
def order(prepared: Prepared, request: pytest.FixtureRequest) -> Callable[..., TrainOrder]:
    """A small training of a run of this test's own."""

    def make(**changes: Any) -> TrainOrder:
        given = prepared.chain.train_order(prepared.data, prepared.plans, **changes)
        return replace(given, run=request.node.name.replace("[", "-").replace("]", "").replace("_", "-"))

    return make


def run_folder(chain: Chain, report: Report) -> Path:
    made = report.artifact("run")
    assert made is not None
    return Path(made.uri.removeprefix("file://"))


def longer(epochs: int) -> TrainerChoice:
    return TrainerChoice(name="tiny", base="nnUNetTrainer", recipe={**RECIPE, "epochs": epochs})


def test_results_are_laid_out_as_nnunet_does_and_found_again(prepared: Prepared, order: Callable[..., TrainOrder]) -> None:
    chain, wanted = prepared.chain, order(validation="Run", owner="uid-1")
    others = {info.key for info in chain.store.list()}
    report = chain.train(wanted)
    folder = run_folder(chain, report)
    model = (folder / FOLD).parent
    assert {p.name for p in model.iterdir()} == {"fold_0", "plans.json", "dataset.json", "dataset_fingerprint.json"}
    names = {p.relative_to(folder / FOLD).as_posix() for p in (folder / FOLD).rglob("*") if p.is_file()}
    assert names >= {"checkpoint_final.pth", "progress.png", "validation/summary.json", "manifest.json", "report.json"}
    summary = report.summary
    assert (summary["fold"], summary["epochs"], summary["trainer"], summary["found"]) == ("0", 2, "tiny", False)
    assert summary["checkpointUri"] == f"file://{folder}/{FOLD}/checkpoint_final.pth"
    assert summary["folderUri"] == f"file://{folder}/{FOLD}"
    assert isinstance(summary["trainLoss"], float)
    measured = json.loads((folder / FOLD / "validation/summary.json").read_text())
    assert summary["validationDice"] == pytest.approx(measured["foreground_mean"]["Dice"], abs=1e-6)
    assert set(summary["dicePerLabel"]) == {"1", "2"}
    found = artifact.require(
        chain.store, "run", prefix=str(folder / FOLD).removeprefix(chain.storage.uri.removeprefix("file://") + "/")
    )
    assert found.files["checkpoint_final.pth"].sha256 == summary["checkpointSha256"]
    assert not list(folder.rglob("attempts/*/fold_0/*"))
    phases = [p.phase for p in chain.heard]
    assert phases.index("staging") < phases.index("training") < phases.index("uploading")
    again = chain.train(replace(wanted, attempt=3))
    assert again.summary == {**summary, "found": True}
    deletion = DeleteResultsOrder(namespace=wanted.namespace, run=wanted.run, owner="uid-1", storage=chain.storage)
    done = delete_results.carry_out(deletion, lambda _: None)
    assert done.summary["kept"] == [], "all files of a training are known as such"
    assert {info.key for info in chain.store.list()} == others


def test_results_are_found_in_a_copy_of_the_storage_and_named_there(
    prepared: Prepared, order: Callable[..., TrainOrder], tmp_path: Path
) -> None:
    chain = prepared.chain
    first = chain.train(order())
    original = Path(chain.storage.uri.removeprefix("file://"))
    moved = tmp_path / "restored"
    shutil.copytree(original / "runs", moved / "runs")
    wanted = replace(order(), storage=Location(uri=f"file://{moved}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_trainer.steps.train.train", lambda setup: pytest.fail("it is trained already"))
        again = chain.train(wanted)
    for key, value in first.summary.items():
        text = json.dumps(again.summary[key])
        assert str(original) not in text, key
        if key != "found":
            assert text.replace(str(moved), str(original)) == json.dumps(value)
    assert again.summary["found"] is True
    [made] = again.artifacts
    assert made.uri.startswith(f"file://{moved}/runs/")
    assert again.detail is not None
    assert again.detail.startswith(f"file://{moved}/runs/")
    assert Path(again.summary["checkpointUri"].removeprefix("file://")).is_file()


@pytest.mark.parametrize("validation", ["Skip", "Run"])
def test_a_fold_that_another_job_publishes_meanwhile_is_not_written_over(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch, validation: str
) -> None:
    """Two clusters share a storage, and both have the run."""
    chain, others = prepared.chain, order(validation="Skip")
    published: list[Report] = []

    def train_while_another_publishes(setup: TrainingSetup) -> Any:
        monkeypatch.undo()
        monkeypatch.setenv(pod.ENV_JOB_UID, "the-other-one")
        published.append(chain.train(others))
        return None  # of no use any more

    monkeypatch.setattr("nnunet_trainer.steps.train.train", train_while_another_publishes)
    if validation == "Run":  # the other one's is not validated: the next attempt does it
        with pytest.raises(Temporary, match=r"its validation is made by the next attempt"):
            chain.train(order(validation=validation))
        assert (run_folder(chain, published[0]) / FOLD / "manifest.json").is_file()
    else:
        report = chain.train(order(validation=validation))
        assert report.summary == {**published[0].summary, "found": True}
        assert not list(run_folder(chain, report).rglob("attempts/*/fold_0/*"))


def test_a_fold_that_was_not_validated_is_when_that_is_wanted(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chain = prepared.chain
    first = chain.train(order(validation="Skip"))
    folder = run_folder(chain, first) / FOLD
    before = {path: path.read_bytes() for path in folder.iterdir() if path.name not in ("manifest.json", "report.json")}
    assert first.summary["validationDice"] is None
    chain.heard.clear()
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "another-pod"))
    with monkeypatch.context() as patch:
        patch.setattr("nnunet_trainer.training.loop.fold_training.train_epoch", lambda *_: pytest.fail("it is trained already"))
        report = chain.train(order(validation="Run", attempt=1))
    measured = json.loads((folder / "validation/summary.json").read_text())
    assert report.summary["validationDice"] == pytest.approx(measured["foreground_mean"]["Dice"], abs=1e-6)
    assert set(report.summary["dicePerLabel"]) == {"1", "2"}
    unchanged = first.summary.keys() - {"validationDice", "dicePerLabel"}
    assert {key: report.summary[key] for key in unchanged} == {key: first.summary[key] for key in unchanged}
    assert {path: path.read_bytes() for path in before} == before, "the training's own files are what they were"
    assert "validating" in [progress.phase for progress in chain.heard]
    found = artifact.find(open_store(Location(uri=f"file://{folder}")))
    assert found is not None
    assert found.manifest.summary == report.summary == json.loads((folder / "report.json").read_text())
    assert found.files.keys() == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    found.fetch(found.files, tmp_path / "whole")
    for wanted in ("Run", "Skip"):
        again = chain.train(order(validation=wanted, attempt=2))
        assert again.summary == {**report.summary, "found": True}


def test_a_run_is_addressed_by_what_decides_its_result(order: Callable[..., TrainOrder]) -> None:
    def digest(weights: str | None = None, **changes: Any) -> str:
        return train.run_digest(order(**changes), {"epochs": 5}, weights)

    same = digest()
    assert digest(attempt=4, fold="1", gpus_per_node=8, nodes=2, validation="Run") == same
    assert digest(seed=2) != same
    assert digest(trainer=TrainerChoice(name="other")) != same
    assert digest(deterministic=True) != same
    assert digest(weights="0" * 64) != same
    folds = {fold: Input(location=Location(uri="file:///nowhere"), digest=fold) for fold in "01"}
    digests = {
        digest(previous_stage=PreviousStage(run="lowres", folds=given)) for given in (folds, {"0": folds["0"]}, {"0": folds["1"]})
    }
    assert len(digests | {same}) == 4
    assert digest(previous_stage=PreviousStage(run="of-another-name", folds=folds)) in digests


def stop_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes when this epoch's checkpoint is written."""
    real, write = uploads.Uploads.written, CheckpointWriter.write

    def write_now(self: CheckpointWriter, content: dict[str, Any], names: Sequence[str]) -> None:
        write(self, content, names)
        self.wait()

    def written(self: uploads.Uploads, path: Path, epochs: int, sha256: str) -> None:
        real(self, path, epochs, sha256)
        if epochs == epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(uploads.Uploads, "written", written)
    monkeypatch.setattr(CheckpointWriter, "write", write_now)


def test_the_next_attempt_goes_on_where_sigterm_stopped_the_last(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chain = prepared.chain
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(Stopped, match="a checkpoint is saved"):
            chain.train(order(trainer=longer(3)))  # by an operator of version 0.1.0: its pods know no Job
    uid = "8c5f0e9a-0000-4000-8000-000000000001"
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "another-pod"))
    monkeypatch.setenv(pod.ENV_JOB_UID, uid)
    before = len(chain.heard)
    report = chain.train(order(trainer=longer(3), attempt=1))
    assert (report.summary["resumedFromEpoch"], report.summary["epochs"]) == (1, 3)
    folder = run_folder(chain, report) / FOLD
    logs = "".join(path.read_text() for path in folder.glob("training_log*"))
    assert "Stopped at epoch 1" in logs
    assert "Training done" in logs
    # The last epoch's upload may end before the training's last word or after it.
    told = [progress for progress in chain.heard[before:] if progress.checkpoint_uri]
    assert max(progress.checkpoint_epoch or 0 for progress in told) in (2, 3)
    assert all(f"/attempts/1-{uid}/fold_0/" in str(progress.checkpoint_uri) for progress in told)


def test_a_validation_that_was_stopped_goes_on_at_its_next_case(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chain = prepared.chain
    five = {"fold": "all", "validation": "Run"}

    def validating(stop_at: int | None) -> tuple[list[int], Callable[[uploads.Uploads, Any], None]]:
        done: list[int] = []
        real = uploads.Uploads.hear

        def hear(self: uploads.Uploads, progress: Any) -> None:
            real(self, progress)
            if progress.phase == "validating":
                done.append(progress.done)
                if progress.done == stop_at:
                    os.kill(os.getpid(), signal.SIGTERM)

        return done, hear

    with monkeypatch.context() as patch:
        first, hear = validating(stop_at=2)
        patch.setattr(uploads.Uploads, "hear", hear)
        with pytest.raises(Stopped, match="2 of 5"):
            chain.train(order(**five))
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "another-pod"))
    again, hear = validating(stop_at=None)
    monkeypatch.setattr(uploads.Uploads, "hear", hear)
    report = chain.train(order(attempt=1, **five))
    assert max(first) == 2
    assert max(again) == 5
    assert 1 not in again
    assert report.summary["resumedFromEpoch"] == 2
    assert isinstance(report.summary["validationDice"], float)
    kept = run_folder(chain, report) / FOLD.replace("fold_0", "fold_all") / "validation"
    assert len(list(kept.glob("*.nii.gz"))) == 5


def test_sigterm_before_the_first_epoch_is_not_waited_for(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnunet_trainer.steps.train.train", lambda setup: pytest.fail("it began"))
    monkeypatch.setattr(staging, "_bring_back", lambda *rest, **more: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped, match="before its first epoch"):
        prepared.chain.train(order())


def test_training_goes_on_when_the_store_is_away(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: uploads.Uploads, job: object) -> None:
        raise StorageFault("StorageUnreachable", "no answer")

    monkeypatch.setattr(uploads.Uploads, "_upload", away)
    report = prepared.chain.train(order())
    assert report.summary["epochs"] == 2
    told = [w for p in prepared.chain.heard for w in p.warnings or []]
    assert any("not in the store: no answer" in w for w in told)


def test_pretrained_weights_of_a_run(prepared: Prepared, order: Callable[..., TrainOrder]) -> None:
    chain = prepared.chain
    first = chain.train(order(fold="all", validation="Skip"))
    assert first.summary["validationDice"] is None
    location = Location(uri=first.summary["checkpointUri"])
    weights = PretrainedWeights(location=location, sha256=first.summary["checkpointSha256"])
    tuned = chain.train(order(pretrained=weights))
    assert tuned.artifacts != first.artifacts
    assert tuned.summary["pretrained"]["source"] == location.uri
    assert tuned.summary["pretrained"]["loaded"] > 10
    assert tuned.summary["pretrained"]["mismatched"] == 0
    assert tuned.summary["pretrained"]["skipped"] == len(tuned.summary["pretrainedTensors"]["skipped"]) > 0
    assert all(".seg_layers." in key for key in tuned.summary["pretrainedTensors"]["skipped"])


def test_weights_of_another_network_go_on_where_the_order_says_how(
    prepared: Prepared, order: Callable[..., TrainOrder], tmp_path: Path
) -> None:
    """A source of two channels and other labels, whose decoder is frozen: the final checkpoint still holds what was adapted."""
    chain = prepared.chain
    first = chain.train(order())
    content = checkpoint.load(Path(first.summary["checkpointUri"].removeprefix("file://")))
    weights, stem = content["network_weights"], "encoder.stages.0.0.convs.0."
    stems = [key for key, value in weights.items() if value.shape == weights[f"{stem}conv.weight"].shape]
    generator = torch.Generator().manual_seed(3)
    two = torch.randn(4, 2, 3, 3, 3, generator=generator)
    weights.update(dict.fromkeys(stems, two))
    content["init_args"]["dataset_json"]["labels"] = {"background": 0, "Posterior": 1, "elsewhere": 2}
    checkpoint.save(tmp_path / "source.pth", content)
    location = Location(uri=f"file://{tmp_path}/source.pth")
    frozen = {**RECIPE, "freezing": {"patterns": ["encoder.*", "decoder.[st]*.0.*", "decoder.[st]*.1.convs.*"]}}
    trainer = TrainerChoice(name="tuned", base="nnUNetTrainer", recipe=frozen)
    with pytest.raises(BadConfiguration, match="do not fit") as refused:
        chain.train(order(trainer=trainer, pretrained=PretrainedWeights(location=location)))
    assert "has 2 input channels, this one 1" in refused.value.hint
    policies = PretrainedPolicies(input_channels="Average", heads="MatchByLabel")
    tuned = chain.train(order(trainer=trainer, pretrained=PretrainedWeights(location=location, policies=policies)))
    said = tuned.summary["pretrained"]
    named = tuned.summary["pretrainedTensors"]
    assert (named["keptLabels"], named["newLabels"]) == (["background", "Posterior"], ["Anterior"])
    assert said["adapted"] == len(named["adapted"]) == 5
    assert (said["skipped"], said["mismatched"], said["missing"]) == (0, 0, 0)
    final = checkpoint.load(Path(tuned.summary["checkpointUri"].removeprefix("file://")))["network_weights"]
    for key in stems:
        torch.testing.assert_close(final[key], two.sum(1, keepdim=True))
    head = "decoder.seg_layers.1.weight"
    assert not torch.equal(final[head], weights[head][[0, 2, 1]]), "the heads have trained on"
    log = "".join(path.read_text() for path in (run_folder(chain, tuned)).rglob("training_log*"))
    assert "heads kept: background, Posterior; heads that begin anew: Anterior" in log


def test_policies_address_another_run(order: Callable[..., TrainOrder]) -> None:
    def digest(**policies: Any) -> str:
        weights = PretrainedWeights(location=Location(uri="file:///c.pth"), policies=PretrainedPolicies(**policies))
        return train.run_digest(order(pretrained=weights), {"epochs": 5}, "ab" * 32)

    asked: list[dict[str, Any]] = [{}, {"input_channels": "Repeat"}, {"heads": "MatchByLabel"}, {"mismatched": "Skip"}]
    assert len({digest(**policies) for policies in asked}) == 4
    assert digest() == train.run_digest(order(), {"epochs": 5}, "ab" * 32)


@pytest.mark.parametrize("harm", ["another file", "no file"])
def test_pretrained_weights_that_are_not_those(
    prepared: Prepared, order: Callable[..., TrainOrder], harm: str, tmp_path: Path
) -> None:
    location = Location(uri=f"file://{tmp_path}/weights.pth")
    if harm == "another file":
        (tmp_path / "weights.pth").write_bytes(b"1")
    with pytest.raises(BadData, match=r"weights\.pth"):
        prepared.chain.train(order(pretrained=PretrainedWeights(location=location, sha256="0" * 64)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainer": TrainerChoice(name="nnUNetTrainr")}, "nnUNetTrainer"),
        ({"trainer": TrainerChoice(name="tiny", recipe={"epocs": 3})}, "epochs"),
        ({"trainer": TrainerChoice(name="nnUNetTrainer", recipe={"epochs": 3})}, "a name of its own"),
        ({"fold": "x"}, "fold 'x'"),
        ({"plugins": ["missing"]}, "missing"),
    ],
)
def test_what_cannot_be_trained_is_named(
    prepared: Prepared, order: Callable[..., TrainOrder], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadConfiguration, match=words):
        prepared.chain.train(order(**changes))


def test_a_plug_in_is_imported(
    prepared: Prepared, order: Callable[..., TrainOrder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins/mine").mkdir(parents=True)
    (tmp_path / "plugins/mine/broken.py").write_text("raise ValueError('of mine')")
    monkeypatch.setenv(pod.ENV_PLUGINS, str(tmp_path / "plugins"))
    with pytest.raises(BadConfiguration, match=r"broken\.py cannot be imported: ValueError: of mine"):
        prepared.chain.train(order(plugins=["mine"]))


def test_ranks_but_the_first_upload_nothing(
    prepared: Prepared, order: Callable[..., TrainOrder], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[TrainingSetup] = []
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("nnunet_trainer.steps.train.train", trained.append)
    report = prepared.chain.train(order())
    assert report == Report(step="train")
    assert (trained[0].on_checkpoint, trained[0].resume) == (None, True)


@pytest.mark.s3
def test_training_in_s3(remote: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = remote.dataset()
    plans = remote.plan(read)
    data = remote.preprocess(read, plans)
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(Stopped):
            remote.train(remote.train_order(data, plans))
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "another-pod"))
    report = remote.train(remote.train_order(data, plans, attempt=1))
    assert (report.summary["resumedFromEpoch"], report.summary["epochs"]) == (1, 2)
    store, name = open_store(remote.storage), report.summary["checkpointUri"].removeprefix(f"{remote.storage.uri}/")
    assert store.stat(name) is not None
    assert not [i.key for i in store.list("runs/") if "/attempts/" in i.key]
    assert child(remote.storage, name).uri == report.summary["checkpointUri"]
