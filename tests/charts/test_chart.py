"""The chart, by the real Helm: lint, values, what it renders, and what the real API server makes of it."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml
from nnunet_operator.api.schema import crds
from nnunet_operator.cluster import command, preflight, settings
from support.apiclient import ApiError, Manifest
from support.controlplane import ROOT, ControlPlane
from support.third_party.chart import CHART, Values, chart, container, environment, one, render

TABLE: dict[str, Values] = {
    "defaults": {},
    "namespaced": {"watchNamespaces": ["default", "kube-public"], "rbac": {"aggregate": False}},
    "storage": {
        "storage": {
            "uri": "s3://bucket/nnunet", "endpoint": "https://s3:9000", "region": "eu", "secretName": "s3", "caConfigMap": "ca",
            "pathStyle": True,
        }
    },
    "path-style-off": {"storage": {"uri": "s3://bucket", "pathStyle": False}},
    "images": {
        "image": {"repository": "reg/operator", "digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "pull"}]},
        "trainer": {"image": {"repository": "reg/trainer", "tag": "7", "pullPolicy": "Always"}, "priorityClassName": "low"},
    },
    "own-catalogue": {"trainer": {"catalogueConfigMap": "ours"}},
    "queues-and-gangs": {"kueue": {"workloads": True}, "gangScheduling": True},
    "two-replicas": {"replicas": 2},
    "without-crds-and-roles": {"crds": {"install": False}, "rbac": {"create": False}},
    "own-service-account": {"serviceAccount": {"create": False, "name": "mine"}},
    "bare": {"metrics": {"service": False}, "resources": {}, "fullnameOverride": "nn"},
    "placed": {
        "nodeSelector": {"pool": "system"}, "tolerations": [{"key": "a", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical", "affinity": {"nodeAffinity": {}}, "podLabels": {"team": "x"},
        "podAnnotations": {"note": "1"},
        "verbose": True, "workers": 3,
        "serviceAccount": {"annotations": {"a": "b"}}, "metrics": {"serviceAnnotations": {"c": "d"}},
    },
    "monitored": {
        "metrics": {
            "serviceMonitor": {"create": True, "labels": {"release": "prometheus"}, "interval": "1m"},
            "podMonitor": {"create": True},
            "prometheusRule": {"create": True, "labels": {"release": "prometheus"}},
            "dashboard": {"create": True, "annotations": {"folder": "nnU-Net"}},
        }
    },
    "confined": {
        "networkPolicy": {
            "create": True, "trainerNamespaces": ["default"], "prometheus": [],
            "storage": {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [9000]},
            "trainerEgress": [{"to": [{"podSelector": {}}]}],
        }
    },
    "confined-where-it-watches": {"networkPolicy": {"create": True}, "watchNamespaces": ["default"], "rbac": {"aggregate": False}},
    "labelled": {
        "commonLabels": {"team": "imaging", "cost-centre": "7"}, "commonAnnotations": {"contact": "imaging@example.org"},
        "podLabels": {"team": "platform"}, "replicas": 2, "metrics": {"dashboard": {"create": True}},
        "networkPolicy": {"create": True},
    },
    "storage-by-namespace": {
        "storage": {"namespaces": {"team-a": {"uri": "s3://a/nnunet", "endpoint": "https://minio:9000", "secretName": "a"}}}
    },
    "trainer-resources": {"trainer": {"resources": {"requests": {"cpu": 0.5, "memory": "8Gi"}, "limits": {"memory": 16000000000}}}},
    "trainer-without-resources": {"trainer": {"resources": {"requests": {"cpu": None, "memory": None}}}},
}  # fmt: skip

WRONG: dict[str, tuple[Values, str]] = {
    "unknown": ({"imagee": {}}, "imagee"),
    "unknown-deep": ({"storage": {"url": "s3://x"}}, "/storage"),
    "scheme": ({"storage": {"uri": "http://x"}}, "/storage/uri"),
    "file": ({"storage": {"uri": "file:///data"}}, "/storage/uri"),
    "endpoint": ({"storage": {"uri": "s3://x", "endpoint": "s3.local"}}, "/storage/endpoint"),
    "endpoint-alone": ({"storage": {"endpoint": "https://s3.local"}}, "/storage/endpoint"),
    "replicas": ({"replicas": "two"}, "/replicas"),
    "replicas-negative": ({"replicas": -1}, "/replicas"),
    "namespace": ({"watchNamespaces": ["Bad_Name"]}, "/watchNamespaces/0"),
    "namespaces-text": ({"watchNamespaces": "a,b"}, "/watchNamespaces"),
    "digest": ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    "tag-in-repository": ({"trainer": {"image": {"repository": "x@sha256:1"}}}, "/trainer/image/repository"),
    "pull-policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "pull-secrets": ({"image": {"pullSecrets": ["pull"]}}, "/image/pullSecrets/0"),
    "workers": ({"workers": 0}, "/workers"),
    "resources": ({"resources": {"request": {}}}, "/resources"),
    "trainer-resources": ({"trainer": {"resources": {"requests": {"cpu": "two"}}}}, "/trainer/resources/requests/cpu"),
    "our-label": ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "/commonLabels"),
    "namespace-storage": ({"storage": {"namespaces": {"team": {"endpoint": "https://x"}}}}, "/storage/namespaces/team"),
    "namespace-storage-name": ({"storage": {"namespaces": {"Team_A": {"uri": "s3://x"}}}}, "/storage/namespaces"),
    "namespace-storage-scheme": ({"storage": {"namespaces": {"team": {"uri": "gs://x"}}}}, "/storage/namespaces/team/uri"),
    "policy-port": ({"networkPolicy": {"storage": {"ports": ["https"]}}}, "/networkPolicy/storage/ports/0"),
    "policy-peer": ({"networkPolicy": {"prometheus": [{"namespace": "monitoring"}]}}, "/networkPolicy/prometheus/0"),
    "monitor-without-service": (
        {"metrics": {"service": False, "serviceMonitor": {"create": True}}},
        "/metrics/serviceMonitor/create",
    ),
    "interval": ({"metrics": {"podMonitor": {"interval": "often"}}}, "/metrics/podMonitor/interval"),
}


# -- values --


@pytest.mark.parametrize("name", TABLE)
def test_lint_finds_nothing(name: str) -> None:
    report = helm.lint(CHART, TABLE[name], strict=True, namespace="nnunet-system", kube_version="v1.31.0")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_by_name(name: str) -> None:
    values, where = WRONG[name]
    with pytest.raises(helm.HelmValuesError) as refused:
        chart().validate_schema(values)
    assert where in str(refused.value)


def test_the_service_account_must_be_named() -> None:
    with pytest.raises(helm.HelmRenderError, match=r"serviceAccount\.name is needed"):
        render({"serviceAccount": {"create": False}})


def test_every_value_is_described_and_every_description_has_a_value() -> None:
    schema = chart().schema
    assert schema is not None

    def compare(node: Any, value: Any, path: str) -> None:
        node = {**schema["definitions"][node["$ref"].rsplit("/", 1)[1]], **node} if "$ref" in node else node
        assert path == "" or node.get("description"), path
        if node.get("additionalProperties") is False and not path.endswith(".resources"):
            assert set(value) == set(node.get("properties", {})) - {"global"}, path
            for key in value:
                compare(node["properties"][key], value[key], f"{path}.{key}")

    compare(schema, yaml.safe_load((CHART / "values.yaml").read_text()), "")


# -- what is rendered --


def test_the_crds_are_those_of_the_models() -> None:
    files = {path.name: path.read_text() for path in (CHART / "files" / "crds").iterdir()}
    assert files == {name: crds.dump(made) for name, made in crds.generate().items()}, (
        "run: nnunet-operator crds -o charts/nnunet-operator/files/crds"
    )


def test_crds_are_kept_and_otherwise_as_generated() -> None:
    rendered = [m for m in render({}, with_crds=True) if m["kind"] == "CustomResourceDefinition"]
    for crd in rendered:
        metadata = crd["metadata"]
        assert metadata.pop("annotations") == {"helm.sh/resource-policy": "keep"}
        metadata.pop("labels")
    key = lambda crd: crd["metadata"]["name"]  # noqa: E731
    assert sorted(rendered, key=key) == sorted(crds.generate().values(), key=key)
    assert not any(m["kind"] == "CustomResourceDefinition" for m in render({"crds": {"install": False}}, with_crds=True))


def _granted(rules: list[Manifest]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb) for r in rules for group in r["apiGroups"] for resource in r["resources"] for verb in r["verbs"]
    }


def _asked(permissions: Any) -> set[tuple[str, str, str]]:
    return {
        (kind.group, f"{kind.plural}/{sub}" if sub else kind.plural, verb) for kind, sub, verbs in permissions for verb in verbs
    }


def test_roles_grant_what_the_operator_asks_for_and_no_more() -> None:
    asked = _asked(preflight.PERMISSIONS)
    assert _granted(one(render({}), "ClusterRole", "nnunet-operator")["rules"]) == asked
    more = _granted(one(render(TABLE["queues-and-gangs"]), "ClusterRole", "nnunet-operator")["rules"])
    assert more == asked | _asked([preflight.POD_GROUPS, preflight.WORKLOADS])
    namespaced = render(TABLE["namespaced"])
    assert not any(m["kind"].startswith("ClusterRole") for m in namespaced)
    for namespace in TABLE["namespaced"]["watchNamespaces"]:
        (role,) = [m for m in namespaced if m["kind"] == "Role" and m["metadata"]["namespace"] == namespace]
        assert _granted(role["rules"]) == asked
    assert _granted(one(namespaced, "Role", "-lease")["rules"]) == _asked([preflight.LEASE])
    assert not any("secrets" in resource for _, resource, _ in asked)


@pytest.mark.parametrize("name", TABLE)
def test_bindings_name_roles_and_subjects_that_are_there(name: str) -> None:
    manifests = render(TABLE[name])
    roles = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests if m["kind"].endswith("Role")}
    account = one(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    for binding in (m for m in manifests if m["kind"].endswith("RoleBinding")):
        reference = binding["roleRef"]
        assert (reference["kind"], binding["metadata"].get("namespace"), reference["name"]) in roles
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "nnunet-system"}]
    if TABLE[name].get("serviceAccount", {}).get("create", True):
        assert one(manifests, "ServiceAccount")["metadata"]["name"] == account


def test_storage_and_images_reach_the_operator() -> None:
    def understood(values: Values) -> Any:
        manifests = render(values)
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return settings.load(parser.parse_args(container(manifests)["args"][1:]), environment(manifests))

    plain = understood({})
    assert plain.reconcile.storage is None
    assert plain.reconcile.trainer_image == "nnunet-trainer:0.2.0"
    assert (plain.leader_election, plain.http, plain.namespaces) == (True, ("0.0.0.0", 8080), ())
    (own,) = [entry for entry in container(render({}))["env"] if entry["name"] == "POD_NAMESPACE"]
    assert own["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}, "the lease is kept where the pod is"
    stored = understood(TABLE["storage"]).reconcile.storage
    assert stored.to_json() == TABLE["storage"]["storage"]
    assert understood(TABLE["path-style-off"]).reconcile.storage.path_style is False
    images = understood(TABLE["images"]).reconcile
    assert (images.trainer_image, images.image_pull_policy, images.pod_priority_class) == (
        "reg/trainer:7",
        "Always",
        "low",
    )
    assert understood(TABLE["namespaced"]).namespaces == ("default", "kube-public")
    assert (plain.reconcile.gang_scheduling, plain.workload_seconds) == (False, None)
    asked = understood(TABLE["queues-and-gangs"])
    assert (asked.reconcile.gang_scheduling, asked.workload_seconds) == (True, 10)
    assert (understood(TABLE["placed"]).verbose, understood(TABLE["placed"]).workers) == (True, 3)
    (place,) = understood(TABLE["storage-by-namespace"]).reconcile.namespace_storage.items()
    assert (place[0], place[1].to_json()) == ("team-a", TABLE["storage-by-namespace"]["storage"]["namespaces"]["team-a"])

    def resources(values: Values) -> Any:
        found = understood(values).reconcile.pod_resources
        return found and found.to_json()

    assert resources({}) == {"requests": {"cpu": "500m", "memory": "1Gi"}}
    assert resources(TABLE["trainer-resources"]) == {
        "requests": {"cpu": "0.5", "memory": "8Gi"},
        "limits": {"memory": "16000000000"},
    }
    assert resources(TABLE["trainer-without-resources"]) == {"requests": {}}


def test_labels_and_annotations_of_ones_own_are_on_everything() -> None:
    made = render(TABLE["labelled"], with_crds=True)
    assert {"CustomResourceDefinition", "Deployment", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget"} <= {
        m["kind"] for m in made
    }
    for manifest in made:
        metadata = manifest["metadata"]
        assert metadata["labels"].items() >= {"team": "imaging", "cost-centre": "7"}.items(), manifest["kind"]
        assert metadata["labels"]["app.kubernetes.io/name"] == "nnunet-operator"
        assert metadata["annotations"]["contact"] == "imaging@example.org"
    pod = one(made, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert (pod["team"], pod["cost-centre"]) == ("platform", "7"), "a pod's own label wins"
    assert "team" not in one(made, "Deployment")["spec"]["selector"]["matchLabels"]


def test_a_catalogue_of_ones_own_is_mounted_where_the_operator_reads_it() -> None:
    manifests = render(TABLE["own-catalogue"])
    mount = next(mount for mount in container(manifests)["volumeMounts"] if mount["name"] == "catalogue")
    assert environment(manifests)["NNUNET_CATALOGUE"] == f"{mount['mountPath']}/catalogue.json"
    assert "NNUNET_CATALOGUE" not in environment(render({}))


@pytest.mark.parametrize("name", TABLE)
def test_the_selector_finds_the_pods(name: str) -> None:
    manifests = render(TABLE[name])
    spec = one(manifests, "Deployment")["spec"]
    labels = spec["template"]["metadata"]["labels"].items()
    assert spec["selector"]["matchLabels"].items() <= labels
    for service in (m for m in manifests if m["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= labels
    assert [m["kind"] for m in manifests if m["kind"] == "PodDisruptionBudget"] == (
        ["PodDisruptionBudget"] if TABLE[name].get("replicas", 1) > 1 else []
    )


def test_notes_say_what_to_do_next() -> None:
    notes = chart().render(TABLE["storage"], name="nnunet-operator", namespace="nnunet-system")[
        "nnunet-operator/templates/NOTES.txt"
    ]
    assert "Artifacts go to s3://bucket/nnunet" in notes
    assert "create secret generic s3" in notes
    assert "each object must name its own" in chart().render({}, name="x", namespace="y")["nnunet-operator/templates/NOTES.txt"]


# -- on the real API server --


@pytest.mark.controlplane
@pytest.mark.parametrize("name", TABLE)
@pytest.mark.usefixtures("monitoring_crds")
def test_the_api_server_takes_what_is_rendered(name: str, control_plane: ControlPlane) -> None:
    for manifest in render(TABLE[name], namespace="default"):
        path = control_plane.admin._path_of(manifest)
        answer = control_plane.admin.request(
            "PATCH", f"{path}?fieldManager=chart&force=true&dryRun=All&fieldValidation=Strict", manifest,
            content_type="application/apply-patch+yaml",
        )  # fmt: skip
        assert answer["kind"] == manifest["kind"]


@pytest.mark.controlplane
def test_the_operators_pod_is_restricted(control_plane: ControlPlane) -> None:
    api = control_plane.admin
    namespace = control_plane.create_namespace("restricted")
    api.patch(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    template = copy.deepcopy(one(render({}, namespace=namespace), "Deployment")["spec"]["template"])
    template["spec"]["serviceAccountName"] = "default"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": namespace}, "spec": template["spec"]}
    assert api.create(pod)["kind"] == "Pod"
    pod["metadata"] = {"name": "on-the-host", "namespace": namespace}
    pod["spec"]["hostNetwork"] = True
    with pytest.raises(ApiError, match="violates PodSecurity"):
        api.create(pod)
    control_plane.delete_namespace(namespace)


# -- GitOps --


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "gitops").rglob("*.yaml")), ids=lambda path: path.name)
def test_gitops_examples_use_values_that_the_chart_knows(path: Path) -> None:
    manifests = list(yaml.safe_load_all(path.read_text()))
    assert all({"apiVersion", "kind", "metadata"} <= m.keys() for m in manifests)
    for manifest in manifests:
        values = manifest.get("spec", {}).get("values") or manifest.get("spec", {}).get("source", {}).get("helm", {}).get(
            "valuesObject"
        )
        if values:
            chart().validate_schema(values)
            json.dumps(values)
