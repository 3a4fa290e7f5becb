"""What `nnunet-trainer train` prints."""

import io
import json

from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.training.reporting.terminal import about, display


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def told(shown):
    for epoch in range(3):
        shown.listener(Progress(step="train", phase="training", done=epoch, total=3, epoch=epoch, epochs=3, train_loss=0.5))
        if shown.on_step is not None:
            for step in range(5):
                shown.on_step(step, 5)
        shown.listener(Progress(step="train", phase="validating patches", done=epoch, total=3, epoch=epoch, epochs=3))
        shown.log(f"line {epoch} [not markup]")
    shown.listener(Progress(step="train", phase="validating", done=1, total=7, epoch=3, epochs=3))


def test_elsewhere_one_json_line_an_epoch_and_the_log_on_stderr():
    out, errors = io.StringIO(), io.StringIO()
    with display(out, errors) as shown:
        told(shown)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [
        ("training", 0),
        ("training", 1),
        ("training", 2),
        ("validating", 3),
    ]
    assert errors.getvalue().splitlines() == [f"line {i} [not markup]" for i in range(3)]


def test_a_bar_on_a_terminal_below_the_log(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    with display(out, io.StringIO()) as shown:
        told(shown)
    text = out.getvalue()
    assert "line 1 [not markup]" in text
    assert "validating 1/7" in text
    assert "{" not in text


def test_the_numbers_beside_the_bar():
    assert about(Progress(step="train")) == ""
    known = Progress(step="train", train_loss=-0.7123, ema_pseudo_dice=0.8765, eta_seconds=3725.0)
    assert about(known) == "loss -0.712, Dice 0.876, 1h02m left"
    assert about(Progress(step="train", eta_seconds=65.2)) == "1m05s left"
