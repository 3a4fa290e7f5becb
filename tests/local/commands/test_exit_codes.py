"""The exit code of what failed."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.local.commands import exit_codes
from nnunet_trainer.contract.faults import ExitCode

Manifest = dict[str, Any]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("InvalidCases", ExitCode.BAD_DATA),
        ("OutOfGPUMemory", ExitCode.GPU_OUT_OF_MEMORY),
        ("UnknownFold", ExitCode.BAD_CONFIGURATION),
    ],
)
def test_the_exit_code_says_why(reason: str, code: ExitCode) -> None:
    ready = {"type": "Ready", "status": "False", "reason": reason}
    assert exit_codes.of_failed({"status": {"conditions": [ready]}}) is code
