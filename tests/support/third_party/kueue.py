"""Kueue's own CRDs on the test control plane, without Kueue: whoever plays it writes the Workloads."""

from __future__ import annotations

from pathlib import Path

import yaml

from ..apiclient import ApiClient, Manifest, wait_until
from ..controlplane import BUILD, ROOT, ControlPlane, assets, established


def install_crds(plane: ControlPlane) -> None:
    """Apply them, of each the newest version alone, to be quick."""
    api, names = plane.admin, []
    for file in sorted(_folder().glob("*.yaml")):
        crd = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # a megabyte and a half
        crd["spec"]["versions"] = [version for version in crd["spec"]["versions"] if version["storage"]]
        names.append(crd["metadata"]["name"])
        api.apply(crd)
    for name in names:
        wait_until(lambda name=name: established(api, name), what=f"CRD {name} to be established")  # type: ignore[misc]


def workload(api: ApiClient, job: Manifest, message: str, *, controller: bool = True) -> Manifest:
    """A Workload as Kueue makes it of a Job that finds no quota."""
    meta, template = job["metadata"], job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": controller}
    pods = {"name": "main", "count": 1, "template": {"spec": template["spec"]}}
    made = api.create(
        {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "kind": "Workload",
            "metadata": {
                "name": f"job-{meta['name']}-{'abcde' if controller else 'zzzzz'}",
                "namespace": meta["namespace"],
                "labels": {"kueue.x-k8s.io/job-uid": meta["uid"]},
                "ownerReferences": [owner],
            },
            "spec": {"active": True, "queueName": meta["labels"]["kueue.x-k8s.io/queue-name"], "podSets": [pods]},
        }
    )
    say(api, made, message)
    return made


def say(api: ApiClient, made: Manifest, message: str) -> None:
    """What Kueue's scheduler says of a Workload."""
    at = "2026-01-01T00:00:00Z"
    pending = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": message, "lastTransitionTime": at}
    api.patch(made, {"status": {"conditions": [pending]}}, sub="status")


def _folder() -> Path:
    folder = next(iter(sorted(assets().glob("kueue-v*"))), None)
    if folder is None:
        raise FileNotFoundError(f"There are no CRDs of Kueue in {assets()}. Fetch them once: {BUILD.relative_to(ROOT)}")
    return folder
