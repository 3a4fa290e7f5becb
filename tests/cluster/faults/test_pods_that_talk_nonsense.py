"""Pods whose last words, or answers on `/progress`, are not what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.faults import bad_answers, last_words

pytestmark = pytest.mark.controlplane


def test_termination_messages_of_garbage_harm_nobody(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = last_words.garbage(control_plane, tmp_path, of_each=4, seed=1)
    assert (count.lost, count.doubled) == ([], [])
    assert count.tried > 10


def test_who_hangs_or_lies_on_progress_is_not_believed_and_holds_nobody_up(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = bad_answers.bad_progress(control_plane, tmp_path, hanging=16, honest=1, seed=1)
    assert (count.lost, count.doubled) == ([], [])
