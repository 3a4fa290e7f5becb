"""Trainings of two ranks that must not go on, or whose first rank must not be ended yet."""

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.training.loop.fold_training import train
from support.trainings import ranks

from trainer.training.conftest import short_setup

from . import training_ranks

LOSS = """
from nnunet_trainer.extensions import register

@register("loss", "Mine")
def mine(context):
    return lambda logits, target: {factor} * logits.square().mean()
"""


def ends(tmp_path, preprocessed, *arguments):
    """Exit codes and last words of two ranks."""
    codes = ranks.ends(ranks.start(2, training_ranks.trains, (str(preprocessed), str(tmp_path), *arguments), tmp_path))
    return codes, [(tmp_path / f"end-{rank}.txt").read_text() for rank in range(2)]


def fold_folder(preprocessed, tmp_path):
    return short_setup(preprocessed, tmp_path).fold_folder


@pytest.mark.parametrize(("other", "named"), [("2.0", "plug-in mine"), (None, "recipe")], ids=["another", "none"])
def test_nodes_with_different_plugins_are_found_at_the_start(preprocessed, tmp_path, other, named):
    for rank, factor in enumerate(["1.0", other]):
        folder = tmp_path / f"node {rank}" / "mine"
        folder.mkdir(parents=True)
        (folder / "loss.py").write_text(LOSS.format(factor=factor or "1.0"))
        if factor is None:  # it has the component from elsewhere
            folder.rename(folder.with_name("yours"))
    plugins = [str(tmp_path / f"node {rank}") for rank in range(2)]
    codes, told = ends(tmp_path, preprocessed, {"loss": {"name": "Mine"}}, plugins)
    assert codes == [ExitCode.BAD_CONFIGURATION] * 2
    for text in told:
        assert text.startswith("NodesDiffer: The ranks of this training were not given the same plug-in mine")
        assert "rank 1 on " in text


def test_a_checkpoint_of_a_newer_version_is_refused_by_all_ranks_in_the_same_words(preprocessed, tmp_path):
    setup = short_setup(preprocessed, tmp_path, {"epochs": 1, "iterationsPerEpoch": 1})
    path = train(setup).checkpoint
    content = torch.load(path, weights_only=False)
    content[checkpoint.EXTRA]["format"] = 99
    checkpoint.save(path, content)
    codes, told = ends(tmp_path, preprocessed, {})
    assert codes == [ExitCode.BAD_CONFIGURATION] * 2
    assert told[0] == told[1]
    assert told[0].startswith(f"CheckpointTooNew: {path} has format 99")


def test_a_checkpoint_that_is_being_written_when_another_rank_fails_is_written(preprocessed, tmp_path):
    arguments = (str(preprocessed), str(tmp_path), checkpoint.LATEST)
    codes = ranks.ends(ranks.start(2, training_ranks.on_a_slow_disk, arguments, tmp_path))
    assert codes == [ExitCode.BAD_DATA] * 2, (tmp_path / "rank-0.log").read_text()
    assert "rank 1 on " in (tmp_path / "end-0.txt").read_text()
    written = checkpoint.load(fold_folder(preprocessed, tmp_path) / checkpoint.LATEST)
    assert written["current_epoch"] == 1


def test_sigterm_leaves_the_disk_its_time_for_the_final_checkpoint(preprocessed, tmp_path):
    arguments = (str(preprocessed), str(tmp_path), checkpoint.FINAL)
    processes = ranks.start(2, training_ranks.on_a_slow_disk, arguments, tmp_path)
    while not all((tmp_path / name).exists() for name in ("writing", "final-0", "final-1")):
        assert all(process.is_alive() for process in processes)
        processes[0].join(0.02)
    for process in processes:
        process.terminate()
    assert ranks.ends(processes) == [0, 0], (tmp_path / "rank-0.log").read_text()
    assert checkpoint.load(fold_folder(preprocessed, tmp_path) / checkpoint.FINAL)["current_epoch"] == 1
