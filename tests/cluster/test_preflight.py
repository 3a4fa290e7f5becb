"""What must be right before the operator starts is named, one thing at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.contract.faults import ExitCode
from support.controlplane import ControlPlane
from support.operator import OperatorProcess

from .conftest import grant

pytestmark = pytest.mark.controlplane


def test_missing_rights_are_named_one_by_one(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    kubeconfig = grant(control_plane, namespace, without=("create", "jobs"))
    operator = OperatorProcess(control_plane, tmp_path, namespaces=[namespace], kubeconfig=kubeconfig).start(ready=False)
    assert operator.process.wait(60) == ExitCode.BAD_CONFIGURATION
    assert f"create jobs.batch in namespace {namespace}" in operator.log
    assert "delete jobs.batch" not in operator.log
    assert "Traceback" not in operator.log


def test_no_cluster_is_one_message(control_plane: ControlPlane, tmp_path: Path) -> None:
    operator = OperatorProcess(control_plane, tmp_path, kubeconfig=tmp_path / "none").start(ready=False)
    assert operator.process.wait(60) == ExitCode.BAD_USAGE
    assert str(tmp_path / "none") in operator.log
    assert "Traceback" not in operator.log
