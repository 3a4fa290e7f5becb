"""Prometheus metrics of the operator."""

from __future__ import annotations

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
objects = Gauge(
    "nnunet_operator_objects", "Objects by the reason of their Ready condition.", ["kind", "ready", "reason"], registry=registry
)
api_requests = Counter("nnunet_operator_api_requests_total", "Requests to the API server.", ["method", "code"], registry=registry)
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
