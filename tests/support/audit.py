"""What a service account asked of the test control plane's API server, and what it was refused, by the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .apiclient import Manifest

Rule = tuple[str, str, str]
"""API group, resource (`jobs`, `plans/status`), verb: what a rule of a Role grants."""


class Request(NamedTuple):
    """One request about a resource."""

    group: str
    resource: str
    verb: str
    code: int
    where: str  # namespace/name, as far as the request names them

    @property
    def rules(self) -> set[Rule]:
        """What had to be granted for it. An apply (PATCH) that makes an object needs `create` as well."""
        rules = {(self.group, self.resource, self.verb)}
        return rules | {(self.group, self.resource, "create")} if (self.verb, self.code) == ("patch", 201) else rules


def requests(folder: Path, namespace: str, service_account: str) -> list[Request]:
    """The requests about resources that one service account has made of the control plane in this folder.

    Questions that everybody may ask (discovery, the version, reviews of one's own access) are left out.
    """
    user = f"system:serviceaccount:{namespace}:{service_account}"
    found = (event for event in _events(folder) if event["user"]["username"] == user)
    return [_request(event) for event in found if event.get("objectRef", {}).get("apiGroup") != "authorization.k8s.io"]


def _request(event: Manifest) -> Request:
    about = event.get("objectRef") or {}
    resource = "/".join(part for part in (about.get("resource"), about.get("subresource")) if part)
    where = "/".join(part for part in (about.get("namespace"), about.get("name")) if part)
    code = int((event.get("responseStatus") or {}).get("code", 0))
    return Request(about.get("apiGroup", ""), resource or event["requestURI"], event["verb"], code, where)


def _events(folder: Path) -> Iterator[Manifest]:
    for file in sorted(folder.glob("audit*.log")):  # it is rotated
        with file.open() as lines:
            for line in lines:
                if line.endswith("\n"):  # the last may be half written
                    yield json.loads(line)
