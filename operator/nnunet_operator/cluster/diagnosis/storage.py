"""Whether storage can be reached, as far as somebody without credentials can tell: names, addresses, certificates, claims."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from nnunet_trainer.contract import uri
from nnunet_trainer.contract.faults import BadConfiguration

from ...api.base import SpecModel
from ...reconcile.view import Manifest
from ..api.client import Api
from ..api.errors import ApiError, text_of
from ..api.kinds import KINDS, OURS, ApiKind
from .findings import Finding, Level

CHECK = "storage"
CLAIM = ApiKind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
TIMEOUT = aiohttp.ClientTimeout(total=8, sock_connect=4)
AMAZON = re.compile(r"[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")
"""Amazon's rules for names of buckets; other stores take more."""


class Place(NamedTuple):
    """A bucket or a claim, and how it is reached."""

    address: str  # s3://bucket or pvc://claim
    namespace: str  # of a claim and of the CA's ConfigMap
    endpoint: str | None = None
    region: str | None = None
    ca_config_map: str | None = None


async def check(api: Api, namespaces: tuple[str, ...], default: SpecModel | None) -> list[Finding]:
    """One finding a bucket (claim) that any object names.

    Args:
        default: the operator's own; None: it is not known here.
    """
    found: dict[Place, None] = {}
    if default is not None:
        spec = default.to_json()
        for namespace in namespaces or ("default",):
            found |= dict.fromkeys(_places(spec, namespace))
    for kind in OURS.values():
        for scope in namespaces or (None,):
            try:
                async for page in api.pages(kind, scope):
                    for item in page["items"]:
                        found |= dict.fromkeys(named_by(item, default))
            except ApiError as error:
                if error.code not in (403, 404):
                    raise  # else said by the check of objects
    return list(await asyncio.gather(*(_check(api, place) for place in found)))


def named_by(manifest: Manifest, default: SpecModel | None = None) -> Iterator[Place]:
    """The buckets and claims that an object names, reached as its Jobs reach them."""
    spec, namespace = manifest.get("spec") or {}, manifest["metadata"]["namespace"]
    storage = spec.get("storage") or (default.to_json() if default else {})
    for place in (spec.get("storage"), spec.get("source"), spec.get("pretrained")):
        if place and place.get("uri"):
            says = any(place.get(field) for field in ("endpoint", "region", "secretName", "caConfigMap"))
            inherits = not says or (_bucket(place["uri"]) == _bucket(storage.get("uri", "")) and not place.get("endpoint"))
            yield from _places({**(storage if inherits else {}), **place}, namespace)
    if kept := (manifest.get("status") or {}).get("storage"):
        yield from _places(kept, namespace)


def _places(spec: dict[str, Any], namespace: str) -> Iterator[Place]:
    address = _bucket(str(spec.get("uri", "")))
    if address.startswith("pvc://"):
        yield Place(address, namespace)
    elif address.startswith("s3://"):
        ca = spec.get("caConfigMap")
        yield Place(address, namespace if ca else "", spec.get("endpoint"), spec.get("region"), ca)


def _bucket(text: str) -> str:
    return "/".join(text.split("/", 3)[:3])


async def _check(api: Api, place: Place) -> Finding:
    try:
        uri.parse(place.address)
    except BadConfiguration as fault:
        return _finding(Level.PROBLEM, place.address, fault.message, fault.hint)
    return await (_claim(api, place) if place.address.startswith("pvc://") else _s3(api, place))


async def _claim(api: Api, place: Place) -> Finding:
    name, about = place.address.removeprefix("pvc://"), f"{place.address} in namespace {place.namespace}"
    try:
        found = await api.get(CLAIM, place.namespace, name)
    except ApiError as error:
        if error.code != 403:
            raise
        return _finding(Level.UNKNOWN, about, "this user may not read PersistentVolumeClaims")
    if found is None:
        return _finding(Level.PROBLEM, about, "there is no such PersistentVolumeClaim", f"Create {name} in {place.namespace}.")
    phase = (found.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        return _finding(Level.PROBLEM, about, "its volume is lost", f"kubectl -n {place.namespace} describe pvc {name}")
    return _finding(Level.OK, about, f"the claim is {phase}" + ("; it is bound when a pod comes" if phase == "Pending" else ""))


async def _s3(api: Api, place: Place) -> Finding:
    bucket = place.address.removeprefix("s3://")
    host = place.endpoint or (f"https://s3.{place.region}.amazonaws.com" if place.region else "https://s3.amazonaws.com")
    about = f"{place.address} at {host}"
    if place.endpoint is None and not AMAZON.fullmatch(bucket):
        rule = "3 to 63 lower case letters, digits, '.' and '-'"
        return _finding(Level.PROBLEM, about, f"no bucket of Amazon's can be named so ({rule})", "Or set the store's endpoint.")
    try:
        context, unread = await _trust(api, place)
    except (ssl.SSLError, ValueError) as error:
        where = f"ConfigMap {place.namespace}/{place.ca_config_map}"
        return _finding(Level.PROBLEM, about, f"{where} holds no certificates: {error}", "Its key ca.crt holds them as PEM.")
    try:
        status, code = await _ask(f"{host.rstrip('/')}/{bucket}", context)
    except aiohttp.ClientConnectorCertificateError as error:
        level = Level.UNKNOWN if unread else Level.PROBLEM
        why = f"its certificate is not trusted: {error.certificate_error}"
        return _finding(level, about, f"{why}{unread}", "Name a ConfigMap with the CA (ca.crt) as caConfigMap.")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        said = f"no answer from here: {text_of(error)}"
        return _finding(Level.WARNING, about, said, _reach(host))
    if status == 404 and code in ("NoSuchBucket", ""):
        return _finding(
            Level.PROBLEM, about, "it answers, and has no such bucket", f"Create the bucket {bucket}, or correct the URI."
        )
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed") or status in (301, 307):
        return _finding(Level.WARNING, about, "the bucket is in another region", "Set region.")
    if status >= 500:
        return _finding(Level.WARNING, about, f"it answers {status} {code}".rstrip(), "Is the store well?")
    return _finding(
        Level.OK, about, f"it answers ({status} {code}".rstrip() + "); credentials are the Jobs' own and were not tried"
    )


def _reach(host: str) -> str:
    name = urlsplit(host).hostname or ""
    if name.endswith((".svc", ".cluster.local")) or "." not in name.strip("[]"):
        return "A name of the cluster's own: run diagnose in a pod to ask from there."
    return "Jobs may reach what this machine does not: look at DNS, at proxies and at NetworkPolicies."


async def _trust(api: Api, place: Place) -> tuple[ssl.SSLContext, str]:
    """Whom to trust, and what to say where that could not be read."""
    context = ssl.create_default_context()
    if place.ca_config_map is None:
        return context, ""
    name = f"ConfigMap {place.namespace}/{place.ca_config_map}"
    try:
        found = await api.get(KINDS["ConfigMap"], place.namespace, place.ca_config_map)
    except ApiError as error:
        if error.code != 403:
            raise
        return context, f" ({name}, which Jobs trust, may not be read by this user)"
    if found is None:
        raise ValueError("there is no such ConfigMap")
    context.load_verify_locations(cadata="\n".join((found.get("data") or {}).values()))
    return context, ""


async def _ask(url: str, context: ssl.SSLContext) -> tuple[int, str]:
    """Status, and the store's own word for an error. No credentials are shown, and no redirect is followed."""
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session,
        session.get(url, ssl=context, allow_redirects=False, params={"max-keys": "0"}) as answer,
    ):
        body = await answer.content.read(4096)
        code = re.search(rb"<Code>([A-Za-z]{1,64})</Code>", body)
        return answer.status, code[1].decode() if code else ""


def _finding(level: Level, about: str, message: str, hint: str = "") -> Finding:
    return Finding(check=CHECK, level=level, about=about, message=message, hint=hint)
