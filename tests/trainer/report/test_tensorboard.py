"""Event files: what TensorBoard's own reader finds in them."""

import math
import struct

import pytest
from nnunet_trainer.report import tensorboard
from nnunet_trainer.report.tensorboard import PATTERN, EventFile, crc32c, record

from .test_report import LOGGING

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def first(epochs):
    return {name: values[:epochs] for name, values in LOGGING.items()}


def read(folder):
    """Tag → [(step, value)], by TensorBoard."""
    found = accumulator.EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, pytest.approx(e.value)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_the_checksum_is_castagnolis():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_a_record_holds_its_length_and_two_checksums():
    data = b"abc"
    whole = record(data)
    assert struct.unpack("<Q", whole[:8]) == (3,)
    assert whole[12:15] == data
    assert len(whole) == 8 + 4 + 3 + 4


def test_tensorboard_reads_every_curve(tmp_path):
    EventFile(tmp_path, ["tumour"]).write(LOGGING)
    curves = read(tmp_path)
    assert curves["loss/train"] == [(0, 0.0), (1, -0.2), (2, -0.4)]
    assert curves["loss/validation"] == [(0, 0.1), (1, -0.1), (2, -0.3)]
    assert curves["pseudo_dice/mean"] == curves["pseudo_dice/tumour"] == [(0, 0.2), (1, 0.5), (2, 0.7)]
    assert curves["pseudo_dice/moving_average"] == [(0, 0.2), (1, 0.23), (2, 0.28)]
    assert curves["learning_rate"] == [(0, 0.01), (1, 0.009), (2, 0.008)]
    assert curves["epoch_seconds"] == [(0, 10.0), (1, 11.0), (2, 12.0)]


def test_a_resumed_training_has_each_epoch_once(tmp_path):
    before = EventFile(tmp_path, ["tumour"])
    before.write(first(2))
    before.write(first(3))  # the checkpoint is older: epoch 2 is trained again
    repeated = {**LOGGING, "train_losses": [0.0, -0.2, -0.9]}
    after = EventFile(tmp_path, ["tumour"])
    after.write({name: values[:2] for name, values in repeated.items()})
    after.write(repeated)
    assert [path.name for path in tmp_path.glob(PATTERN) if path.stat().st_size] == [after.path.name]
    assert after.path.name > before.path.name
    assert read(tmp_path)["loss/train"] == [(0, 0.0), (1, -0.2), (2, -0.9)]


def test_an_open_tensorboard_drops_what_was_trained_again(tmp_path):
    before = EventFile(tmp_path, ["tumour"])
    before.write(LOGGING)
    looking = accumulator.EventAccumulator(str(tmp_path)).Reload()
    EventFile(tmp_path, ["tumour"]).write(first(2))
    assert [e.step for e in looking.Reload().Scalars("loss/train")] == [0, 1]


def test_steps_of_any_size_and_numbers_that_are_none(tmp_path):
    many = {name: values * 100 for name, values in LOGGING.items()}
    many["mean_fg_dice"] = [math.nan, *many["mean_fg_dice"][1:]]
    many["val_losses"] = [math.inf, *many["val_losses"][1:]]
    EventFile(tmp_path, ["tumour"]).write(many)
    curves = read(tmp_path)
    assert [step for step, _ in curves["loss/train"]] == list(range(300))
    assert [step for step, _ in curves["pseudo_dice/mean"]] == list(range(1, 300))
    assert curves["loss/validation"][0] == (0, math.inf)


def test_the_file_is_begun_after_older_ones_whatever_the_clock_says(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard.time, "time", lambda: 2_000_000_000.0)
    older = EventFile(tmp_path, [])
    monkeypatch.setattr(tensorboard.time, "time", lambda: 1_000_000_000.0)
    assert EventFile(tmp_path, []).path.name > older.path.name


def test_emptied_files_do_not_pile_up(tmp_path):
    for _ in range(5):
        EventFile(tmp_path, []).write(LOGGING)
    assert len(list(tmp_path.glob(PATTERN))) == 2
