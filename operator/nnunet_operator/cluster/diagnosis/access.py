"""The cluster's version, and whether a user (oneself, or a service account) may do what the operator does."""

from __future__ import annotations

import asyncio

from .. import preflight
from ..api.client import Api
from ..api.errors import ApiError
from ..api.kinds import KINDS
from ..settings import ClusterSettings
from .findings import Finding, Level

ROLES = "Install its Role: `helm upgrade --install` applies the chart's, charts/nnunet-operator."


async def version(api: Api) -> Finding:
    """Whether the cluster is new enough.

    Raises:
        ApiError, CONNECTION_ERRORS: it does not answer, or not us.
    """
    found = await api.request("GET", "/version", timeout=10)
    needed, name = ".".join(map(str, preflight.MINIMUM)), str(found.get("gitVersion"))
    if preflight.numbers(found) < preflight.MINIMUM:
        hint = f"Upgrade the cluster to {needed} or newer."
        return Finding(check="kubernetes", level=Level.PROBLEM, about=name, message=f"{needed} or newer is needed", hint=hint)
    return Finding(check="kubernetes", level=Level.OK, about=name, message=f"{needed} or newer is needed")


async def permissions(api: Api, settings: ClusterSettings, service_account: tuple[str, str] | None) -> list[Finding]:
    """One finding a permission that is missing, or one that all are there.

    Args:
        settings: where the operator works, and what it is asked to do there.
        service_account: namespace and name of whom it is asked; None: of oneself.
    """
    who = ":".join(("serviceaccount", *service_account)) if service_account else "this user"
    scopes: tuple[str | None, ...] = settings.namespaces or (None,)
    more, _ = await preflight.asked_for(api, settings)
    wanted = [(scope, permission) for scope in scopes for permission in (*preflight.PERMISSIONS, *more)]
    wanted.append((settings.lease_namespace, preflight.LEASE))
    try:
        answers = await asyncio.gather(
            *(preflight.missing(api, scope, permission, service_account) for scope, permission in wanted)
        )
    except ApiError as error:
        if error.code != 403:
            raise
        hint = "Ask as somebody who may create subjectaccessreviews, or leave --service-account out."
        return [
            Finding(check="permissions", level=Level.UNKNOWN, about=who, message=f"may not be asked: {error.message}", hint=hint)
        ]
    if missing := [line for lines in answers for line in lines]:
        return [
            Finding(check="permissions", level=Level.PROBLEM, about=who, message=f"may not {line}", hint=ROLES) for line in missing
        ]
    verbs = sum(len(verbs) for _, (_, _, verbs) in wanted)
    return [Finding(check="permissions", level=Level.OK, about=who, message=f"may do all {verbs} things that the operator does")]


async def gang_scheduling(api: Api, settings: ClusterSettings) -> list[Finding]:
    """Whether the API server has what `--gang-scheduling` asks for; nothing where it is not asked for."""
    if not settings.reconcile.gang_scheduling:
        return []
    check, about = "scheduling", KINDS["PodGroup"].api_version
    if await preflight.offers_pod_groups(api):
        return [Finding(check=check, level=Level.OK, about=about, message="the API server has PodGroups")]
    message = "the API server has no PodGroups: pods of a training on several nodes are placed one by one"
    hint = "Kubernetes 1.37 with the feature gate GenericWorkload has them (docs/scheduling.md). Else set gangScheduling: false."
    return [Finding(check=check, level=Level.WARNING, about=about, message=message, hint=hint)]
