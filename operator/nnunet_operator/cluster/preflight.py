"""What must be right before the operator starts: the cluster's version, the CRDs, the permissions."""

from __future__ import annotations

import asyncio
import re

from nnunet_trainer.contract.faults import BadConfiguration, BadUsage

from ..api.resources import API_VERSION
from . import crd_check
from .api.client import Api
from .api.errors import ApiError
from .api.kinds import JOB, KINDS, NAMESPACE, OURS, POD, WORKLOAD, ApiKind
from .api.retry import ask, no_cluster
from .settings import ClusterSettings

MINIMUM = (1, 31)

REVIEW = ApiKind("SelfSubjectAccessReview", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
REVIEW_OF_OTHERS = ApiKind("SubjectAccessReview", "authorization.k8s.io", "v1", "subjectaccessreviews")

Permission = tuple[ApiKind, str, tuple[str, ...]]  # kind, subresource, verbs

PERMISSIONS: tuple[Permission, ...] = (
    *((kind, "", ("get", "list", "watch")) for kind in OURS.values()),
    *((kind, "status", ("patch",)) for kind in OURS.values()),
    (OURS["Plans"], "", ("create", "patch")),
    (OURS["TrainingRun"], "", ("patch", "delete")),  # finalizers; an expired run
    (NAMESPACE, "", ("get",)),  # whether it is being deleted
    (JOB, "", ("get", "list", "watch", "create", "delete")),
    (POD, "", ("get", "list", "watch")),
    (KINDS["ConfigMap"], "", ("get", "create", "patch", "delete")),
    (KINDS["Service"], "", ("create", "patch", "delete")),
    (KINDS["Event"], "", ("create", "patch")),
)
"""All that the operator asks of the API server, per watched namespace. The chart's Role grants these and nothing else, and
`tests/charts/operator_exercises.py` says what each is needed for."""

LEASE: Permission = (KINDS["Lease"], "", ("get", "create", "update"))


POD_GROUPS: Permission = (KINDS["PodGroup"], "", ("create", "patch", "delete"))
"""With `--gang-scheduling`."""

WORKLOADS: Permission = (WORKLOAD, "", ("list",))
"""Where Kueue's Workloads are to be read."""


async def check(api: Api, namespaces: tuple[str, ...], lease_namespace: str | None) -> str:
    """Check the cluster; its version.

    Args:
        lease_namespace: where the lease is kept; None without leader election.

    Raises:
        BadConfiguration: something is missing; each finding says what.
    """
    version = await _version(api)
    await _check_crds(api)
    await crd_check.check(api)
    await check_permissions(api, namespaces, *PERMISSIONS, lease_namespace=lease_namespace)
    return version


async def check_permissions(
    api: Api, namespaces: tuple[str, ...], *permissions: Permission, lease_namespace: str | None = None
) -> None:
    """Check that all of these may be done in all watched namespaces.

    Raises:
        BadConfiguration: a permission is missing; each finding is one.
    """
    scopes: tuple[str | None, ...] = namespaces or (None,)
    wanted = [(scope, permission) for scope in scopes for permission in permissions]
    if lease_namespace is not None:
        wanted.append((lease_namespace, LEASE))
    lacking = [
        line for lines in await asyncio.gather(*(missing(api, scope, permission) for scope, permission in wanted)) for line in lines
    ]
    if lacking:
        message = f"The operator lacks {len(lacking)} permissions."
        hint = "Install its Role: `helm upgrade --install` applies the chart's, charts/nnunet-operator."
        raise BadConfiguration("MissingPermissions", message, findings=lacking, hint=hint)


async def asked_for(api: Api, settings: ClusterSettings) -> tuple[list[Permission], bool]:
    """What the settings ask for beyond `PERMISSIONS`, and whether there is gang scheduling: they ask for it and the cluster has it.

    Raises:
        ApiError: the API server does not say whether it has it.
    """
    gangs = settings.reconcile.gang_scheduling and await offers_pod_groups(api)
    workloads = settings.workload_seconds is not None
    return [*([POD_GROUPS] if gangs else []), *([WORKLOADS] if workloads else [])], gangs


async def offers_pod_groups(api: Api) -> bool:
    """Whether the API server has PodGroups, by which pods are placed all at once.

    Raises:
        ApiError: it does not say.
    """
    try:
        answer = await ask(api, "GET", f"/apis/{KINDS['PodGroup'].api_version}")
    except ApiError as error:
        if error.code != 404:
            raise
        return False
    return any(item["name"] == KINDS["PodGroup"].plural for item in answer["resources"])


async def _version(api: Api) -> str:
    try:
        found = await ask(api, "GET", "/version")
    except ApiError as error:
        if error.code in (401, 403):
            raise BadUsage(
                "Unauthorized", f"{api.configuration.host} refuses us: {error.message}", hint="Look at the kubeconfig."
            ) from error
        raise no_cluster(api, str(error)) from error
    if numbers(found) < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise BadConfiguration(
            "KubernetesTooOld", f"The cluster is Kubernetes {found.get('gitVersion')}; {needed} or newer is needed."
        )
    return str(found.get("gitVersion"))


async def _check_crds(api: Api) -> None:
    try:
        served = {item["name"] for item in (await ask(api, "GET", f"/apis/{API_VERSION}"))["resources"]}
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


async def missing(api: Api, scope: str | None, permission: Permission, service_account: tuple[str, str] | None = None) -> list[str]:
    """Which verbs of a permission are not granted, as `create jobs.batch in namespace x`.

    Args:
        scope: a namespace; None: all.
        service_account: namespace and name of whom it is asked; None: of oneself.
    """
    kind, sub, verbs = permission
    where = f"in namespace {scope}" if scope else "in all namespaces"
    review, subject = REVIEW, dict[str, object]()
    if service_account is not None:
        space, name = service_account
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated"]
        review, subject = REVIEW_OF_OTHERS, {"user": f"system:serviceaccount:{space}:{name}", "groups": groups}
    lines = []
    for verb in verbs:
        attributes = {"group": kind.group, "resource": kind.plural, "subresource": sub, "verb": verb, "namespace": scope or ""}
        spec = {"resourceAttributes": attributes, **subject}
        body = {"apiVersion": review.api_version, "kind": review.kind, "spec": spec}
        answer = await ask(api, "POST", review.path(None), body)
        if not answer["status"]["allowed"]:
            lines.append(f"{verb} {kind.plural}{f'/{sub}' if sub else ''}{f'.{kind.group}' if kind.group else ''} {where}")
    return lines


def numbers(version: dict[str, object]) -> tuple[int, ...]:
    """Major and minor of a cluster's version; `31+` is 31."""
    return tuple(int(re.sub(r"\D.*", "", str(version.get(part, ""))) or 0) for part in ("major", "minor"))
