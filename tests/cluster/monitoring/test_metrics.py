"""Requests are counted in the API server's own words, and objects by reasons of which there are only so many."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest
from nnunet_operator.cluster.api.kinds import JOB, KINDS, OURS, POD
from nnunet_operator.cluster.cache.known import State
from nnunet_operator.cluster.monitoring import metrics
from nnunet_operator.cluster.workers import Workers

RUNS = OURS["TrainingRun"]


@pytest.mark.parametrize(
    ("method", "url", "verb", "resource"),
    [
        ("GET", RUNS.path(None), "list", "trainingruns"),
        ("GET", RUNS.path("n") + "?limit=500", "list", "trainingruns"),
        ("GET", RUNS.path("n", "r"), "get", "trainingruns"),
        ("GET", JOB.path(None) + "?labelSelector=a%3Db&watch=true", "watch", "jobs"),
        ("GET", POD.path("n") + "?watch=true", "watch", "pods"),
        ("PATCH", RUNS.path("n", "r", "status"), "patch", "trainingruns/status"),
        ("PATCH", KINDS["ConfigMap"].path("n", "c") + "?fieldManager=x", "patch", "configmaps"),
        ("POST", JOB.path("n"), "create", "jobs"),
        ("PUT", KINDS["Lease"].path("n", "l"), "update", "leases"),
        ("DELETE", POD.path("namespaces", "pods"), "delete", "pods"),
        ("GET", "/api/v1/namespaces/n", "get", "namespaces"),
        ("GET", "/api/v1/namespaces", "list", "namespaces"),
        ("GET", "/version", "get", ""),
        ("GET", "/apis/nnunet.dev/v1alpha1", "get", ""),
        ("GET", "/openapi/v3/apis/nnunet.dev/v1alpha1", "get", ""),
    ],
)
def test_a_request_is_named_as_the_api_server_names_it(method: str, url: str, verb: str, resource: str) -> None:
    for address in ("", "https://10.0.0.1:443", "https://[::1]:6443"):
        assert metrics.verb_and_resource(method, address + url) == (verb, resource)


class Standing:
    """A cache of objects that stand so."""

    def __init__(self, *states: State) -> None:
        self._states = Counter(states)

    def states(self) -> Counter[State]:
        return self._states


async def test_reasons_that_pods_make_up_are_one_series() -> None:
    made_up = [State("Dataset", "a", "False", f"MadeUp{number}", stalled=True) for number in range(50)]
    ours = [
        State("Dataset", "a", "False", reason, stalled=reason == "InvalidCases") for reason in ("InvalidCases", "Verifying", "")
    ]
    nothing: Any = None
    workers = Workers(cast(Any, Standing(*made_up, *ours)), nothing, nothing, {}, nothing, read_again=nothing)
    counting = asyncio.create_task(workers.count_objects(every=3600))
    await asyncio.sleep(0)
    counting.cancel()
    samples = [sample for metric in (metrics.objects, metrics.stalled) for each in metric.collect() for sample in each.samples]
    found = [(sample.name.removeprefix("nnunet_operator_"), sample.labels["reason"], sample.value) for sample in samples]
    assert sorted(found) == [
        ("objects", "", 1), ("objects", "InvalidCases", 1), ("objects", "Other", 50), ("objects", "Verifying", 1),
        ("objects_stalled", "InvalidCases", 1), ("objects_stalled", "Other", 50),
    ]  # fmt: skip
