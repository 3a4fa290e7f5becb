"""What goes wrong with one object is told, tried again, and heals."""

from __future__ import annotations

import pytest
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, succeed

from .conftest import API_VERSION, StartOperator, condition, dataset

pytestmark = pytest.mark.controlplane


def test_a_job_that_a_quota_forbids_is_said_and_made_once_there_is_room(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api, operator = control_plane.admin, start_operator()
    meta = {"name": "no-jobs", "namespace": namespace}
    quota = api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"count/jobs.batch": "0"}}})
    # Here is no quota controller to write this; admission goes by it.
    api.patch(quota, {"status": {"hard": {"count/jobs.batch": "0"}, "used": {"count/jobs.batch": "0"}}}, sub="status")
    with PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace))

        def found() -> dict[str, object]:
            return api.get(API_VERSION, "Dataset", namespace, "brain") or {}

        wait_until(lambda: condition(found()).get("reason") == "ChildRefused", what=lambda: f"the refusal: {found()}")
        assert "exceeded quota: no-jobs" in condition(found())["message"]
        assert condition(found(), "Stalled")["status"] == "True"

        def forbidden() -> float:
            return operator.metric("nnunet_operator_errors_total", kind="Dataset", cause="Forbidden")

        wait_until(forbidden, what="the pass to be over")  # it is counted after the status that it wrote, and its event
        written, tried = operator.metric("nnunet_operator_status_writes_total"), forbidden()
        wait_until(lambda: forbidden() > tried, what="another try")
        assert operator.metric("nnunet_operator_status_writes_total") == written, "the same refusal is written once"
        told = [event for event in api.list("v1", "Event", namespace) if event["reason"] == "ChildRefused"]
        assert [(event["type"], event["count"]) for event in told] == [("Warning", 1)]
        api.delete(quota)
        wait_until(lambda: condition(found()).get("status") == "True", what=lambda: f"it to heal: {found()}")
