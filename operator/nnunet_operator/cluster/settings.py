"""What whoever installs the operator decides: environment variables (the chart's), overridden by flags."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import catalogue, uri
from nnunet_trainer.contract.catalogue import Catalogue
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from pydantic import ValidationError

from ..api.base import SpecModel
from ..api.fields.uris import StorageSpec
from ..api.template import ResourcesSpec
from ..reconcile.view import Settings

TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
NAMESPACE_FILE = TOKEN.with_name("namespace")


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Settings of `nnunet-operator run`."""

    reconcile: Settings = field(default_factory=Settings)
    namespaces: tuple[str, ...] = ()  # empty: all
    kubeconfig: Path | None = None  # None: the service account in a cluster, else the default kubeconfig
    context: str | None = None
    in_cluster: bool = False
    leader_election: bool = False
    lease_namespace: str = "default"
    lease_name: str = "nnunet-operator"
    identity: str = ""
    http: tuple[str, int] | None = None  # probes and metrics
    workers: int = 8
    relist_seconds: float = 180
    progress_seconds: tuple[float, float] = (15, 60)  # the shortest and the longest interval
    workload_seconds: float | None = None  # between two readings of Kueue's Workloads; None: they are not read
    json_logs: bool = True
    verbose: bool = False


def have_a_home() -> None:
    """The Kubernetes client asks for the home folder as it is imported, and fails for a user without a name and $HOME."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"


def load(arguments: Namespace, environment: Mapping[str, str] = os.environ) -> ClusterSettings:
    """Settings from flags and environment.

    Raises:
        BadUsage: a value that cannot be read; the message names the variable or flag.
    """
    in_cluster = arguments.kubeconfig is None and "KUBERNETES_SERVICE_HOST" in environment and TOKEN.exists()
    election = arguments.leader_election
    own_namespace = environment.get("POD_NAMESPACE") or _file(NAMESPACE_FILE) or "default"
    namespaces = arguments.namespace or [part.strip() for part in environment.get("NNUNET_NAMESPACES", "").split(",")]
    http = arguments.http or environment.get("NNUNET_HTTP") or ("0.0.0.0:8080" if in_cluster else "")
    progress = _number(environment, "NNUNET_PROGRESS_SECONDS", 15, at_least=0.1)
    workloads = _number(environment, "NNUNET_KUEUE_WORKLOAD_SECONDS", 0, at_least=0)
    return ClusterSettings(
        reconcile=Settings(
            storage=_storage(environment),
            namespace_storage=_namespace_storage(environment),
            pod_resources=_resources(environment),
            catalogue=_catalogue(environment),
            gang_scheduling=arguments.gang_scheduling,
            **_pods(environment),
        ),
        namespaces=tuple(sorted({name for name in namespaces if name})),
        kubeconfig=arguments.kubeconfig,
        context=arguments.context,
        in_cluster=in_cluster,
        leader_election=in_cluster if election is None else election,
        lease_namespace=arguments.lease_namespace or own_namespace,
        lease_name=environment.get("NNUNET_LEASE_NAME") or "nnunet-operator",
        identity=environment.get("POD_NAME") or f"{os.uname().nodename}-{os.getpid()}",
        http=_address(http) if http else None,
        workers=arguments.workers,
        relist_seconds=_number(environment, "NNUNET_RELIST_SECONDS", 180, at_least=1),
        progress_seconds=(progress, max(60, progress)),
        workload_seconds=workloads or None,
        json_logs=arguments.log_format == "json" or (arguments.log_format == "auto" and in_cluster),
        verbose=arguments.verbose,
    )


def _storage(environment: Mapping[str, str]) -> StorageSpec | None:
    prefix = "NNUNET_STORAGE_"
    names = {
        "uri": "URI",
        "endpoint": "ENDPOINT",
        "region": "REGION",
        "secretName": "SECRET",
        "pathStyle": "PATH_STYLE",
        "caConfigMap": "CA_CONFIG_MAP",
    }
    given = {field: environment[prefix + name] for field, name in names.items() if environment.get(prefix + name)}
    if not given:
        return None
    if "uri" not in given:
        set_ones = ", ".join(prefix + names[name] for name in given)
        raise BadUsage(
            "InvalidSettings", f"{set_ones} is set, but {prefix}URI is not: say where artifacts go (s3://bucket/prefix)."
        )
    return _place(given, {field: prefix + name for field, name in names.items()})


NAMESPACE_STORAGE = "NNUNET_STORAGE_NAMESPACES"
RESOURCES = "NNUNET_TRAINER_RESOURCES"


def _namespace_storage(environment: Mapping[str, str]) -> dict[str, StorageSpec]:
    found = {}
    for namespace, given in _json(environment, NAMESPACE_STORAGE).items():
        path = f"{NAMESPACE_STORAGE}.{namespace}"
        if not isinstance(given, dict) or not isinstance(given.get("uri"), str):
            raise BadUsage("InvalidSettings", f"{path}: an object with a uri was expected, as in spec.storage, found {given!r}.")
        names = {alias: f"{path}.{alias}" for alias in _aliases(StorageSpec)}
        _only(given, names, path)
        found[namespace] = _place(given, names)
    return found


def _place(given: dict[str, Any], names: Mapping[str, str]) -> StorageSpec:
    """A storage of these fields; `names`: what each is called in messages."""
    if not given["uri"].startswith(("s3://", "pvc://")):
        message = f"{names['uri']} is {given['uri']!r}; s3://bucket/prefix or pvc://claim/path was expected."
        raise BadUsage("InvalidSettings", message)
    try:
        uri.parse(given["uri"])
    except BadConfiguration as error:
        raise BadUsage("InvalidSettings", f"{names['uri']}: {error.message}", hint=error.hint) from error
    try:
        return StorageSpec.model_validate(given)
    except ValidationError as error:
        findings = [f"{names.get(str(e['loc'][0]), e['loc'][0])}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise BadUsage("InvalidSettings", "The default storage cannot be read.", findings=findings) from error


def _resources(environment: Mapping[str, str]) -> ResourcesSpec | None:
    if not (given := _json(environment, RESOURCES)):
        return None
    _only(given, _aliases(ResourcesSpec), RESOURCES)
    try:
        return ResourcesSpec.model_validate(given)
    except ValidationError as error:
        findings = [f"{'.'.join(map(str, (RESOURCES, *e['loc'])))}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise BadUsage("InvalidSettings", "The default resources of pods cannot be read.", findings=findings) from error


def _aliases(model: type[SpecModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _only(given: dict[str, Any], known: Collection[str], path: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise BadUsage("InvalidSettings", f"{path}.{unknown[0]} is unknown; {', '.join(known)} was expected.")


def _json(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    text = environment.get(name) or "{}"
    try:
        found = json.loads(text, parse_int=str, parse_float=str)  # YAML's `cpu: 2` is a number
    except ValueError as error:
        raise BadUsage("InvalidSettings", f"{name} is no JSON: {error}; found {text!r}.") from error
    if not isinstance(found, dict):
        raise BadUsage("InvalidSettings", f"{name} is {text!r}; a JSON object was expected.")
    return found


def _catalogue(environment: Mapping[str, str]) -> Catalogue:
    path = environment.get("NNUNET_CATALOGUE")
    return catalogue.load(Path(path)) if path else catalogue.packaged()


def _pods(environment: Mapping[str, str]) -> dict[str, Any]:
    names = {
        "trainer_image": "NNUNET_TRAINER_IMAGE",
        "image_pull_policy": "NNUNET_IMAGE_PULL_POLICY",
        "pod_priority_class": "NNUNET_PRIORITY_CLASS",
    }
    return {field: environment[name] for field, name in names.items() if environment.get(name)}


def _number(environment: Mapping[str, str], name: str, default: float, *, at_least: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number >= at_least:
        raise BadUsage("InvalidSettings", f"{name} is {text!r}; a number of at least {at_least:g} was expected.")
    return number


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise BadUsage("InvalidSettings", f"--http (or NNUNET_HTTP) is {text!r}; HOST:PORT was expected, such as 127.0.0.1:8080.")
    return host.strip("[]") or "0.0.0.0", int(port)


def _file(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
