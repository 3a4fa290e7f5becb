"""The life of a training: from nothing to a final checkpoint, interrupted anywhere, and the same in the end."""

import json
import math
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract import progress
from nnunet_trainer.contract.faults import BadConfiguration, BadData, BadUsage, GpuOutOfMemory, Stopped
from nnunet_trainer.contract.work_order import CheckpointPolicy
from nnunet_trainer.training.loop import iteration
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting import reporter
from nnunet_trainer.training.state.checkpoint_writer import CheckpointWriter

from ..conftest import dataset_json, plans, short_setup


def weights(folder):
    return checkpoint.load(folder / "checkpoint_final.pth")["network_weights"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_training_leaves_nnunets_files(setup):
    heard, saved = [], []
    s = setup(listener=heard.append, on_checkpoint=lambda path, epoch, sha: saved.append((path.name, epoch, sha)))
    result = train(s)
    assert result.folder == s.results / "Dataset901_Balls" / "nnUNetTrainer_short__nnUNetPlans__3d_fullres" / "fold_0"
    names = {p.name for p in result.folder.iterdir()}
    assert {"checkpoint_final.pth", "checkpoint_best.pth", "progress.png"} <= names
    assert not {"checkpoint_latest.pth", "checkpoint_previous.pth"} & names
    assert {p.name for p in result.folder.parent.iterdir()} >= {"plans.json", "dataset.json", "dataset_fingerprint.json"}
    assert "train_loss" in next(result.folder.glob("training_log_*.txt")).read_text()
    assert result.epochs == 2
    assert result.checkpoint_sha256 == checkpoint.sha256(result.checkpoint) == saved[-1][2]
    content = torch.load(result.checkpoint, weights_only=True)
    assert set(checkpoint.KEYS) <= set(content)
    assert content["current_epoch"] == 2
    assert content["trainer_name"] == "nnUNetTrainer"
    assert all(len(values) == 2 for values in content["logging"].values())
    assert heard[-1].epoch == 2
    assert all(progress.decode(progress.codec.dumps(p)) for p in heard)


def test_it_learns(setup):
    result = train(setup({"epochs": 4, "iterationsPerEpoch": 12, "optimizer": {"momentum": 0.9}}))
    losses = checkpoint.load(result.checkpoint)["logging"]["train_losses"]
    assert losses[-1] < losses[0] - 0.3
    assert result.ema_pseudo_dice > 0.2


@pytest.mark.parametrize("workers", [None, 1], ids=["thread", "process"])
def test_the_same_seed_gives_the_same_weights_whoever_reads(setup, tmp_path, workers):
    def kill_a_worker(done, of):
        """In the middle of an epoch."""
        if workers and done == 2 and not killed:
            killed.append(next(pid for pid in children() if "loading.worker" in command(pid)))
            os.kill(killed[-1], signal.SIGKILL)

    killed = []
    one = train(setup(results=tmp_path / "a"))
    two = train(setup(results=tmp_path / "b", workers=workers, on_step=kill_a_worker))
    assert same(weights(one.folder), weights(two.folder))
    assert len(killed) == (1 if workers else 0)
    log = next(two.folder.glob("training_log_*.txt")).read_text()
    assert all(f"The worker process {pid}, which reads training data, was ended by SIGKILL." in log for pid in killed)
    assert not any("loading.worker" in command(pid) for pid in children()), "workers end with the training"


def children():
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_another_seed_gives_other_weights(setup, tmp_path):
    one, other = (train(setup({"epochs": 1}, results=tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert not same(weights(one.folder), weights(other.folder))


class StopAfter(threading.Event):
    """Set after it was asked some times."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    def is_set(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module")
def whole(preprocessed, tmp_path_factory):
    """A training that nobody stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporter, "progress_plot", lambda logging, folder: folder / "progress.png")
        return train(short_setup(preprocessed, tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("steps", [0, 2, 3, 4, 6, 8])  # an epoch has three iterations, and two of its validation
def test_a_stopped_training_goes_on_to_the_same_weights(setup, tmp_path, steps, whole):
    with pytest.raises(Stopped) as stopped:
        train(setup(results=tmp_path / "parts", stop=StopAfter(steps)))
    assert stopped.value.exit_code == 143
    parts = train(setup(results=tmp_path / "parts", resume=True))
    assert parts.resumed_from_epoch == steps // 5
    assert same(weights(whole.folder), weights(parts.folder))
    both = [checkpoint.load(r.checkpoint)["logging"] for r in (whole, parts)]
    timed = {"epoch_start_timestamps", "epoch_end_timestamps"}
    assert all(both[0][key] == both[1][key] for key in both[0].keys() - timed)


def test_a_finished_training_is_found(setup):
    train(setup())
    again = train(setup(resume=True))
    assert again.found
    assert again.epochs == 2
    more = train(setup({"epochs": 3}, resume=True))
    assert not more.found
    assert more.resumed_from_epoch == 2


def test_results_are_not_overwritten(setup):
    train(setup())
    with pytest.raises(BadUsage, match="checkpoint_final"):
        train(setup())


def test_a_damaged_checkpoint_is_skipped_with_a_warning(setup):
    s = setup({"epochs": 3}, stop=StopAfter(11))
    with pytest.raises(Stopped):
        train(s)
    latest = s.fold_folder / "checkpoint_latest.pth"
    latest.write_bytes(latest.read_bytes()[:-100])
    lines = []
    result = train(setup({"epochs": 3}, resume=True, log=lines.append))
    assert any("checkpoint_latest.pth is damaged" in line for line in lines)
    assert result.resumed_from_epoch == 2


def test_checkpoints_by_the_clock_fall_into_the_validation_of_an_epoch_too(setup, monkeypatch):
    saved = []
    write = CheckpointWriter.write

    def write_now(self, content, names):
        write(self, content, names)
        self.wait()

    monkeypatch.setattr(CheckpointWriter, "write", write_now)
    policy = CheckpointPolicy(every_epochs=100, every_minutes=0, keep=1)
    train(setup({"epochs": 1}, checkpoint=policy, on_checkpoint=lambda path, epoch, sha: saved.append(path.name)))
    assert saved.count("checkpoint_latest.pth") == 2 + 2


def test_a_checkpoint_of_other_plans_is_refused(setup):
    train(setup())
    other = plans(patch_size=[8, 8, 16])
    with pytest.raises(BadConfiguration, match="other plans"):
        train(setup(plans=other, resume=True))
    first = setup().fold_folder / "checkpoint_final.pth"
    with pytest.raises(BadConfiguration) as refused:
        train(setup(plans=other, trainer="another", resume_from=[first]))
    assert any("patch_size" in line and "[8, 8, 16]" in line for line in refused.value.findings)


def test_a_changed_recipe_under_the_same_name_is_refused(setup):
    train(setup())
    with pytest.raises(BadConfiguration) as refused:
        train(setup({"epochs": 3, "optimizer": {"momentum": 0.9}}, resume=True))
    assert any("momentum" in line for line in refused.value.findings)


def test_a_loss_that_is_no_number_ends_the_training(setup):
    with pytest.raises(BadConfiguration, match=r"epoch \d, iteration \d.*diverged"):
        train(setup({"epochs": 20, "optimizer": {"learningRate": 1e30}, "gradientClip": None}))


def test_images_that_hold_no_numbers_are_named(setup, preprocessed, tmp_path, monkeypatch):
    from nnunet_trainer.training.data import sampling

    read = sampling.read_patch

    def poisoned(array, origin, out, outside):
        read(array, origin, out, outside)
        if out.dtype.kind == "f":
            out[:] = math.nan

    monkeypatch.setattr(sampling, "read_patch", poisoned)
    with pytest.raises(BadData, match="ball_0"):
        train(setup())


@pytest.mark.parametrize(
    ("configuration", "labels", "more"),
    [
        ("2d", None, {}),
        ("3d_fullres", {"background": 0, "ball": [1, 2], "core": 2}, {"regions_class_order": [1, 2]}),
        ("3d_fullres", {"background": 0, "shell": 1, "ignore": 2}, {}),
        ("3d_fullres", {"background": 0, "shell": [1], "both": [0, 1], "ignore": 2}, {"regions_class_order": [1, 1]}),
    ],
)
def test_other_kinds_of_data(setup, configuration, labels, more):
    result = train(setup({"epochs": 1}, configuration=configuration, dataset_json=dataset_json(labels, **more)))
    assert math.isfinite(result.train_loss)


@pytest.mark.parametrize(
    "changes",
    [
        {"deepSupervision": False},
        {"network": {"normalization": "batch"}},
        {"precision": "bf16"},
        {"warmUpEpochs": 1, "schedule": "cosine"},
        {"learningRateFactors": {"encoder.*": 0.1}},
        {"loss": "CE"},
    ],
)
def test_recipes_train(setup, changes):
    assert math.isfinite(train(setup({"epochs": 1, **changes})).train_loss)


def test_frozen_parameters_stay(setup):
    stays = train(setup({"epochs": 1, "freezing": {"patterns": ["encoder.*"]}}, trainer="stays"))
    later = train(setup({"epochs": 2, "freezing": {"patterns": ["encoder.*"], "untilEpoch": 1}}, trainer="later"))
    fresh = setup({"epochs": 1, "learningRateFactors": {"*": 0}}, trainer="fresh")
    initial = weights(train(fresh).folder)
    moved = weights(stays.folder)
    for key, value in initial.items():
        in_encoder = key.startswith(("encoder.", "decoder.encoder."))
        unused = key.startswith("decoder.seg_layers.0.")
        assert torch.equal(moved[key], value) == (in_encoder or unused), key
    assert not torch.equal(
        weights(later.folder)["encoder.stages.0.0.convs.0.conv.weight"], initial["encoder.stages.0.0.convs.0.conv.weight"]
    )


def test_a_recipe_that_freezes_everything_is_refused(setup):
    with pytest.raises(BadConfiguration, match="nothing is left to train"):
        train(setup({"freezing": {"patterns": ["*"]}}))


def test_network_changes_stand_in_the_results_plans(setup):
    s = setup({"epochs": 1, "network": {"normalization": "batch", "nonlinearity": "ReLU"}})
    train(s)
    written = json.loads((s.model_folder / "plans.json").read_text())["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert written["norm_op"].endswith("BatchNorm3d")
    assert written["nonlin"] == "torch.nn.ReLU"


def test_an_unknown_fold_is_named(setup):
    with pytest.raises(BadConfiguration, match="fold"):
        train(setup(fold="first"))


def test_too_little_gpu_memory_is_said_in_sizes(setup, monkeypatch):
    from types import SimpleNamespace

    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(iteration, "train_step", full)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=11 * 2**30))
    with pytest.raises(GpuOutOfMemory, match=r"more than the 11\.0 GiB of this GPU at patch 8×16×16, batch 2") as fault:
        train(setup())
    assert fault.value.exit_code == 71
    assert "gpuMemoryGB: 9" in fault.value.hint


def test_progress_is_told_within_an_epoch_too(setup, monkeypatch):

    monkeypatch.setattr(reporter, "EVERY_SECONDS", 0.0)
    heard = []
    train(setup({"epochs": 1}, listener=heard.append))
    assert {p.phase for p in heard} == {"training", "validating patches"}
    assert [p.epoch for p in heard] == sorted(p.epoch for p in heard)
    assert len([p for p in heard if p.epoch == 0]) >= 5
