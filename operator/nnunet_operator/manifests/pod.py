"""The pod template: one container, nothing that Pod Security "restricted" forbids, no access to the Kubernetes API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnunet_trainer.contract import pod as contract

from ..api.fields.own_keys import is_operators_key
from ..api.template import OPERATORS_VARIABLES, ResourcesSpec, TemplateSpec
from . import names, service, volumes
from .job_parameters import JobParameters

CONTAINER = "trainer"
GROUP = 65532
"""The group of our images' user; of a pod and its volumes, unless the template names another."""

PASSED_ON = {
    "serviceAccountName": "service_account_name",
    "runtimeClassName": "runtime_class_name",
    "nodeSelector": "node_selector",
    "affinity": "affinity",
    "schedulerName": "scheduler_name",
}
"""Fields of a pod that are the template's own, as they are."""


def template(parameters: JobParameters, order_config_map: str) -> dict[str, Any]:
    """A Job's pod template."""
    asked = parameters.template
    metadata: dict[str, Any] = {"labels": {**a_persons(asked.labels), **parameters.labels}}
    if annotations := a_persons(asked.annotations):
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": _spec(parameters, order_config_map)}


def a_persons(keys: dict[str, str] | None) -> dict[str, str]:
    """Without what a newer schema would refuse: an object may be older than it."""
    return {key: value for key, value in (keys or {}).items() if not is_operators_key(key)}


def _spec(parameters: JobParameters, order_config_map: str) -> dict[str, Any]:
    asked = parameters.template
    plain = asked.to_json()
    disks = volumes.of(parameters, order_config_map)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _grace(parameters),
        "securityContext": _pod_security(asked, disks.volumes),
        "containers": [_container(parameters, disks)],
        "volumes": disks.volumes,
    }
    spec |= {field: plain[field] for field in PASSED_ON if field in plain and plain[field] is not None}
    if asked.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret.name} for secret in asked.image_pull_secrets]
    if asked.tolerations:
        spec["tolerations"] = plain["tolerations"]
    if priority := asked.priority_class_name or parameters.priority_class:
        spec["priorityClassName"] = priority
    if asked.topology_spread_constraints:
        same_job = {"labelSelector": {"matchLabels": {names.JOB_NAME: parameters.name}}}
        spec["topologySpreadConstraints"] = [same_job | plain for plain in plain["topologySpreadConstraints"]]
    if asked.resource_claims:
        spec["resourceClaims"] = [
            {field: value for field, value in claim.items() if field != "request"} for claim in plain["resourceClaims"]
        ]
    if parameters.rendezvous:
        spec["subdomain"] = parameters.name
    if parameters.gang:
        spec["schedulingGroup"] = {"podGroupName": parameters.name}
    return spec


def _grace(parameters: JobParameters) -> int:
    """Time for a checkpoint to be written and uploaded after SIGTERM; the trainer is told, so that it ends before."""
    return parameters.template.termination_grace_period_seconds or contract.GRACE_SECONDS


def _container(parameters: JobParameters, disks: volumes.Volumes) -> dict[str, Any]:
    container = {
        "name": CONTAINER,
        "image": parameters.template.image or parameters.image,
        "imagePullPolicy": parameters.template.image_pull_policy or parameters.image_pull_policy,
        "command": ["nnunet-trainer"],
        "args": ["run", f"{contract.ORDER_MOUNT}/{contract.ORDER_FILE}"],
        "env": _environment(parameters),
        "ports": [{"name": "http", "containerPort": contract.PROGRESS_PORT, "protocol": "TCP"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": disks.mounts,
    }
    if resources := _resources(parameters):
        container["resources"] = resources
    return container


def _environment(parameters: JobParameters) -> list[dict[str, Any]]:
    fixed = {
        contract.ENV_SECRETS: contract.SECRETS_MOUNT,
        contract.ENV_CA: contract.CA_MOUNT,
        contract.ENV_PLUGINS: contract.PLUGINS_MOUNT,
        contract.ENV_SCRATCH: contract.SCRATCH_MOUNT,
        contract.ENV_CLAIMS: contract.CLAIMS_MOUNT,
        contract.ENV_GRACE_SECONDS: str(_grace(parameters)),
        # Libraries that keep caches in a home folder: there is none.
        "MPLCONFIGDIR": f"{volumes.TMP_MOUNT}/matplotlib",
        "XDG_CACHE_HOME": f"{volumes.TMP_MOUNT}/cache",
        "TORCHINDUCTOR_CACHE_DIR": f"{contract.SCRATCH_MOUNT}/inductor",
        "TRITON_CACHE_DIR": f"{contract.SCRATCH_MOUNT}/triton",
    }
    if parameters.template.dataset_cache:
        fixed[contract.ENV_DATASET_CACHE] = contract.DATASET_CACHE_MOUNT
    if parameters.rendezvous:
        fixed |= {"MASTER_ADDR": service.leader_address(parameters), "MASTER_PORT": str(contract.RENDEZVOUS_PORT)}
    by_field = {
        contract.ENV_POD_IP: "status.podIP",
        "POD_NAME": "metadata.name",
        contract.ENV_JOB_UID: f"metadata.labels['{names.CONTROLLER_UID}']",
    }
    own: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in fixed.items()]
    own += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in by_field.items()]
    # The operator's come last: where a name is given twice, the kubelet takes the last.
    asked = [variable.to_json() for variable in parameters.template.env or []]
    return [variable for variable in asked if variable["name"] not in {*fixed, *by_field, *OPERATORS_VARIABLES}] + own


def _resources(parameters: JobParameters) -> dict[str, Any]:
    asked: ResourcesSpec | None = parameters.resources or parameters.template.resources
    resources: dict[str, Any] = asked.to_json() if asked else {}
    if parameters.gpus and parameters.gpu_claim is None:
        limits = {**(resources.get("limits") or {}), parameters.gpu_resource: str(parameters.gpus)}
        requests = {k: v for k, v in (resources.get("requests") or {}).items() if k != parameters.gpu_resource}
        resources = {"limits": limits, **({"requests": requests} if requests else {})}
    resources = _with_defaults(resources, parameters.default_resources)
    if claims := parameters.template.resource_claims:
        # Each claim is the pod's and the trainer's: there is no other container.
        resources["claims"] = [{"name": c.name, **({"request": c.request} if c.request else {})} for c in claims]
    return {kind: amounts for kind, amounts in resources.items() if amounts}


def _with_defaults(resources: dict[str, Any], defaults: ResourcesSpec | None) -> dict[str, Any]:
    """A default counts for what is neither requested nor limited: a limit below a request would be refused."""
    mentioned = {name for amounts in resources.values() for name in amounts or ()}
    whole = {kind: dict(amounts or {}) for kind, amounts in resources.items()}
    for kind, amounts in (defaults.to_json() if defaults else {}).items():
        added = {name: amount for name, amount in amounts.items() if name not in mentioned}
        whole[kind] = {**added, **whole.get(kind, {})}
    return whole


def _pod_security(asked: TemplateSpec, mounted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    own = asked.security.to_json() if asked.security else {}
    # A fresh block volume belongs to root; the kubelet gives it to this group. Elsewhere a fixed group would only be in the way.
    claims = [volume.get("persistentVolumeClaim") or volume.get("ephemeral") for volume in mounted]
    claimed = any(claim is not None and not claim.get("readOnly") for claim in claims)
    group = {"fsGroup": GROUP, "fsGroupChangePolicy": "OnRootMismatch"} if claimed else {}
    # The image says both. Of one alone: a user would be in root's group, and with a group containerd makes no sandbox ("user group
    # is specified without user").
    user = {"runAsUser": GROUP, "runAsGroup": GROUP} if {"runAsUser", "runAsGroup"} & own.keys() else {}
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **user, **group, **own}
