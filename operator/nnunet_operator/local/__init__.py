"""The same manifests and reconcilers as on a cluster, on one machine: no cluster, no containers, no root.

Rooms, each of which imports only those after it: `commands` (what people call), `session` (the reconcile loop), `machine` (node and
Job controller), `object_store` (what an API server would keep).
"""
