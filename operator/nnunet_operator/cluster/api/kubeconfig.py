"""From a kubeconfig, or a pod's service account, to a connection."""

from __future__ import annotations

from pathlib import Path

import yaml
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from nnunet_trainer.contract.faults import BadUsage, unknown_name

from . import credentials
from .client import Api
from .kinds import FIELD_MANAGER

UNUSABLE = (kubernetes_config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What the official client raises over files that are no kubeconfigs."""


async def connect(
    kubeconfig: Path | None = None, context: str | None = None, *, in_cluster: bool = False, user_agent: str = FIELD_MANAGER
) -> Api:
    """Connect with the service account (in a cluster) or a kubeconfig.

    Raises:
        BadUsage: there is no usable kubeconfig; the message says where it was looked for.
    """
    configuration, renewal, namespace = kubernetes_client.Configuration(), None, None
    try:
        if in_cluster:
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            path = str(kubeconfig) if kubeconfig else None
            loader = await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, context=context, client_configuration=configuration, persist_config=False
            )
            renewal = credentials.follow(configuration, loader)
            namespace = loader.current_context["context"].get("namespace")
    except UNUSABLE as error:
        where = kubeconfig or "$KUBECONFIG or ~/.kube/config"
        if context and (known := contexts(kubeconfig)) and context not in known:
            raise BadUsage("NoContext", f"{where}: {unknown_name('context', context, known)}") from error
        raise BadUsage(
            "NoCluster", f"No cluster can be reached with {where}: {error}.", hint="Name one with --kubeconfig."
        ) from error
    api = Api(configuration, renewal=renewal, user_agent=user_agent)
    api.context_namespace = namespace
    return api


def contexts(kubeconfig: Path | None) -> list[str]:
    """The names of a kubeconfig's contexts; none where it cannot be read."""
    try:
        found, _ = kubernetes_config.list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)  # type: ignore[no-untyped-call]
    except UNUSABLE:
        return []
    return [str(context["name"]) for context in found]
