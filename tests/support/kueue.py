"""Kueue's own CRDs on the test control plane, without Kueue: whoever plays it writes the Workloads."""

from __future__ import annotations

from pathlib import Path

import yaml

from .apiclient import wait_until
from .controlplane import BUILD, ROOT, ControlPlane, assets, established


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


def _folder() -> Path:
    folder = next(iter(sorted(assets().glob("kueue-v*"))), None)
    if folder is None:
        raise FileNotFoundError(f"There are no CRDs of Kueue in {assets()}. Fetch them once: {BUILD.relative_to(ROOT)}")
    return folder
