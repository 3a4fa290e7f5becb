"""The chart by the real Helm, and the operator as the chart runs it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import helm_python as helm
import yaml

from ..apiclient import Manifest
from ..containers.container import Container, Mount, of_pod, require
from ..containers.images import DOCKERFILES
from ..controlplane import ROOT, ControlPlane
from ..operator import OperatorProcess

CHART = ROOT / "charts" / "nnunet-operator"
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Values = dict[str, Any]


@cache
def chart() -> helm.Chart:
    """The chart, loaded once."""
    return helm.Chart.load(CHART)


def render(values: Values, namespace: str = "nnunet-system", *, with_crds: bool = False) -> list[Manifest]:
    """All that the chart makes of these values. The CRDs are long and always the same: only when asked for."""
    files = chart().render(values, name="nnunet-operator", namespace=namespace)
    left_out = ("NOTES.txt",) if with_crds else ("NOTES.txt", "crds.yaml")
    texts = (text for path, text in files.items() if not path.endswith(left_out))
    return [manifest for text in texts for manifest in yaml.load_all(text, Loader=YAML) if manifest]


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The only manifest of a kind whose name ends so."""
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(name)]
    return found


def container(manifests: list[Manifest]) -> Manifest:
    """The operator's container."""
    (found,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """The environment that the chart gives to the operator, without what comes from its pod."""
    return {entry["name"]: entry["value"] for entry in container(manifests)["env"] if "value" in entry}


def operator(plane: ControlPlane, namespace: str, values: Values, folder: Path, *, contained: bool = False) -> OperatorProcess:
    """The operator's process as the chart's Deployment would run it: its arguments, its environment, its service account's rights.

    Args:
        namespace: the release's own. What the chart renders (but for the Deployment and the CRDs) is applied to it.
        folder: where the log goes.
        contained: in the Deployment's own container, with the service account's token where a cluster mounts it.
    """
    manifests = render(values, namespace)
    for manifest in manifests:
        if manifest["kind"] != "Deployment":
            plane.admin.apply(manifest)
    account = one(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    command, *arguments = [word for word in container(manifests)["args"] if not word.startswith("--http=")]
    if command != "run":
        raise ValueError(f"the chart's first argument is {command!r}")
    return OperatorProcess(
        plane,
        folder,
        kubeconfig=plane.kubeconfig_for(namespace, account),
        environment={**_in_a_hurry(environment(manifests)), "POD_NAMESPACE": namespace},
        arguments=arguments,
        container=_container(plane, namespace, one(manifests, "Deployment"), folder) if contained else None,
    )


def _in_a_hurry(environment: dict[str, str]) -> dict[str, str]:
    """What the operator asks every so often, asked more often."""
    often = {"NNUNET_PROGRESS_SECONDS": "0.5", "NNUNET_KUEUE_WORKLOAD_SECONDS": "0.2"}
    return {name: often.get(name, value) for name, value in environment.items()}


def _container(plane: ControlPlane, namespace: str, deployment: Manifest, folder: Path) -> Container:
    template = deployment["spec"]["template"]
    account = folder / "service-account"
    account.mkdir()
    token = plane.admin.token_for(namespace, template["spec"]["serviceAccountName"])
    for name, text in {"token": token, "ca.crt": Path(plane.ca).read_text(), "namespace": namespace}.items():
        (account / name).write_text(text)
    require(folder / "root")
    made = of_pod(template, DOCKERFILES["operator"], folder, {}, metadata_name="nnunet-operator-0", metadata_namespace=namespace)
    address = urlsplit(plane.url)
    variables = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
    mount = Mount(source=account, target="/var/run/secrets/kubernetes.io/serviceaccount", read_only=True)
    return replace(made, environment={**made.environment, **variables}, mounts=[*made.mounts, mount])
