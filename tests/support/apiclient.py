"""A small synchronous Kubernetes client for tests: any kind, raw manifests, no model objects."""

from __future__ import annotations

import functools
import http.client
import json
import select
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Manifest = dict[str, Any]
T = TypeVar("T")

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """An answer of the API server that is no success."""

    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"{code}: {body[:2000]}")
        self.code = code
        try:
            self.status: Manifest = json.loads(body)
        except ValueError:
            self.status = {"message": body}

    @property
    def message(self) -> str:
        """The server's message for people."""
        return str(self.status.get("message", ""))


def wait_until(condition: Callable[[], T | None], *, timeout: float = 120, what: str | Callable[[], object] = "the condition") -> T:
    """Ask `condition` until its answer is truthy, and return that answer.

    Raises:
        TimeoutError: the answer stayed falsy; the message says what was waited for.
    """
    begun = time.monotonic()
    end = begun + timeout
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"After {timeout:g} s still waiting for {what() if callable(what) else what}")
        # What takes minutes is asked for rarely: the asking would take the cores from what is waited for.
        time.sleep(min(0.05 + (time.monotonic() - begun) / 50, 1))


_kept = threading.local()
"""By server, this thread's connection: each new one costs both sides a handshake."""


@functools.cache
def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def _connection(url: str, ca: str, timeout: float) -> http.client.HTTPSConnection:
    """An open connection that the server has not closed meanwhile, or one that is opened with the next request."""
    connections: dict[tuple[str, str], http.client.HTTPSConnection] = _kept.__dict__
    if (connection := connections.get((url, ca))) is None:
        place = urllib.parse.urlsplit(url)
        assert place.hostname is not None
        connection = http.client.HTTPSConnection(place.hostname, place.port, context=_trusting(ca))
        connections[url, ca] = connection
    connection.timeout = timeout
    if connection.sock is not None:
        connection.sock.settimeout(timeout)
        if select.select([connection.sock], [], [], 0)[0]:  # nothing is asked, so this is its end
            connection.close()
    return connection


class ApiClient:
    """Talks to one API server as one user.

    Args:
        url: the server's address.
        token: a bearer token.
        ca: path of the certificate that the server's own is checked against.
    """

    def __init__(self, url: str, token: str, ca: str) -> None:
        self.url, self.token, self.ca = url, token, ca
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = JSON, accept: str = JSON, timeout: float = 30
    ) -> Any:
        """One request, of JSON (a text: as it is); the answer's JSON.

        Raises:
            ApiError: the server's answer is an error.
        """
        data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": accept}
        connection = _connection(self.url, self.ca, timeout)
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            text = response.read()
        except BaseException:
            connection.close()
            raise
        if response.status >= 400:
            raise ApiError(response.status, text.decode(errors="replace"))
        return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()

    def path(self, api_version: str, kind: str, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
        """The path of a collection, an object or its subresource; the plural comes from the server's own discovery."""
        plural, namespaced = self._resource(api_version, kind)
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        place = f"/namespaces/{namespace or 'default'}" if namespaced else ""
        return "/".join(part for part in (f"{root}{place}/{plural}", name, sub) if part)

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._resources:
            root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            for resource in self.request("GET", root)["resources"]:
                if "/" not in resource["name"]:
                    self._resources[api_version, resource["kind"]] = resource["name"], resource["namespaced"]
        return self._resources[api_version, kind]

    def _path_of(self, manifest: Manifest, sub: str = "") -> str:
        meta = manifest["metadata"]
        return self.path(manifest["apiVersion"], manifest["kind"], meta.get("namespace"), meta["name"], sub)

    def apply(self, manifest: Manifest, *, owner: str = "tests", sub: str = "") -> Manifest:
        """Server-side apply, as `kubectl apply --server-side` does it."""
        path = f"{self._path_of(manifest, sub)}?fieldManager={owner}&force=true"
        answer: Manifest = self.request("PATCH", path, manifest, content_type=APPLY)
        return answer

    def create(self, manifest: Manifest) -> Manifest:
        """POST."""
        meta = manifest["metadata"]
        answer: Manifest = self.request(
            "POST", self.path(manifest["apiVersion"], manifest["kind"], meta.get("namespace")), manifest
        )
        return answer

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """An object, or None when there is none."""
        try:
            answer: Manifest = self.request("GET", self.path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return answer

    def list(self, api_version: str, kind: str, namespace: str | None, *, labels: str = "") -> list[Manifest]:
        """All objects of a kind in a namespace."""
        query = f"?labelSelector={urllib.parse.quote(labels)}" if labels else ""
        items: list[Manifest] = self.request("GET", self.path(api_version, kind, namespace) + query)["items"]
        return [{**item, "apiVersion": api_version, "kind": kind} for item in items]  # items do not say what they are

    def patch(self, manifest: Manifest, change: Manifest, *, sub: str = "") -> Manifest:
        """Merge patch of an object (or of its subresource)."""
        answer: Manifest = self.request("PATCH", self._path_of(manifest, sub), change, content_type=MERGE)
        return answer

    def delete(self, manifest: Manifest, *, grace: int | None = None, policy: str = "Background") -> None:
        """Delete an object; one that is gone already is no error."""
        body: Manifest = {"propagationPolicy": policy}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            self.request("DELETE", self._path_of(manifest), body)
        except ApiError as error:
            if error.code != 404:
                raise

    def token_for(self, namespace: str, service_account: str) -> str:
        """A token of a service account (TokenRequest), so that a test can act under its Role."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return str(self.request("POST", path, body)["status"]["token"])

    def apply_all(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """Apply several manifests in the order given."""
        return [self.apply(manifest) for manifest in manifests]
