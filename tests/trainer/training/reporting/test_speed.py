"""What is said of a training's speed: in the log, in progress, and with --profile a row a phase."""

import pytest
import torch
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting import speed
from nnunet_trainer.training.reporting.epoch_statistics import EpochStatistics
from nnunet_trainer.training.session.step_phases import PHASES


def of(seconds, steps=10, patches=20):
    return EpochStatistics(patches=patches, steps=steps, seen=(True,), seconds=dict.fromkeys(PHASES, 0.0) | seconds)


def test_the_line_names_what_takes_most_first():
    found = of({"backward": 5.0, "forward and loss": 3.0, "waiting for data": 1.99, "optimizer": 0.01})
    said = speed.line(found, 3 * 2**29, torch.device("cpu"))
    assert said == "2 patches/s: backward 50%, forward and loss 30%, waiting for data 20%; peak memory 1.5 GiB"
    assert speed.line(found, 2**33, torch.device("cuda")).endswith("peak GPU memory 8.0 GiB")
    assert speed.line(of({}), 0, torch.device("cpu")).startswith("0 patches/s")


def test_the_table_has_a_row_for_each_phase():
    rows = speed.table(of({"backward": 5.0, "optimizer": 0.5}))
    assert [row.split("  ")[0].strip() for row in rows] == [*PHASES, "a whole step"]
    assert "500.00 ms  90.9%" in rows[3]
    assert rows[-1].split()[-2:] == ["550.00", "ms"]


@pytest.mark.parametrize("profile", [False, True])
def test_a_training_tells_it(setup, profile):
    lines, heard = [], []
    train(setup({"epochs": 1}, profile=profile, log=lines.append, listener=heard.append))
    (said,) = [line for line in lines if line.startswith("Speed: ")]
    assert heard[-1].speed == said.removeprefix("Speed: ")
    assert "backward " in said
    assert heard[-1].patches_per_second > 0
    assert heard[-1].peak_memory_bytes > 2**20
    assert any(line.startswith("forward and loss ") for line in lines) == profile
