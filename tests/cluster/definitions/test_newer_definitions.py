"""An operator of this version on an API server that serves the definitions of the next one: fields and values were added."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from nnunet_operator.api.schema import crds
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, succeed

from ..conftest import API_VERSION, StartOperator, condition, dataset, plans, training_run

# One group: its control plane is started once, not by each worker.
pytestmark = [pytest.mark.controlplane, pytest.mark.xdist_group("newer-definitions")]
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def newer(kind: str) -> Manifest:
    """A definition with fields more in spec and status, and a value more of an enum in the spec."""
    definition = copy.deepcopy(crds.crd(kind))
    properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for part in (properties["spec"], properties["status"], properties["spec"]["properties"]["template"]):
        part["properties"]["novel"] = ANYTHING
    if kind == "TrainingRun":
        properties["spec"]["properties"]["validation"]["enum"].append("Fast")
        properties["status"]["properties"]["folds"]["items"]["properties"]["novel"] = ANYTHING
    return definition


@pytest.fixture
def api(control_plane: ControlPlane, namespace: str) -> Iterator[ApiClient]:
    """The administrator; the next version's definitions are served while the test runs."""
    admin = control_plane.admin
    for kind in ("Dataset", "Plans", "TrainingRun"):
        admin.apply(newer(kind))
    probes = [
        dataset(namespace, "probe", novel={}),
        plans(namespace, "probe", novel={}),
        training_run(namespace, "probe", novel={}),
    ]

    def served() -> bool:
        try:
            return all("novel" in admin.apply(probe)["spec"] for probe in probes)
        except ApiError:  # an apply names fields that the schema does not have yet
            return False

    wait_until(served, what="the definitions to be served")
    for probe in probes:
        admin.delete(probe)
    yield admin
    control_plane.install_crds()


def test_what_the_next_version_adds_is_neither_refused_nor_lost(
    api: ApiClient, namespace: str, start_operator: StartOperator
) -> None:
    more = {"novel": {"deep": [7]}, "template": {"novel": {"a": 1}}}
    manifests = [dataset(namespace, **more), plans(namespace, **more), training_run(namespace, folds=["0", "1"], **more)]
    run = manifests[2]

    def ready(manifest: Manifest) -> Manifest | None:
        found = api.get(API_VERSION, manifest["kind"], namespace, manifest["metadata"]["name"])
        return found if condition(found).get("status") == "True" else None

    def stands() -> object:
        return [condition(api.get(API_VERSION, m["kind"], namespace, m["metadata"]["name"])) for m in manifests]

    operator = start_operator()
    with PretendKubelet(api, namespace, succeed):
        for manifest in manifests:
            api.apply(manifest)
        for manifest in manifests:
            found = wait_until(lambda manifest=manifest: ready(manifest), what=stands)
            assert condition(found, "FieldsIgnored")["message"].startswith("spec.novel, spec.template.novel: ")
            assert {**manifest["spec"], **found["spec"]} == found["spec"], "as it was written"
        wait_until(lambda: not api.list("batch/v1", "Job", namespace), what="the finished Jobs to be deleted")
    operator.stop()

    # The next version has worked for a while, and is rolled back.
    done = api.get(API_VERSION, "TrainingRun", namespace, "run")
    assert done is not None
    folds = done["status"]["folds"]
    folds[0] |= {"state": "Archived", "novel": {"seed": 5}}
    written = api.patch(run, {"status": {"novel": {"b": 2}, "folds": folds}}, sub="status")
    assert written["status"]["folds"][0]["state"] == "Archived", "the definition takes any value"
    api.patch(run, {"spec": {"activeDeadlineSeconds": 5000}})
    second = start_operator()

    def observed() -> Manifest | None:
        found = api.get(API_VERSION, "TrainingRun", namespace, "run") or {}
        return found if found["status"]["observedGeneration"] == found["metadata"]["generation"] else None

    kept = wait_until(observed, what="the operator to look at the run")["status"]
    assert kept["novel"] == {"b": 2}
    assert kept["folds"][0] == folds[0]
    assert kept["folds"][1]["state"] == "Succeeded"
    assert "Archived" in condition({"status": kept})["message"]
    assert not api.list("batch/v1", "Job", namespace), "and nothing is trained anew"
    assert second.metric("nnunet_operator_errors_total") == 0


def test_a_value_that_this_version_does_not_know_is_said_and_left_alone(
    api: ApiClient, namespace: str, start_operator: StartOperator
) -> None:
    start_operator()
    run = api.apply(training_run(namespace, validation="Fast"))
    found = wait_until(
        lambda: condition(api.get(API_VERSION, "TrainingRun", namespace, "run")) or None, what="the operator to look at the run"
    )
    assert found["reason"] == "InvalidSpec"
    assert "spec.validation" in found["message"]
    kept = api.get(API_VERSION, "TrainingRun", namespace, "run")
    assert kept is not None
    assert kept["spec"] == run["spec"]
