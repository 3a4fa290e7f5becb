"""Addresses of pods, and pods whose process is late."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.local.machine.kubelet import process_runner, shim
from nnunet_operator.local.machine.kubelet.host import Host
from nnunet_operator.local.machine.kubelet.process_runner import Runner
from support.apiclient import wait_until

Manifest = dict[str, Any]


def test_addresses_are_on_loopback_and_not_shared() -> None:
    generator = random.Random(1)
    taken: list[str] = []
    for _ in range(300):
        ip = process_runner.address(str(generator.random()), taken)
        first, second, *rest = map(int, ip.split("."))
        assert (first, second) == (127, 1)
        assert all(1 <= part <= 254 for part in rest)
        assert ip not in taken
        taken.append(ip)
    assert process_runner.address("same", []) != process_runner.address("same", [process_runner.address("same", [])])


def runner(folder: Path) -> Runner:
    """A shell's, over the folder that it shares with those before and after it."""
    return Runner(folder / "pods", Host(contents=lambda *_: None, environment=dict(os.environ)))


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A pod whose shell was killed an hour ago, when it had written what is to be started, and had not started it."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').close()", str(tmp_path / "ran")]
    spec = {"containers": [{"name": "trainer", "command": command}]}
    pod = {"metadata": {"name": "late", "namespace": "default", "uid": "u-1"}, "spec": spec, "status": {"phase": "Pending"}}
    with monkeypatch.context() as patched:
        patched.setattr(process_runner.subprocess, "Popen", killed)
        with pytest.raises(KeyboardInterrupt):
            runner(tmp_path).start(pod, "127.1.0.1")
    launch = tmp_path / "pods" / "u-1" / shim.LAUNCH
    hour_ago = launch.stat().st_mtime - 3600
    os.utime(launch, (hour_ago, hour_ago))
    return pod


def test_the_next_shell_starts_it_and_waits_for_its_own_process(launched: Manifest, tmp_path: Path) -> None:
    after = runner(tmp_path)
    status = after.start(launched, "127.1.0.1")
    assert status.get("reason") != "NodeLost"
    wait_until(lambda: after.status(launched)["phase"] == "Succeeded", what=lambda: after.status(launched))
    assert (tmp_path / "ran").exists()


def test_what_counts_as_lost_is_not_started_by_a_process_that_comes_late(launched: Manifest, tmp_path: Path) -> None:
    lost = runner(tmp_path).status(launched)
    assert (lost["phase"], lost["reason"], lost["message"]) == ("Failed", "NodeLost", "The process did not start.")
    subprocess.run([sys.executable, "-I", "-S", shim.__file__, str(tmp_path / "pods" / "u-1")], check=True, timeout=60)
    assert not (tmp_path / "ran").exists()
