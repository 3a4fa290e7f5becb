"""Requests are counted in the API server's own words."""

from __future__ import annotations

import pytest
from nnunet_operator.cluster.api.kinds import JOB, KINDS, OURS, POD
from nnunet_operator.cluster.monitoring import metrics

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
