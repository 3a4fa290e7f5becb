"""What must be right before the operator starts is named, one thing at a time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from nnunet_operator.cluster import crd_check, preflight
from nnunet_operator.cluster.api import retry
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.api.kinds import OURS
from nnunet_operator.cluster.diagnosis import access
from nnunet_operator.cluster.diagnosis.findings import Level
from nnunet_trainer.contract.faults import ExitCode, StorageFault
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


class Troubled:
    """An API server that answers with errors for a while."""

    def __init__(self, errors: dict[int, Exception]) -> None:
        """By the number of the request that they answer."""
        self.errors, self.configuration, self.asked = errors, SimpleNamespace(host="https://here"), 0

    async def request(self, *_: object, **__: object) -> dict[str, object]:
        number, self.asked = self.asked, self.asked + 1
        if number in self.errors:
            raise self.errors[number]
        resources = [{"name": f"{info.plural}{sub}"} for info in OURS.values() for sub in ("", "/status")]
        return {
            "major": "1",
            "minor": "33+",
            "gitVersion": "v1.33.1",
            "resources": resources,
            "status": {"allowed": True},
            "components": {"schemas": {}},
        }


class Offering(Troubled):
    """An API server that offers PodGroups, or does not."""

    def __init__(self, *, pod_groups: bool) -> None:
        super().__init__({} if pod_groups else {0: ApiError(404, "NotFound", "there is no such group")})

    async def request(self, *arguments: object, **more: object) -> dict[str, object]:
        return {**await super().request(*arguments, **more), "resources": [{"name": "podgroups"}]}


@pytest.mark.parametrize("workloads", [None, 10.0])
@pytest.mark.parametrize(("wanted", "offered"), [(False, True), (True, False), (True, True)])
async def test_more_is_needed_for_what_settings_ask_and_the_cluster_offers(
    wanted: bool, offered: bool, workloads: float | None
) -> None:
    chosen = SimpleNamespace(reconcile=SimpleNamespace(gang_scheduling=wanted), workload_seconds=workloads)
    needed, gangs = await preflight.asked_for(Offering(pod_groups=offered), chosen)  # type: ignore[arg-type]
    assert gangs == (wanted and offered)
    assert needed == [preflight.POD_GROUPS] * gangs + [preflight.WORKLOADS] * (workloads is not None)


@pytest.mark.parametrize(
    ("wanted", "offered", "level"), [(False, False, None), (True, True, Level.OK), (True, False, Level.WARNING)]
)
async def test_diagnose_says_whether_there_is_the_gang_scheduling_that_is_asked_for(
    wanted: bool, offered: bool, level: Level | None
) -> None:
    chosen = SimpleNamespace(reconcile=SimpleNamespace(gang_scheduling=wanted))
    found = await access.gang_scheduling(Offering(pod_groups=offered), chosen)  # type: ignore[arg-type]
    assert [finding.level for finding in found] == ([] if level is None else [level])
    if level is Level.WARNING:
        assert "has no PodGroups" in found[0].message
        assert "gangScheduling: false" in found[0].hint


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(retry.asyncio, "sleep", at_once)
    monkeypatch.setattr(crd_check, "lacking", lambda *_: [])  # a test of its own


TROUBLES = [
    ApiError(429, "TooManyRequests", ""),
    ApiError(500, "InternalError", ""),
    ApiError(503, "", ""),
    TimeoutError(),
    OSError(),
]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("trouble", TROUBLES, ids=repr)
async def test_an_api_server_in_trouble_is_asked_again(trouble: Exception, number: int) -> None:
    api = Troubled({number: trouble})  # the version, the CRDs, their fields, a permission
    assert await preflight.check(api, ("default",), "default") == "v1.33.1"  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_pauses")
async def test_trouble_that_does_not_end_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 0.0)
    api = Troubled(dict.fromkeys(range(1000), ApiError(503, "ServiceUnavailable", "etcd is away")))
    with pytest.raises(StorageFault, match=r"https://here does not answer: 503 ServiceUnavailable: etcd is away"):
        await preflight.check(api, (), None)  # type: ignore[arg-type]
