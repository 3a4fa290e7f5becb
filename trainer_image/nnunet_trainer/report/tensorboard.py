"""TensorBoard's event files: a TFRecord file of `Event` messages with one scalar a value, written without TensorFlow."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATTERN = "events.out.tfevents.*"
START = 1
"""SessionLog.START: whoever has read an earlier file of this folder drops what it knows from that step on."""


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum (RFC 3720)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A TFRecord: length, its masked checksum, data, their masked checksum."""

    def masked(of: bytes) -> bytes:
        value = crc32c(of)
        return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _event(wall_time: float, step: int, content: bytes) -> bytes:
    # Event: 1 wall_time (double), 2 step (int64), 3 file_version, 5 summary, 7 session_log.
    return record(b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step) + content)


def _scalar(tag: str, value: float) -> bytes:
    # Summary: 1 value; Summary.Value: 1 tag, 2 simple_value (float).
    return _message(1, _message(1, tag.encode()) + b"\x15" + struct.pack("<f", value))


def scalars(logging: Mapping[str, Sequence[Any]], epoch: int, names: Sequence[str]) -> dict[str, float]:
    """What one epoch shows, by tag; numbers that are none are left out.

    Args:
        logging: a checkpoint's `logging`.
        epoch: which one.
        names: of the foreground classes.
    """
    values = {
        "loss/train": logging["train_losses"][epoch],
        "loss/validation": logging["val_losses"][epoch],
        "pseudo_dice/mean": logging["mean_fg_dice"][epoch],
        "pseudo_dice/moving_average": logging["ema_fg_dice"][epoch],
        **{f"pseudo_dice/{n}": d for n, d in zip(names, logging["dice_per_class_or_region"][epoch], strict=False)},
        "learning_rate": logging["lrs"][epoch],
        "epoch_seconds": logging["epoch_end_timestamps"][epoch] - logging["epoch_start_timestamps"][epoch],
    }
    return {tag: value for tag, value in values.items() if value == value}


class EventFile:
    """A fold's curves. It begins with all epochs so far, and older files are emptied, so that no epoch is there twice.

    Args:
        folder: of the fold.
        names: of the foreground classes.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._names, self._written = list(names), 0
        older = list(folder.glob(PATTERN))
        # Readers take the files of a folder in the order of their names.
        begun = max([int(time.time()), *(_begun(path) + 1 for path in older)])
        self.path = folder / f"events.out.tfevents.{begun:010d}.{os.getpid()}"
        head = _event(float(begun), 0, _message(3, b"brain.Event:2")) + _event(
            float(begun), 0, _message(7, b"\x08" + _varint(START))
        )
        self.path.write_bytes(head)
        for path in older:
            # A TensorBoard that has one of them open would not find the next one if it were gone.
            os.truncate(path, 0) if path.stat().st_size else path.unlink()

    def write(self, logging: Mapping[str, Sequence[Any]]) -> None:
        """Append the epochs that are new."""
        ends = logging["epoch_end_timestamps"]
        with self.path.open("ab") as file:
            for epoch in range(self._written, len(ends)):
                values = scalars(logging, epoch, self._names)
                file.write(_event(ends[epoch], epoch, _message(5, b"".join(_scalar(t, v) for t, v in values.items()))))
        self._written = len(ends)


def _begun(path: Path) -> int:
    part = path.name.split(".")[3]
    return int(part) if part.isdecimal() else 0
