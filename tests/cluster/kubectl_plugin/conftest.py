"""`kubectl nnunet` as people call it, in this process or by the real kubectl."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from kubectl_nnunet.cli import main
from support.controlplane import ControlPlane


class Said(NamedTuple):
    """How a call ended, and what it printed."""

    code: int
    out: str
    err: str


Nnunet = Callable[..., Said]

PROGRAMS = {"kubectl-nnunet": "kubectl_nnunet", "kubectl_complete-nnunet": "kubectl_nnunet.completion"}
"""The console scripts, and the modules that they run."""


@pytest.fixture
def kubeconfig(control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig whose context is of the test's namespace, as $KUBECONFIG."""
    path = control_plane.kubeconfig_of(namespace)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.fixture
def nnunet(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> Nnunet:
    """Calls a command under that kubeconfig."""

    def call(*arguments: str, code: int = 0) -> Said:
        capsys.readouterr()
        ended = main([*arguments, "--kubeconfig", str(kubeconfig)])
        said = Said(ended, *capsys.readouterr())
        assert said.code == code, said
        assert "Traceback" not in said.err
        return said

    return call


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the console scripts, of this environment, as an installation puts them on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    path = os.pathsep.join(sys.path)
    for name, module in PROGRAMS.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\nPYTHONPATH='{path}' exec {sys.executable} -m {module} \"$@\"\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return folder
