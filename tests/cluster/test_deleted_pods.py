"""Pods that are deleted by hand or evicted, on a real API server with the real Job controller: what they say last is heard."""

from __future__ import annotations

from collections import Counter

import pytest
from nnunet_trainer.contract.report import Error, Report
from support.apiclient import ApiClient, Manifest, wait_until
from support.controlplane import NODE, ControlPlane
from support.pretend import Ending, PretendKubelet, succeed, wait

from .conftest import API_VERSION, StartOperator, condition, dataset

STOPPED = Ending.of(Report(step="dataset", error=Error(code=143, reason="Stopped", message="stopped in the middle")))
KILLED = Ending(code=137)


@pytest.mark.parametrize("stopped", [STOPPED, KILLED], ids=["report", "killed"])
def test_it_is_a_disruption_that_says_what_happened(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator, stopped: Ending
) -> None:
    api = control_plane.admin
    start_operator()
    names = [f"{how}-{i}" for i in range(3) for how in ("hand", "evicted")]
    with PretendKubelet(api, namespace, wait, stopped=stopped) as kubelet:
        for name in names:
            api.apply(dataset(namespace, name, failurePolicy={"maxRestarts": 0}))
        wait_until(lambda: len(running(api, namespace)) == len(names), what="all pods to run")
        for pod in running(api, namespace):
            stop(api, pod)
        wait_until(lambda: len(kubelet.orders) == 2 * len(names), what=lambda: state(api, namespace, names))
        kubelet.script = succeed
        wait_until(
            lambda: all(condition(api.get(API_VERSION, "Dataset", namespace, name)).get("status") == "True" for name in names),
            what=lambda: state(api, namespace, names),
        )
    for name in names:
        work = (api.get(API_VERSION, "Dataset", namespace, name) or {})["status"]["work"]
        assert (work["attempt"], work["disruptions"], work.get("restarts", 0)) == (1, 1, 0), (name, work)
    said: Counter[tuple[str, str]] = Counter()
    for event in api.list("v1", "Event", namespace):
        if event["reason"] == "Disrupted":
            said[event["involvedObject"]["name"].split("-")[0], event["message"].split(") ", 1)[1].split(f" (node {NODE})")[0]] += 1
    assert said == {("hand", "was stopped: somebody deleted its pod"): 3, ("evicted", "was evicted (node drained)"): 3}


def stop(api: ApiClient, pod: Manifest) -> None:
    """By hand, or by the eviction API, as its name says."""
    meta = pod["metadata"]
    if meta["name"].startswith("hand"):
        api.delete(pod)
        return
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": meta["name"], "namespace": meta["namespace"]}}
    api.request("POST", api.path("v1", "Pod", meta["namespace"], meta["name"], "eviction"), eviction)


def running(api: ApiClient, namespace: str) -> list[Manifest]:
    pods = api.list("v1", "Pod", namespace)
    return [pod | {"apiVersion": "v1", "kind": "Pod"} for pod in pods if pod.get("status", {}).get("phase") == "Running"]


def state(api: ApiClient, namespace: str, names: list[str]) -> str:
    return "; ".join(f"{name}: {condition(api.get(API_VERSION, 'Dataset', namespace, name))}" for name in names)
