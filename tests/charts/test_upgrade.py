"""A release of the chart's last version, upgraded, rolled back, uninstalled and installed elsewhere, by the real Helm."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml
from support.apiclient import Manifest, wait_until
from support.controlplane import ROOT, ControlPlane
from support.third_party.chart import CHART, Values, container
from support.third_party.kubectl import kubectl

pytestmark = pytest.mark.controlplane

LAST = Path(__file__).parent / "frozen" / "nnunet-operator-0.1.0.tgz"
NAME, HERE, ELSEWHERE = "nnunet-operator", "nnunet-system", "imaging-system"
VALUES: Values = {
    "replicas": 0,
    "storage": {"uri": "s3://nnunet", "endpoint": "https://minio:9000", "secretName": "s3"},
    "metrics": {"serviceAnnotations": {"team": "imaging"}},
}
INSTALL = ROOT / "docs" / "install.md"


def objects(namespace: str) -> list[Manifest]:
    files = sorted((ROOT / "examples" / "quickstart").glob("*.yaml"))
    found = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    return [{**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}} for manifest in found]


def standing(plane: ControlPlane, manifests: list[Manifest]) -> dict[str, tuple[str, int]]:
    """uid and generation of each object: neither may change."""
    found = {}
    for manifest in manifests:
        meta = manifest["metadata"]
        stored = plane.admin.get(manifest["apiVersion"], manifest["kind"], meta["namespace"], meta["name"])
        assert stored is not None, f"{manifest['kind']} {meta['name']} is gone"
        found[f"{manifest['kind']}/{meta['name']}"] = stored["metadata"]["uid"], stored["metadata"]["generation"]
    return found


def template_schema(plane: ControlPlane) -> Manifest:
    crd = plane.admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "trainingruns.nnunet.dev")
    assert crd is not None
    found: Manifest = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["template"]
    return found


def deployment(plane: ControlPlane, namespace: str = HERE) -> Manifest:
    found = plane.admin.get("apps/v1", "Deployment", namespace, NAME)
    assert found is not None
    return found


def adopting_commands() -> list[list[str]]:
    """What docs/install.md says to run before a release goes elsewhere."""
    section = INSTALL.read_text().partition("## Uninstalling and installing again")[2].partition("\n## ")[0]
    lines = re.findall(r"^kubectl annotate .*$", section, re.MULTILINE)
    assert lines
    return [shlex.split(line.replace("NAMESPACE", ELSEWHERE).replace("RELEASE", NAME))[1:] for line in lines]


def test_from_the_last_version_and_back_and_elsewhere(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    options: dict[str, Any] = {"namespace": HERE, "timeout": 60}
    with helm.Config(kubeconfig_path=plane.kubeconfig, namespace=HERE) as config:
        config.install(str(LAST), NAME, VALUES, create_namespace=True, **options)
        old = deployment(plane)
        assert "x-kubernetes-validations" not in template_schema(plane)
        given = objects("default")
        for manifest in given:
            wait_until(lambda m=manifest: plane.admin.apply(m), what=f"{manifest['kind']} to be served")
        before = standing(plane, given)

        config.upgrade(str(CHART), NAME, reuse_values=True, **options)  # its values know nothing of this version's
        new = deployment(plane)
        assert new["spec"]["selector"] == old["spec"]["selector"]
        kept = {entry["name"]: entry.get("value") for entry in container([new])["env"]}
        was = {entry["name"]: entry.get("value") for entry in container([old])["env"]}
        assert (was.pop("NNUNET_TRAINER_IMAGE"), kept["NNUNET_TRAINER_IMAGE"]) == ("nnunet-trainer:0.1.0", "nnunet-trainer:0.2.0")
        assert kept.items() >= was.items()
        assert "x-kubernetes-validations" in template_schema(plane), "the new CRDs came with it"
        service = plane.admin.get("v1", "Service", HERE, f"{NAME}-metrics")
        assert service is not None
        assert service["metadata"]["annotations"]["team"] == "imaging"

        config.upgrade(str(CHART), NAME, {**VALUES, "networkPolicy": {"create": True}}, **options)
        assert plane.admin.get("networking.k8s.io/v1", "NetworkPolicy", HERE, NAME)
        assert "NNUNET_TRAINER_RESOURCES" in {entry["name"] for entry in container([deployment(plane)])["env"]}
        assert standing(plane, given) == before

        config.rollback(NAME, version=1, timeout=60)
        assert container([deployment(plane)])["env"] == container([old])["env"]
        assert plane.admin.get("networking.k8s.io/v1", "NetworkPolicy", HERE, NAME) is None
        assert standing(plane, given) == before

        config.upgrade(str(CHART), NAME, VALUES, **options)
        config.uninstall(NAME, timeout=60)
        assert plane.admin.get("apps/v1", "Deployment", HERE, NAME) is None
        assert standing(plane, given) == before

    with helm.Config(kubeconfig_path=plane.kubeconfig, namespace=ELSEWHERE) as config:
        options["namespace"] = ELSEWHERE
        with pytest.raises(helm.HelmError, match="invalid ownership metadata"):
            config.install(str(CHART), NAME, VALUES, create_namespace=True, **options)
        for command in adopting_commands():
            kubectl(*command, kubeconfig=plane.kubeconfig)
        config.install(str(CHART), NAME, VALUES, create_namespace=True, **options)
        assert deployment(plane, ELSEWHERE)
        assert standing(plane, given) == before
