"""Whether NetworkPolicies let one pod reach another, as networking.k8s.io/v1 defines it, where no network enforces them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .apiclient import Manifest

NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Endpoint:
    """Who speaks or is spoken to: a pod, or an address outside of the cluster (`namespace` is empty)."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)  # of its containers, by name
    address: str = ""

    @classmethod
    def of_pod(cls, namespace: str, template: Manifest, **more: str) -> Endpoint:
        """The pod that a template makes. `more`: labels that a controller adds."""
        ports = {
            port["name"]: port["containerPort"]
            for container in template["spec"]["containers"]
            for port in container.get("ports", ())
        }
        return cls(namespace, {**template["metadata"]["labels"], **more}, ports)


def allowed(policies: Sequence[Manifest], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is let out of the source and into the target."""
    return _one_way(policies, "Egress", source, target, target, port, protocol) and _one_way(
        policies, "Ingress", target, source, target, port, protocol
    )


def _one_way(
    policies: Sequence[Manifest], direction: str, own: Endpoint, other: Endpoint, target: Endpoint, port: int, protocol: str
) -> bool:
    concerned = [
        policy["spec"]
        for policy in policies
        if own.namespace
        and policy["metadata"]["namespace"] == own.namespace
        and direction in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], own.labels)
    ]
    if not concerned:
        return True
    way, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        (not rule.get(peers) or any(_is_peer(peer, other, own.namespace) for peer in rule[peers]))
        and (not rule.get("ports") or any(_is_port(one, target, port, protocol) for one in rule["ports"]))
        for spec in concerned
        for rule in spec.get(way) or ()
    )


def _is_peer(peer: Manifest, other: Endpoint, namespace: str) -> bool:
    if "ipBlock" in peer:
        return bool(other.address) and _is_in(peer["ipBlock"], ipaddress.ip_address(other.address))
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        in_namespace = matches(peer["namespaceSelector"], {NAMESPACE_NAME: other.namespace})
    else:
        in_namespace = other.namespace == namespace
    return in_namespace and matches(peer.get("podSelector") or {}, other.labels)


def _is_in(block: Manifest, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inside, *excepted = (address in ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", ())))
    return inside and not any(excepted)


def _is_port(allowed_port: Manifest, target: Endpoint, port: int, protocol: str) -> bool:
    number: Any = allowed_port["port"]
    if isinstance(number, str):
        number = target.ports.get(number)
    return bool(number == port and allowed_port.get("protocol", "TCP") == protocol)


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a LabelSelector selects these labels.

    Raises:
        NotImplementedError: an operator that this does not know.
    """
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    for term in selector.get("matchExpressions") or ():
        if term["operator"] == "Exists":
            held = term["key"] in labels
        elif term["operator"] == "In":
            held = labels.get(term["key"]) in term["values"]
        else:
            raise NotImplementedError(f"operator {term['operator']} of a label selector")
        if not held:
            return False
    return True
