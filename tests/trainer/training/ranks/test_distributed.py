"""Ranks: whatever the split, gradients and weights are those of one process; any rank can stop all; only the first one writes."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.cli import main
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.training.components.registries import LOSSES
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks import distributed, gradients
from support.apiclient import wait_until
from support.trainings import ranks

from trainer.inference import models

from . import rank_worker

pytestmark = pytest.mark.xdist_group("ranks")  # one worker has the server that they are forked from


def launch(world, mode, arguments, folder=None):
    """Start the ranks; returns their processes."""
    folder = Path(folder or arguments["results"])
    return ranks.start(world, rank_worker.main, (mode, arguments), folder)


def finish(processes, folder, expected=0):
    found = ranks.ends(processes, 180)
    logs = "\n".join(log.read_text() for log in sorted(folder.glob("rank-*.log")))
    assert found == [expected] * len(processes), logs


@pytest.fixture(scope="module")
def gradients_of_one(preprocessed, tmp_path_factory):
    """By scenario, those of one process for a batch of five."""
    arguments = {"preprocessed": str(preprocessed), "results": str(tmp_path_factory.mktemp("one")), "batch_size": 5}
    with distributed.ranks("cpu") as alone:
        return {
            name: rank_worker.gradients(rank_worker.make_setup(**arguments, scenario=name), alone)
            for name in [*rank_worker.SCENARIOS, *rank_worker.RECIPES]
        }


@pytest.mark.parametrize("world", [2, 3])
def test_gradients_of_uneven_splits_are_those_of_one_process(preprocessed, gradients_of_one, tmp_path, world):
    arguments = {"preprocessed": str(preprocessed), "results": str(tmp_path), "batch_size": 5}
    finish(launch(world, "gradients", arguments), tmp_path)
    of_ranks = [torch.load(tmp_path / f"rank_{rank}.pt") for rank in range(world)]
    for name, expected in gradients_of_one.items():
        for rank, found in enumerate(of_ranks):
            assert found[name].keys() == expected.keys()
            for key, value in expected.items():
                difference = (found[name][key].double() - value.double()).norm()
                assert difference <= 1e-6 * value.double().norm() + 1e-9, f"{name}, rank {rank}: {key}"


def test_every_loss_is_among_those_that_are_compared():
    assert {"DiceCE", *rank_worker.LOSSES} == set(LOSSES)


def test_two_ranks_train_what_one_does_and_only_the_first_writes(preprocessed, tmp_path):
    arguments = {"preprocessed": str(preprocessed), "results": str(tmp_path / "two"), "batch_size": 3}
    (tmp_path / "two").mkdir()
    finish(launch(2, "train", arguments), tmp_path / "two")
    one = train(rank_worker.make_setup(**arguments | {"results": str(tmp_path / "one")}))
    folder = tmp_path / "two" / one.folder.relative_to(tmp_path / "one")
    assert len(list(folder.glob("training_log_*"))) == 1
    ours, alone = checkpoint.load(folder / "checkpoint_final.pth"), checkpoint.load(one.checkpoint)
    for key, value in alone["network_weights"].items():
        torch.testing.assert_close(ours["network_weights"][key], value, rtol=1e-4, atol=1e-5, msg=key)
    for key in ("train_losses", "val_losses", "mean_fg_dice"):
        assert ours["logging"][key] == pytest.approx(alone["logging"][key], rel=1e-4)


def test_sigterm_to_one_rank_stops_all_with_a_checkpoint(preprocessed, tmp_path):
    arguments = {
        "preprocessed": str(preprocessed),
        "results": str(tmp_path),
        "batch_size": 2,
        "recipe": {"epochs": 100_000},
    }
    processes = launch(2, "train", arguments)
    wait_until(
        lambda: (tmp_path / "an epoch is done").exists() or not all(process.is_alive() for process in processes), timeout=180
    )
    processes[1].terminate()
    finish(processes, tmp_path, expected=143)
    setup = rank_worker.make_setup(**arguments)
    found, problems = checkpoint.newest(checkpoint.candidates(setup.fold_folder))
    assert found is not None
    assert not problems
    assert found.path.name == "checkpoint_latest.pth"
    assert found.position >= (1, 0)


def test_a_resumed_training_of_two_ranks_is_that_of_one(preprocessed, tmp_path):
    """Epoch 1 by two ranks, epoch 2 by two new ones from its checkpoint, of which the second has no copy."""
    arguments = {"preprocessed": str(preprocessed), "batch_size": 3, "recipe": {"schedule": {"name": "constant"}}}
    for epochs, resume in ((1, False), (2, True)):
        recipe = {**arguments["recipe"], "epochs": epochs}
        more = {"recipe": recipe, "resume": resume, "apart": True}
        finish(launch(2, "train", {**arguments, "results": str(tmp_path), **more}), tmp_path)
        (tmp_path / "an epoch is done").unlink()
    one = train(rank_worker.make_setup(**{**arguments, "results": str(tmp_path / "one"), "recipe": recipe}))
    folder = tmp_path / "rank 0" / one.folder.relative_to(tmp_path / "one")
    ours, alone = checkpoint.load(folder / "checkpoint_final.pth"), checkpoint.load(one.checkpoint)
    assert ours["logging"]["train_losses"] == pytest.approx(alone["logging"]["train_losses"], rel=1e-4)
    for key, value in alone["network_weights"].items():
        torch.testing.assert_close(ours["network_weights"][key], value, rtol=1e-4, atol=1e-5, msg=key)
    state, expected = ours["optimizer_state"]["state"], alone["optimizer_state"]["state"]
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(state[key]["momentum_buffer"], value["momentum_buffer"], rtol=1e-3, atol=1e-4)


def test_a_finished_training_is_gone_on_from_by_two_ranks_as_by_one(preprocessed, tmp_path):
    first = train(rank_worker.make_setup(preprocessed=str(preprocessed), results=str(tmp_path / "first"), batch_size=3))
    continues = {"checkpoint": str(first.checkpoint), "epochs": 1, "additional_epochs": 1, "schedule": "Restart", "source": "first"}
    arguments = {"preprocessed": str(preprocessed), "batch_size": 3, "recipe": {"epochs": 2}, "continues": continues}
    finish(launch(2, "train", {**arguments, "results": str(tmp_path), "apart": True}), tmp_path)
    one = train(rank_worker.make_setup(**arguments, results=str(tmp_path / "one")))
    folder = tmp_path / "rank 0" / one.folder.relative_to(tmp_path / "one")
    ours, alone = checkpoint.load(folder / "checkpoint_final.pth"), checkpoint.load(one.checkpoint)
    assert ours["logging"]["lrs"] == alone["logging"]["lrs"] == [0.01, 0.01]
    assert ours["logging"]["train_losses"] == pytest.approx(alone["logging"]["train_losses"], rel=1e-4)
    for key, value in alone["network_weights"].items():
        torch.testing.assert_close(ours["network_weights"][key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"splits": [{"train": ["ball_00", "ball_01"], "val": ["ball_02"]}]}, r"splits \(splits_final.json\)"),
        ({"batch_size": 4, "recipe": {"epochs": 7}, "seed": 5}, "configuration, fold and seed, plans, recipe"),
        ({"weights": 1e-3}, "weights"),
    ],
)
def test_what_differs_between_nodes_is_found_at_the_start(preprocessed, tmp_path, other, named):
    folders = [tmp_path / "node 0", tmp_path / "node 1"]
    for folder in folders:
        shutil.copytree(preprocessed, folder)
    if "splits" in other:
        (folders[1] / "splits_final.json").write_text(json.dumps(other["splits"]))
    arguments = {"preprocessed": [str(f) for f in folders], "results": str(tmp_path), "batch_size": 3, "other": other}
    finish(launch(2, "differ", arguments), tmp_path, expected=78)
    for rank in range(2):
        told = (tmp_path / f"fault of rank {rank}.txt").read_text()
        assert re.search(rf"NodesDiffer: .*not given the same {named}", told), told
        assert re.search(rf"rank 1 on \S+ has other {named.split(', ')[-1]} than rank 0", told), told


def test_more_ranks_than_samples_are_refused():
    from nnunet_trainer.training.data.batch import rank_slots

    with pytest.raises(BadConfiguration, match="batch of 2 cannot be split over 3"):
        rank_slots(2, 0, 3)


def test_incomplete_variables_are_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(BadUsage, match="MASTER_ADDR"), distributed.ranks("cpu"):
        pass


def test_buckets_keep_every_gradient(monkeypatch):
    monkeypatch.setattr(gradients, "BUCKET_BYTES", 40)
    tensors = [torch.zeros(n) for n in (1, 20, 3, 4, 5, 30)] + [torch.zeros(2, dtype=torch.float64)]
    buckets = list(gradients.buckets(tensors))
    assert [id(t) for bucket in buckets for t in bucket] == [id(t) for t in tensors]
    assert all(len({t.dtype for t in bucket}) == 1 for bucket in buckets)
    assert len(buckets) > 2


def content(rank, number, size):
    return random.Random(f"{rank} {number}").randbytes(size)


def test_files_of_other_nodes_come_to_the_first_rank(tmp_path):
    """Ranks 0 and 1 are on one node, 2 and 3 on another; the last comes later than the process group's timeout."""
    sizes = [0, 1, 999, 1000, 1001, 25_000]
    roots = [str(tmp_path / "node 0" / "model"), str(tmp_path / "node 0" / "model"), *[str(tmp_path / "node 1" / "model")] * 2]
    finish(launch(4, "gather", {"roots": roots, "sizes": sizes, "late": 1.5}, tmp_path), tmp_path)
    names = [f"validation/sub.folder/case_{rank}.{number}.bin" for rank in (2, 3) for number in range(len(sizes))]
    assert json.loads((tmp_path / "node 0" / "came.json").read_text()) == names
    first = Path(roots[0])
    for rank in range(4):
        for number, size in enumerate(sizes):
            assert (first / f"validation/sub.folder/case_{rank}.{number}.bin").read_bytes() == content(rank, number, size)
    # Nothing else is left, and nothing travels the other way.
    assert len([p for p in first.rglob("*") if p.is_file()]) == 4 * len(sizes)
    assert len([p for p in Path(roots[2]).rglob("*") if p.is_file()]) == 2 * len(sizes)


def test_nodes_that_share_no_disk_validate_all_cases(tmp_path):
    raw = Path(__file__).parents[4] / "examples/data/Dataset004_Hippocampus"
    folder = tmp_path / "nnUNet_preprocessed" / raw.name
    folder.mkdir(parents=True)
    few = tmp_path / "raw" / raw.name
    names = ["hippocampus_001", "hippocampus_008", "hippocampus_011", "hippocampus_019"]
    for name in names:
        for kind in ("imagesTr", "labelsTr"):
            (few / kind).mkdir(parents=True, exist_ok=True)
            for path in (raw / kind).glob(f"{name}*"):
                shutil.copy(path, few / kind)
    (few / "dataset.json").write_text(json.dumps({**models.DATASET, "numTraining": len(names)}))
    (folder / "nnUNetPlans.json").write_text(json.dumps(models.plans()))
    call = ["preprocess", str(few), "--plans", str(folder / "nnUNetPlans.json"), "--configuration", "small"]
    assert main([*call, "-o", str(folder), "--workers", "1"]) == 0
    (folder / "splits_final.json").write_text(json.dumps([{"train": names[:1], "val": names[1:]}]))
    arguments = {"preprocessed": str(folder), "results": str(tmp_path), "configuration": "small"}
    finish(launch(2, "validate", arguments), tmp_path)
    summary = json.loads((tmp_path / "0.json").read_text())
    assert [Path(entry["prediction_file"]).name for entry in summary["metric_per_case"]] == [f"{n}.nii.gz" for n in names[1:]]
    assert json.loads((tmp_path / "1.json").read_text()) is None
    one, other = ({p.name for p in (tmp_path / rank).rglob("validation/*") if p.is_file()} for rank in ("0", "1"))
    assert one == {f"{n}.nii.gz" for n in names[1:]} | {"summary.json"}
    assert other == {f"{names[2]}.nii.gz"}
    # So is the evaluation after the epoch, whose Dice every rank knows.
    one, other = ({p.name for p in (tmp_path / rank).rglob("validation_after_ep_0000/*")} for rank in ("0", "1"))
    assert (one, other) == ({"summary.json"}, set())
    (file,) = (tmp_path / "0").rglob("validation_after_ep_0000/summary.json")
    evaluated = json.loads(file.read_text())
    assert len(evaluated["metric_per_case"]) == len(names[1:])
    told = {(tmp_path / f"{rank} whole images.txt").read_text() for rank in ("0", "1")}
    assert told == {repr(evaluated["foreground_mean"]["Dice"])}
