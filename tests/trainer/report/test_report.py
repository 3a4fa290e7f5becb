import json
import math

import numpy as np
import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadUsage, ExitCode
from nnunet_trainer.evaluation import overlap, summarize, write_summary
from nnunet_trainer.report.progress_plot import draw, progress_figure, progress_plot
from nnunet_trainer.report.runs import find_folds

LOGGING = {
    "train_losses": [0.0, -0.2, -0.4],
    "val_losses": [0.1, -0.1, -0.3],
    "mean_fg_dice": [0.2, 0.5, 0.7],
    "ema_fg_dice": [0.2, 0.23, 0.28],
    "epoch_start_timestamps": [100.0, 110.0, 121.0],
    "epoch_end_timestamps": [110.0, 121.0, 133.0],
    "lrs": [0.01, 0.009, 0.008],
    "dice_per_class_or_region": [[0.2], [0.5], [0.7]],
}


def test_the_figure_shows_what_was_logged():
    losses, durations, rates, dice = progress_figure(LOGGING).axes
    lines = {line.get_label(): list(line.get_ydata()) for axes in (losses, durations, rates, dice) for line in axes.lines}
    assert lines == {
        "loss_tr": LOGGING["train_losses"],
        "loss_val": LOGGING["val_losses"],
        "pseudo dice": LOGGING["mean_fg_dice"],
        "pseudo dice (mov. avg.)": LOGGING["ema_fg_dice"],
        "epoch duration": [10.0, 11.0, 12.0],
        "learning rate": LOGGING["lrs"],
    }


def test_an_epoch_that_is_not_complete_is_left_out():
    durations = progress_figure({**LOGGING, "epoch_end_timestamps": [110.0, 121.0]}).axes[1]
    assert list(durations.lines[0].get_ydata()) == [10.0, 11.0]


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_the_picture_is_written_whole(tmp_path, epochs):
    path = draw({name: values[:epochs] for name, values in LOGGING.items()}, tmp_path)
    assert path.name == "progress.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["progress.png"]


def test_nan_is_no_problem(tmp_path):
    path = progress_plot({**LOGGING, "mean_fg_dice": [math.nan] * 3, "val_losses": [math.inf, 1.0, math.nan]}, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(OSError, match=r"missing/progress.png could not be drawn: FileNotFoundError"):
        progress_plot(LOGGING, tmp_path / "missing")


@pytest.fixture
def results(tmp_path):
    """Two folds of one trainer, one of another that is not finished."""
    model = tmp_path / "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"
    for fold, predicted in (("0", [1, 2, 2]), ("all", None)):
        (model / f"fold_{fold}").mkdir(parents=True)
        (model / f"fold_{fold}/checkpoint_final.pth").touch()
        if predicted:
            metrics = overlap(np.array([1, 1, 2]), np.array(predicted), [1, 2])
            folder = model / f"fold_{fold}/validation"
            folder.mkdir()
            write_summary(
                summarize([{"metrics": metrics, "reference_file": "a", "prediction_file": "a"}], [1, 2]), folder / "summary.json"
            )
    (tmp_path / "Dataset004_Hippocampus/my__Trainer__nnUNetPlans__2d/fold_3").mkdir(parents=True)
    return tmp_path


def test_folds_are_found_and_read(results):
    mine, first, everything = find_folds([results])
    assert (mine.trainer, mine.configuration, mine.finished) == ("my__Trainer", "2d", False)
    assert (first.fold, first.cases, first.finished) == ("0", 1, True)
    assert first.dice == {1: 2 / 3, 2: 2 / 3}
    assert everything.mean_dice is None
    assert find_folds([first.folder]) == [first]
    assert len(find_folds([results, first.folder])) == 3


def test_the_table(results, capsys):
    assert cli.main(["report", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["DATASET", "TRAINER", "PLANS", "CONFIG", "FOLD", "STATE", "CASES", "DICE", "DICE", "1", "DICE", "2"]
    assert lines[1].split()[4:] == ["3", "unfinished", "-", "-", "-", "-"]
    assert lines[2].split()[4:] == ["0", "validated", "1", "0.6667", "0.6667", "0.6667"]
    assert lines[3].split()[4:6] == ["all", "trained"]
    assert lines[-1].endswith("nnUNetTrainer__nnUNetPlans__3d_fullres/fold_all")
    assert cli.main(["report", str(results), "--json"]) == 0
    assert [row["fold"] for row in json.loads(capsys.readouterr().out)] == ["3", "0", "all"]


def test_a_folder_without_results_is_told(tmp_path, capsys):
    with pytest.raises(BadUsage, match="holds no"):
        find_folds([tmp_path])
    assert cli.main(["report", str(tmp_path / "nowhere")]) == ExitCode.BAD_USAGE
    assert "There is no folder" in capsys.readouterr().err
