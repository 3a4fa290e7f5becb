"""The objects of a cluster, read one by one as they are asked for, and changed; what goes wrong is said to its user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from nnunet_operator.api.resources import GROUP, KINDS
from nnunet_operator.cluster.api.client import Api
from nnunet_operator.cluster.api.errors import CONNECTION_ERRORS, ApiError
from nnunet_operator.cluster.api.kinds import JOB, NAMESPACE, OURS, POD, WORKLOAD, ApiKind
from nnunet_operator.cluster.api.kinds import KINDS as ALL_KINDS
from nnunet_operator.inspection.reader import ObjectReader
from nnunet_operator.manifests import names, ownership
from nnunet_operator.reconcile.view import Manifest
from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadConfiguration, StorageFault

T = TypeVar("T")

CHILDREN = {"Job": JOB, "Pod": POD}
OTHERS = {
    "ConfigMap": ALL_KINDS["ConfigMap"],
    "Secret": ApiKind("Secret", "", "v1", "secrets"),
    "PersistentVolumeClaim": ApiKind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    "Node": ApiKind("Node", "", "v1", "nodes"),
}
EVENTS = ALL_KINDS["Event"]
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class ApiReader(ObjectReader):
    """The objects of one API server, asked in turn, not at once.

    What is refused or not there becomes a fault with what to do about it. Of Secrets nothing but their metadata is asked for.

    Args:
        api: the client.
        loop: in which it lives.
        patience: seconds that an answer may take; None: as long as the client allows.
    """

    def __init__(self, api: Api, loop: asyncio.AbstractEventLoop, patience: float | None = None) -> None:
        self._api, self._loop, self._patience = api, loop, patience
        self._workloads: dict[str, list[Manifest]] = {}
        self.left_out: dict[str, None] = {}  # what could not be looked at, each said once

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self._api.configuration.host)

    # -- inspection.reader.ObjectReader --

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        if not keys.is_one_name(name):  # of `trainingrun/`: it would be the path of all of them
            return None
        found = self._ask(self._api.get(OURS[kind], namespace, name), f"get {OURS[kind].plural}", namespace)
        return _typed(found, OURS[kind]) if found else None

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        what = f"list {OURS[kind].plural}"
        found = self._ask(self._listed(OURS[kind], namespace, {}), what, namespace)
        return sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def owned(self, owner: Manifest, kind: str) -> list[Manifest]:
        try:
            return self._owned(owner, kind)
        except BadConfiguration as fault:
            self.left_out.setdefault(fault.message, None)
            return []

    def events(self, about: Manifest) -> list[Manifest]:
        meta = about["metadata"]
        selector = {"fieldSelector": f"involvedObject.uid={meta['uid']}"}
        return self._may_fail(self._listed(EVENTS, meta["namespace"], selector)) or []

    def workload(self, job: Manifest) -> Manifest | None:
        namespace, uid = job["metadata"]["namespace"], job["metadata"]["uid"]
        if namespace not in self._workloads:
            self._workloads[namespace] = self._may_fail(self._kueue(namespace)) or []
        return next((each for each in self._workloads[namespace] if (ownership.controlling_job(each) or ("", ""))[1] == uid), None)

    def other(self, kind: str, namespace: str, name: str) -> Manifest | bool | None:
        path = OTHERS[kind].path(namespace or None, name)
        try:
            found: Manifest = self._loop.run_until_complete(
                self._api.request("GET", path, accept=METADATA if kind == "Secret" else "application/json")
            )
        except ApiError as error:
            return False if error.code == 404 else None
        except CONNECTION_ERRORS:
            return None
        return True if kind == "Secret" else found

    # -- what is beyond that --

    def pods(self, owner: Manifest) -> list[Manifest]:
        """The pods of an object.

        Raises:
            BadConfiguration: they may not be listed.
        """
        return self._owned(owner, "Pod")

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The texts of a ConfigMap; empty where it is not there or may not be read."""
        found = self.other("ConfigMap", namespace, name)
        return (found.get("data") or {}) if isinstance(found, dict) else {}

    def change(self, manifest: Manifest, spec: Mapping[str, Any]) -> None:
        """Set fields of an object's spec, of this very object and none that has its name now.

        Raises:
            BadConfiguration: it is not allowed, or the schema refuses it.
        """
        kind, meta = OURS[manifest["kind"]], manifest["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "spec": dict(spec)}
        write = self._api.merge(kind, meta["namespace"], meta["name"], patch)
        self._ask(write, f"patch {kind.plural}", meta["namespace"])

    def log(self, pod: Manifest, query: Mapping[str, str]) -> Iterator[str]:
        """The lines of a pod's log, as they come."""
        meta = pod["metadata"]
        lines = self._api.log(meta["namespace"], meta["name"], dict(query))
        while (line := self._ask(_next(lines), "get pods/log", meta["namespace"])) is not None:
            yield line

    def namespaces(self) -> list[str]:
        """The names of all namespaces; none where they may not be listed."""
        return [each["metadata"]["name"] for each in self._may_fail(self._listed(NAMESPACE, None, {})) or []]

    def _owned(self, owner: Manifest, kind: str) -> list[Manifest]:
        meta = owner["metadata"]
        selector = {"labelSelector": f"{names.OWNER_UID}={meta['uid']}"}
        return self._ask(self._listed(CHILDREN[kind], meta["namespace"], selector), f"list {kind.lower()}s", meta["namespace"])

    async def _listed(self, kind: ApiKind, namespace: str | None, query: dict[str, str]) -> list[Manifest]:
        found: list[Manifest] = []
        query = {"limit": "500", **query}
        while True:
            page = await self._api.request("GET", kind.path(namespace), query=query)
            found += [_typed(item, kind) for item in page.get("items") or []]
            if not (go_on := page["metadata"].get("continue")):
                return found
            query = {**query, "continue": go_on}

    async def _kueue(self, namespace: str) -> list[Manifest]:
        group = await self._api.request("GET", f"/apis/{WORKLOAD.group}")
        served = WORKLOAD._replace(version=str(group["preferredVersion"]["version"]))
        return await self._listed(served, namespace, {})

    def _may_fail(self, question: Coroutine[Any, Any, T]) -> T | None:
        try:
            return self._loop.run_until_complete(asyncio.wait_for(question, self._patience))
        except (ApiError, *CONNECTION_ERRORS):
            return None

    def _ask(self, question: Coroutine[Any, Any, T], what: str, namespace: str | None) -> T:
        try:
            return self._loop.run_until_complete(asyncio.wait_for(question, self._patience))
        except ApiError as error:
            raise _refused(error, self.host, what, namespace) from error
        except CONNECTION_ERRORS as error:
            why = str(error) or type(error).__name__
            hint = "Is it the right cluster? kubectl config get-contexts; --context and --kubeconfig name another one."
            raise StorageFault("NoCluster", f"{self.host} does not answer: {why}.", hint=hint) from error


def _typed(manifest: Manifest, kind: ApiKind) -> Manifest:
    return {**manifest, "apiVersion": kind.api_version, "kind": kind.kind}


async def _next(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)


def _refused(error: ApiError, host: str, what: str, namespace: str | None) -> BadConfiguration:
    """What an answer that is no success means to the caller."""
    where = f" in namespace {namespace}" if namespace else " in all namespaces"
    if error.code == 401:
        return BadConfiguration("Unauthorized", f"{host} does not accept your credentials.", hint="Log in again, or see --context.")
    if error.code == 403:
        hint = (
            "Name a namespace (-n) that you may look into, or ask for a role: the chart's rbac.aggregate adds the four kinds to "
            "Kubernetes' own view, edit and admin."
        )
        return BadConfiguration("Forbidden", f"You may not {what}{where}: {error.message}", hint=hint)
    if error.code == 404 and what.startswith("list "):  # of a namespace that is not there, an empty list is the answer
        kinds = ", ".join(model.plural for model in KINDS.values())
        message = f"{host} serves no {GROUP} ({kinds}): nnunet-operator is not installed in this cluster."
        return BadConfiguration("NotInstalled", message, hint="Install it (docs/install.md), or name another cluster by --context.")
    return BadConfiguration(error.reason or "Refused", f"{host} refuses to {what}{where}: {error.message}")
