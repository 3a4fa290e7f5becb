"""Pods as processes: mounts, variables, start, grace, and the status that a kubelet writes. It knows no store and no API server."""
