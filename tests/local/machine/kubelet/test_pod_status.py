"""A pod's status from what its process did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.local.machine.kubelet import pod_status

Manifest = dict[str, Any]


def test_a_message_is_the_tail_of_the_file_else_of_the_log(tmp_path: Path) -> None:
    log, container = tmp_path / "log", {"terminationMessagePolicy": "FallbackToLogsOnError"}
    log.write_text("".join(f"line {i}\n" for i in range(1000)))
    lines = pod_status.termination_message(tmp_path, log, container, 1).splitlines()
    assert len(lines) == 80
    assert lines[-1] == "line 999"
    assert pod_status.termination_message(tmp_path, log, container, 0) == ""
    assert pod_status.termination_message(tmp_path, log, {}, 1) == ""
    (tmp_path / "termination-log").write_text("x" * 5000 + "end")
    message = pod_status.termination_message(tmp_path, log, container, 1)
    assert len(message) == 4096
    assert message.endswith("end")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"exitCode": 137, "signal": 9, "asked": False, "oomKills": 1}, "OOMKilled"),
        ({"exitCode": 137, "signal": 9, "asked": False, "oomKills": 0}, "Error"),
        ({"exitCode": 137, "signal": 9, "asked": True, "oomKills": 1}, "Error"),
        ({"exitCode": 0, "signal": 0, "asked": False, "oomKills": 1}, "Completed"),
    ],
)
def test_why_a_process_ended(end: Manifest, reason: str) -> None:
    whole = {"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "trainer"}]}}
    status = pod_status.terminated(whole, {**end, "startedAt": 1.0, "finishedAt": 2.0}, "")
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == reason
