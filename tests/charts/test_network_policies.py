"""The chart's NetworkPolicies, evaluated over the pods that the chart and the operator really make: who may speak to whom."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

import pytest
from nnunet_operator.api.resources import parse
from nnunet_operator.manifests import names
from nnunet_operator.manifests.job import children
from nnunet_operator.manifests.job_parameters import JobParameters
from nnunet_trainer.contract.work_order import Input, Location, TrainOrder
from support.apiclient import Manifest
from support.network_policies import Endpoint, allowed
from support.third_party.chart import Values, one, render

SYSTEM, TEAM, OTHER = "nnunet-system", "team-a", "team-b"
VALUES: Values = {
    "networkPolicy": {"create": True},
    "watchNamespaces": [TEAM],
    "storage": {"uri": "s3://nnunet", "endpoint": "https://minio.example:9000"},
}


def trainer(namespace: str = TEAM, run: str = "run") -> Endpoint:
    """A pod of a training on two nodes, with labels of its user's."""
    metadata = {"name": run, "namespace": namespace, "uid": "3f2a1b9c-0000-4000-8000-000000000000"}
    template = {"labels": {"app.kubernetes.io/managed-by": "somebody", "team": "a"}}
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"], "template": template}
    owner = parse({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": metadata, "spec": spec})
    place = Location(uri="s3://nnunet")
    order = TrainOrder(
        namespace=namespace, run=run, dataset_name="Dataset004_Hippocampus", configuration="2d", fold="0", seed=1,
        preprocessed=Input(location=place, digest="x"), plans=Input(location=place, digest="p"), storage=place,
    )  # fmt: skip
    job_name = names.job(owner, "f0", 1)
    parameters = JobParameters(
        owner=owner, name=job_name, order=order, labels=names.labels(owner, "train", fold="0"), image="trainer:1",
        template=owner.spec.template, pods=2, rendezvous=True,
    )  # fmt: skip
    _, job = children(parameters)
    return Endpoint.of_pod(namespace, job["spec"]["template"], **{names.JOB_NAME: job_name})


@cache
def _rendered(values: str) -> list[Manifest]:
    return render(json.loads(values))


def operator(values: Values) -> Endpoint:
    return Endpoint.of_pod(SYSTEM, one(_rendered(json.dumps(values)), "Deployment")["spec"]["template"])


def policies(values: Values) -> list[Manifest]:
    return [m for m in _rendered(json.dumps(values)) if m["kind"] == "NetworkPolicy"]


DNS = Endpoint("kube-system", {"k8s-app": "kube-dns"})
PROMETHEUS = Endpoint("monitoring", {"app.kubernetes.io/name": "prometheus"})
STRANGER = Endpoint(TEAM, {"app": "notebook"}, {"http": 8080})
ELSEWHERE = Endpoint(OTHER, {"app": "notebook"}, {"http": 8080})
MINIO = Endpoint(address="192.0.2.7")
API_SERVER = Endpoint(address="10.96.0.1")

WAYS: dict[str, tuple[str, Any, int, str, bool]] = {
    # name: (who, whom, port, protocol, whether it may)
    "the operator asks for names": ("operator", DNS, 53, "UDP", True),
    "the operator asks the API server": ("operator", API_SERVER, 443, "TCP", True),
    "the operator asks the API server's own port": ("operator", API_SERVER, 6443, "TCP", True),
    "the operator asks for progress": ("operator", "trainer", 8080, "TCP", True),
    "the operator does not reach the rendezvous": ("operator", "trainer", 29500, "TCP", False),
    "the operator does not reach the storage": ("operator", MINIO, 9000, "TCP", False),
    "the operator does not reach other pods": ("operator", STRANGER, 8080, "TCP", False),
    "Prometheus reads the operator": (PROMETHEUS, "operator", 8080, "TCP", True),
    "Prometheus reads a training": (PROMETHEUS, "trainer", 8080, "TCP", True),
    "Prometheus reaches no other port": (PROMETHEUS, "trainer", 29500, "TCP", False),
    "a stranger does not read a training": (STRANGER, "trainer", 8080, "TCP", False),
    "a stranger of another namespace does not": (ELSEWHERE, "trainer", 8080, "TCP", False),
    "a stranger does not reach the rendezvous": (STRANGER, "trainer", 29500, "TCP", False),
    "a stranger does not read the operator": (STRANGER, "operator", 8080, "TCP", False),
    "a training asks for names": ("trainer", DNS, 53, "UDP", True),
    "a training asks for names by TCP": ("trainer", DNS, 53, "TCP", True),
    "a training reaches its storage": ("trainer", MINIO, 9000, "TCP", True),
    "a training reaches nothing else there": ("trainer", MINIO, 22, "TCP", False),
    "a training does not reach the API server": ("trainer", API_SERVER, 443, "TCP", False),
    "a training reaches its peer": ("trainer", "trainer", 29500, "TCP", True),
    "a training reaches its peer where gloo listens": ("trainer", "trainer", 43210, "TCP", True),
    "a training of another namespace does not": ("trainer elsewhere", "trainer", 29500, "TCP", False),
    "a training does not reach the operator": ("trainer", "operator", 8080, "TCP", False),
    "a training does not reach other pods": ("trainer", STRANGER, 8080, "TCP", False),
    "others are left alone": (STRANGER, ELSEWHERE, 8080, "TCP", True),
}


@pytest.mark.parametrize("name", WAYS)
def test_who_may_speak_to_whom(name: str) -> None:
    who, whom, port, protocol, may = WAYS[name]
    pods = {"operator": operator(VALUES), "trainer": trainer(), "trainer elsewhere": trainer(OTHER)}
    source, target = (pods.get(end, end) if isinstance(end, str) else end for end in (who, whom))
    assert allowed(policies(VALUES), source, target, port, protocol) is may


def test_without_them_all_is_open() -> None:
    assert policies({**VALUES, "networkPolicy": {"create": False}}) == []
    assert allowed([], STRANGER, trainer(), 29500)


ENDPOINTS = {
    "AWS": ({"uri": "s3://x"}, {443}),
    "https": ({"uri": "s3://x", "endpoint": "https://s3.example"}, {443}),
    "http": ({"uri": "s3://x", "endpoint": "http://s3.example"}, {80}),
    "a port": ({"uri": "s3://x", "endpoint": "http://s3.example:8333/"}, {8333}),
    "IPv6": ({"uri": "s3://x", "endpoint": "http://[2001:db8::1]:9000"}, {9000}),
    "two": ({"uri": "s3://x", "namespaces": {TEAM: {"uri": "s3://a", "endpoint": "https://minio:9000"}}}, {443, 9000}),
}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_storages_port_is_its_endpoints(name: str) -> None:
    storage, ports = ENDPOINTS[name]
    made = policies({**VALUES, "storage": storage})
    assert {port for port in (22, 80, 443, 8333, 9000) if allowed(made, trainer(), MINIO, port)} == ports


def test_what_is_allowed_can_be_narrowed_and_widened() -> None:
    inside = Endpoint("minio", {"app": "minio"})
    narrowed = {
        "create": True,
        "trainerNamespaces": [TEAM, OTHER],
        "storage": {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "minio"}}}], "ports": [9000]},
        "apiServer": {"to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}], "ports": [443]},
        "prometheus": [],
        "trainerEgress": [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
    }
    values = {**VALUES, "watchNamespaces": [], "networkPolicy": narrowed}
    made, working = policies(values), operator(values)
    for one_of_ours in (trainer(), trainer(OTHER)):
        assert allowed(made, one_of_ours, inside, 9000)
        assert not allowed(made, one_of_ours, MINIO, 9000)
        assert allowed(made, one_of_ours, Endpoint(address="198.51.100.9"), 443)
        assert allowed(made, working, one_of_ours, 8080)
        assert not allowed(made, PROMETHEUS, one_of_ours, 8080)
    assert not allowed(made, PROMETHEUS, working, 8080)
    assert allowed(made, working, API_SERVER, 443)
    assert not allowed(made, working, dataclasses.replace(API_SERVER, address="10.96.0.2"), 443)


def test_in_all_namespaces_only_those_that_are_named_are_confined() -> None:
    values = {**VALUES, "watchNamespaces": []}
    assert [policy["metadata"]["name"] for policy in policies(values)] == ["nnunet-operator"]
    assert allowed(policies(values), operator(values), trainer(), 8080)
