"""The operator, a process of its own, on a real API server; the pods alone are pretended."""

from __future__ import annotations

import json
import random

import pytest
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, fail, succeed, wait

from .conftest import API_VERSION, StartOperator, condition, dataset, plans, quickstart, training_run

pytestmark = pytest.mark.controlplane


@pytest.fixture
def api(control_plane: ControlPlane) -> ApiClient:
    """The administrator."""
    return control_plane.admin


def until(api: ApiClient, manifest: Manifest, reason: str | None = None) -> Manifest:
    """Wait until an object is Ready, or not Ready for this reason."""
    kind, namespace, name = manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]

    def look() -> Manifest | None:
        found = api.get(API_VERSION, kind, namespace, name)
        ready = condition(found)
        there = ready.get("reason") == reason if reason else ready.get("status") == "True"
        return found if there else None

    def stands() -> object:
        return f"{kind} {name} to be {reason or 'Ready'}; it is {condition(api.get(API_VERSION, kind, namespace, name))}"

    return wait_until(look, what=stands)


def test_a_dataset_becomes_ready(api: ApiClient, namespace: str, start_operator: StartOperator) -> None:
    operator = start_operator()
    with PretendKubelet(api, namespace, succeed) as kubelet:
        found = until(api, api.apply(dataset(namespace)))
    assert found["status"]["observedGeneration"] == 1
    assert found["status"]["cases"] == 12
    [order] = kubelet.orders.values()
    assert order["storage"] == {"uri": "s3://nnunet", "secretName": "s3"}  # the operator's default
    wait_until(lambda: not api.list("batch/v1", "Job", namespace), what="the finished Job to be deleted")
    reasons = {event["reason"] for event in api.list("v1", "Event", namespace) if event["involvedObject"]["kind"] == "Dataset"}
    assert reasons, "nothing was said to people"
    assert operator.metric("nnunet_operator_status_writes_total", kind="Dataset") <= 6
    assert operator.metric("nnunet_operator_errors_total") == 0
    assert operator.metric("nnunet_operator_reconcile_seconds_count", kind="Dataset") > 0
    assert operator.metric("nnunet_operator_api_requests_total", code="403") == 0
    assert operator.metric("nnunet_operator_api_requests_total", verb="create", resource="jobs", code="201") == 1
    assert operator.metric("nnunet_operator_api_requests_total", verb="watch", resource="datasets", code="200") >= 1
    assert operator.metric("nnunet_operator_queue_seconds_count") > 0
    about = {"kind": "Dataset", "namespace": namespace, "name": "brain"}

    def logged() -> set[str]:
        whole = operator.log.rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole]
        return {line["message"].split()[0] for line in lines if about.items() <= line.items()}

    # What is done is logged a moment later.
    wait_until(lambda: logged() == {"created", "deleted"}, what=lambda: f"the lines about the Dataset: {logged()}")
    wait_until(lambda: operator.metric("nnunet_operator_objects", kind="Dataset", ready="True") == 1, what="the metric of objects")
    assert operator.get("/healthz") == (200, "ok\n")
    assert operator.stop() < 30, "the grace period of a pod"
    assert operator.process.returncode == 0


def test_the_whole_chain_in_any_order(api: ApiClient, namespace: str, start_operator: StartOperator) -> None:
    operator = start_operator()
    manifests = quickstart(namespace)
    random.Random(7).shuffle(manifests)
    with PretendKubelet(api, namespace, succeed) as kubelet:
        for manifest in manifests:
            api.apply(manifest)
        for manifest in manifests:
            until(api, manifest)
    assert sorted(kubelet.steps()) == sorted(["dataset"] * 2 + ["plan", "transfer"] + ["preprocess"] * 2 + ["train"] * 3)
    finetune = next(order for order in kubelet.orders.values() if order.get("run") == "finetune")
    assert finetune["pretrained"]["sha256"] == "a" * 64
    objects = len(manifests) + 1  # the transfer made a Plans
    assert operator.metric("nnunet_operator_status_writes_total") <= 12 * objects
    assert operator.metric("nnunet_operator_errors_total") == 0


def test_nothing_is_written_once_all_is_done(api: ApiClient, namespace: str, start_operator: StartOperator) -> None:
    first = start_operator()
    with PretendKubelet(api, namespace, succeed):
        until(api, api.apply(dataset(namespace)))
        done = until(api, api.apply(plans(namespace)))
    wait_until(lambda: not api.list("batch/v1", "Job", namespace), what="the finished Jobs to be deleted")
    first.stop()
    second = start_operator()  # sees everything anew
    wait_until(lambda: second.metric("nnunet_operator_reconcile_seconds_count") >= 2, what="both objects to be looked at")
    assert second.metric("nnunet_operator_status_writes_total") == 0
    now = api.get(API_VERSION, "Plans", namespace, "brain")
    assert now is not None
    assert now["metadata"]["resourceVersion"] == done["metadata"]["resourceVersion"]


def test_a_failure_is_said_and_ends_with_rerun(api: ApiClient, namespace: str, start_operator: StartOperator) -> None:
    start_operator()
    with PretendKubelet(api, namespace, fail("InvalidCases", "case_003: the label holds the value 7")) as kubelet:
        manifest = api.apply(dataset(namespace))
        api.apply(plans(namespace))
        broken = until(api, manifest, "InvalidCases")
        assert "case_003: the label holds the value 7" in condition(broken)["message"]
        assert condition(broken, "Stalled")["status"] == "True"
        until(api, plans(namespace), "DependencyFailed")
        kubelet.script = succeed
        api.patch(manifest, {"spec": {"rerun": "2"}})
        until(api, manifest)
        until(api, plans(namespace))  # heals by itself


def test_a_foreign_job_of_the_same_name_is_left_alone(api: ApiClient, namespace: str, start_operator: StartOperator) -> None:
    first = start_operator()
    manifest = api.apply(dataset(namespace))
    job = wait_until(lambda: next(iter(api.list("batch/v1", "Job", namespace)), None), what="the Job")
    first.stop()  # before its pod runs: a Job that was seen at work is not asked for again, another attempt is
    with PretendKubelet(api, namespace, wait):
        # The same name without our labels: as if another had taken it.
        api.delete(job)
        for version, kind in (("batch/v1", "Job"), ("v1", "Pod")):
            wait_until(lambda version=version, kind=kind: not api.list(version, kind, namespace), what=f"no {kind} to be left")
        spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}, "suspend": True}
        foreign = api.create({**{k: job[k] for k in ("apiVersion", "kind")}, "metadata": {"name": job["metadata"]["name"], "namespace": namespace}, "spec": spec})  # fmt: skip  # noqa: E501
        second = start_operator()
        wait_until(lambda: second.metric("nnunet_operator_errors_total", cause="NameTaken") > 0, what="the operator to say so")
        assert api.get("batch/v1", "Job", namespace, foreign["metadata"]["name"])["metadata"]["uid"] == foreign["metadata"]["uid"]  # type: ignore[index]
        api.delete(foreign)
    with PretendKubelet(api, namespace, succeed):
        until(api, manifest)


def test_what_cannot_be_is_refused_by_the_server(api: ApiClient, namespace: str) -> None:
    with pytest.raises(ApiError) as refused:
        api.apply(dataset(namespace, source={"uri": "ftp://nnunet/raw"}))
    assert refused.value.code == 422
    assert "spec.source.uri: Invalid value: must begin with s3://" in refused.value.message


def test_deleting_an_object_deletes_what_it_started(api: ApiClient, namespace: str, start_operator: StartOperator) -> None:
    start_operator()
    with PretendKubelet(api, namespace, wait) as kubelet:
        manifest = api.apply(dataset(namespace))
        wait_until(lambda: kubelet.orders, what="a running pod")
        api.delete(manifest)
        for version, kind in (("batch/v1", "Job"), ("v1", "Pod")):
            wait_until(lambda version=version, kind=kind: not api.list(version, kind, namespace), what=f"no {kind} to be left")


def test_a_run_that_refers_to_nothing_waits_and_says_for_what(
    api: ApiClient, namespace: str, start_operator: StartOperator
) -> None:
    start_operator()
    found = until(api, api.apply(training_run(namespace)), "WaitingForPlans")
    assert "Plans brain" in condition(found)["message"]
