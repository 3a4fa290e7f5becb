"""CRDs that are older than the operator are told, field by field, before it starts: they would drop what it writes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from nnunet_operator.api.schema import crds
from nnunet_operator.cluster import crd_check
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.crd_schemas import lacking
from nnunet_trainer.contract.faults import BadConfiguration
from support.apiclient import Manifest
from support.controlplane import ControlPlane

PATH = "/openapi/v3/apis/nnunet.dev/v1alpha1"


def schema(kind: str) -> Manifest:
    found: Manifest = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


@pytest.mark.parametrize("kind", ["Dataset", "Plans", "PlanTransfer", "TrainingRun"])
def test_nothing_is_lacking_in_what_is_our_own(kind: str) -> None:
    assert list(lacking(schema(kind), schema(kind))) == []


def field(root: Manifest, path: str) -> tuple[Manifest, str]:
    """The properties that hold a field, and its name; `[]` goes into a list's items."""
    *parents, name = path.split(".")
    node: Any = root
    for parent in parents:
        node = node["properties"][parent.removesuffix("[]")]
        node = node["items"] if parent.endswith("[]") else node
    return node["properties"], name


@pytest.mark.parametrize(
    "path", ["spec.seed", "spec.template.security.runAsGroup", "spec.template.env[].value", "status.folds[].checkpoint", "status"]
)
def test_each_field_that_is_lacking_is_named(path: str) -> None:
    served = copy.deepcopy(schema("TrainingRun"))
    properties, name = field(served, path)
    del properties[name]
    assert list(lacking(schema("TrainingRun"), served)) == [path]


def test_a_value_that_is_lacking_is_named_and_what_is_newer_does_not_matter() -> None:
    served = copy.deepcopy(schema("TrainingRun"))
    properties, name = field(served, "spec.validation")
    gone = properties[name]["enum"].pop()
    properties["novel"] = {"type": "string"}
    assert list(lacking(schema("TrainingRun"), served)) == [f"spec.validation: the value {gone!r}"]


class Described:
    """An API that describes its kinds so."""

    def __init__(self, answer: Manifest | ApiError) -> None:
        self._answer = answer

    async def request(self, method: str, path: str, **_: Any) -> Manifest:
        assert (method, path) == ("GET", PATH)
        if isinstance(self._answer, ApiError):
            raise self._answer
        return self._answer


@pytest.mark.controlplane
async def test_what_the_api_server_describes_is_compared(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crd_check, "PATIENCE", 0)
    described = control_plane.admin.request("GET", PATH)
    await crd_check.check(Described(described))
    properties, name = field(described["components"]["schemas"]["dev.nnunet.v1alpha1.TrainingRun"], "spec.ttlSecondsAfterFinished")
    del properties[name]
    with pytest.raises(BadConfiguration) as refused:
        await crd_check.check(Described(described))
    assert refused.value.reason == "OldCRDs"
    assert refused.value.findings == ("TrainingRun: spec.ttlSecondsAfterFinished",)
    assert "helm upgrade" in refused.value.hint


async def test_who_may_not_look_is_told_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(crd_check, "PATIENCE", 0)
    await crd_check.check(Described(ApiError(403, "Forbidden", "no")))
    assert "cannot be found out" in caplog.text
