"""What must be right before the operator starts: the cluster's version, the CRDs, the permissions."""

from __future__ import annotations

import asyncio
import logging
import re

from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, StorageFault

from ..api.resources import API_VERSION
from . import served_definitions
from .api.client import CONNECTION_ERRORS, Api, ApiError
from .api.kinds import JOB, KINDS, OURS, POD, ApiKind

log = logging.getLogger(__name__)

MINIMUM = (1, 31)
PATIENCE = 30.0
"""Seconds to wait for an API server that does not answer."""

REVIEW = ApiKind("SelfSubjectAccessReview", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")

Permission = tuple[ApiKind, str, tuple[str, ...]]  # kind, subresource, verbs

PERMISSIONS: tuple[Permission, ...] = (
    *((kind, "", ("get", "list", "watch", "delete")) for kind in OURS.values()),
    *((kind, "status", ("patch",)) for kind in OURS.values()),
    (OURS["Plans"], "", ("create", "patch")),
    (JOB, "", ("get", "list", "watch", "create", "delete")),
    (POD, "", ("get", "list", "watch")),
    (KINDS["ConfigMap"], "", ("create", "patch", "delete")),
    (KINDS["Service"], "", ("create", "patch", "delete")),
    (KINDS["Event"], "", ("create", "patch")),
)
"""All that the operator asks of the API server, per watched namespace. The chart's Role grants these and nothing else."""

LEASE: Permission = (KINDS["Lease"], "", ("get", "create", "update"))


async def check(api: Api, namespaces: tuple[str, ...], lease_namespace: str | None) -> str:
    """Check the cluster; its version.

    Args:
        lease_namespace: where the lease is kept; None without leader election.

    Raises:
        BadConfiguration: something is missing; each finding says what.
    """
    version = await _version(api)
    await _check_crds(api)
    await served_definitions.check(api)
    scopes: tuple[str | None, ...] = namespaces or (None,)
    wanted = [(scope, permission) for scope in scopes for permission in PERMISSIONS]
    if lease_namespace is not None:
        wanted.append((lease_namespace, LEASE))
    missing = [
        line
        for lines in await asyncio.gather(*(_missing(api, scope, permission) for scope, permission in wanted))
        for line in lines
    ]
    if missing:
        message = f"The operator lacks {len(missing)} permissions."
        hint = "Install its Role: `helm upgrade --install` applies the chart's, charts/nnunet-operator."
        raise BadConfiguration("MissingPermissions", message, findings=missing, hint=hint)
    return version


async def _version(api: Api) -> str:
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        try:
            found = await api.request("GET", "/version", timeout=10)
            break
        except ApiError as error:
            if error.code in (401, 403):
                raise BadUsage(
                    "Unauthorized", f"{api.configuration.host} refuses us: {error.message}", hint="Look at the kubeconfig."
                ) from error
            problem = str(error)
        except CONNECTION_ERRORS as error:
            problem = str(error) or type(error).__name__
        if loop.time() > end:
            raise StorageFault(
                "NoCluster",
                f"{api.configuration.host} does not answer: {problem}.",
                hint="Is it the right cluster (--kubeconfig, --context)?",
            )
        log.warning("%s does not answer yet: %s", api.configuration.host, problem)
        await asyncio.sleep(1)
    numbers = tuple(int(re.sub(r"\D.*", "", str(found.get(part, ""))) or 0) for part in ("major", "minor"))
    if numbers < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise BadConfiguration(
            "KubernetesTooOld", f"The cluster is Kubernetes {found.get('gitVersion')}; {needed} or newer is needed."
        )
    return str(found.get("gitVersion"))


async def _check_crds(api: Api) -> None:
    try:
        served = {item["name"] for item in (await api.request("GET", f"/apis/{API_VERSION}"))["resources"]}
    except ApiError as error:
        if error.code != 404:
            raise
        served = set()
    if missing := [
        f"{kind} ({info.plural}.{info.group})"
        for kind, info in OURS.items()
        if not {info.plural, f"{info.plural}/status"} <= served
    ]:
        hint = "Install the CRDs: kubectl apply --server-side -f crds/"
        raise BadConfiguration("MissingCRDs", f"The cluster does not know {', '.join(missing)} of {API_VERSION}.", hint=hint)


async def _missing(api: Api, scope: str | None, permission: Permission) -> list[str]:
    kind, sub, verbs = permission
    where = f"in namespace {scope}" if scope else "in all namespaces"
    lines = []
    for verb in verbs:
        attributes = {"group": kind.group, "resource": kind.plural, "subresource": sub, "verb": verb, "namespace": scope or ""}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": REVIEW.kind, "spec": {"resourceAttributes": attributes}}
        answer = await api.request("POST", REVIEW.path(None), body=body)
        if not answer["status"]["allowed"]:
            lines.append(f"{verb} {kind.plural}{f'/{sub}' if sub else ''}{f'.{kind.group}' if kind.group else ''} {where}")
    return lines
