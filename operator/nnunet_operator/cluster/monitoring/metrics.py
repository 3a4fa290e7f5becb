"""Prometheus metrics of the operator."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

registry = CollectorRegistry()
ProcessCollector(registry=registry)

reconcile_seconds = Histogram(
    "nnunet_operator_reconcile_seconds",
    "Time of one reconciliation with its writes.",
    ["kind"],
    registry=registry,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
errors = Counter(
    "nnunet_operator_errors_total",
    "Reconciliations that failed and are tried again, by cause.",
    ["kind", "cause"],
    registry=registry,
)
queue_depth = Gauge("nnunet_operator_queue_depth", "Objects that wait for a worker.", registry=registry)
queue_oldest = Gauge(
    "nnunet_operator_queue_oldest_seconds", "Time that the object at the head of the queue has been waiting.", registry=registry
)
queue_seconds = Histogram(
    "nnunet_operator_queue_seconds",
    "Time that objects waited for a worker.",
    registry=registry,
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
objects = Gauge(
    "nnunet_operator_objects",
    "Objects by the reason of their Ready condition; Other: none of ours, such as a plug-in's.",
    ["kind", "ready", "reason"],
    registry=registry,
)
api_requests = Counter(
    "nnunet_operator_api_requests_total",
    "Requests to the API server; code is the answer's, or none.",
    ["verb", "resource", "code"],
    registry=registry,
)
stalled = Gauge(
    "nnunet_operator_objects_stalled",
    "Objects that will not go on by themselves, by the reason of their Ready condition; Other: none of ours.",
    ["kind", "namespace", "reason"],
    registry=registry,
)
status_writes = Counter("nnunet_operator_status_writes_total", "Status writes.", ["kind"], registry=registry)
conflicts = Counter(
    "nnunet_operator_conflicts_total",
    "Status writes that the API server refused (409) because of a newer version.",
    ["kind"],
    registry=registry,
)
ghosts = Counter("nnunet_operator_ghosts_total", "Objects whose deletion no watch told of.", ["kind"], registry=registry)
watch_behind = Gauge("nnunet_operator_watch_behind", "1 while the watch of a kind does not keep up.", ["kind"], registry=registry)
leading = Gauge("nnunet_operator_leading", "1 while this replica leads.", registry=registry)
progress_requests = Counter(
    "nnunet_operator_progress_requests_total", "Questions to running pods, by outcome.", ["outcome"], registry=registry
)


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def count_request(method: str, url: str, code: int | None) -> None:
    """Count a request to the API server.

    Args:
        method: of HTTP.
        url: with its query, with or without the server's address.
        code: of the answer; None: there was none.
    """
    _counter(*verb_and_resource(method, url), code).inc()


@cache
def _counter(verb: str, resource: str, code: int | None) -> Counter:
    return api_requests.labels(verb, resource, str(code) if code is not None else "none")


def verb_and_resource(method: str, url: str) -> tuple[str, str]:
    """What a request does, in the API server's own words: `list`, `jobs`; `patch`, `plans/status`; `get`, `` (no resource)."""
    address, _, query = url.partition("?")
    path = address.partition("://")[2].split("/")[1:] if "://" in address else address.strip("/").split("/")
    below = path[2:] if path[0] == "api" else path[3:] if path[0] == "apis" else []
    if below[:1] == ["namespaces"] and len(below) > 2:
        below = below[2:]
    resource, name, sub = (*below, "", "", "")[:3]
    if method != "GET":
        verb = _VERBS.get(method, method.lower())
    elif "watch=true" in query:
        verb = "watch"
    else:
        verb = "list" if resource and not name else "get"
    return verb, f"{resource}/{sub}" if sub else resource
