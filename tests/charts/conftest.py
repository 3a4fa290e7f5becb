"""A control plane for the chart alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from nnunet_operator.api.schema import crds
from support.controlplane import ControlPlane


@pytest.fixture(scope="session")
def monitoring_crds(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The Prometheus operator's kinds."""
    folder = tmp_path_factory.mktemp("monitoring")
    shutil.copy(Path(__file__).with_name("monitoring-crds.yaml"), folder)
    control_plane.install_crds(folder)


@pytest.fixture
def empty_control_plane(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane that does not know our kinds, only one of somebody else's.

    Parametrized indirectly, with further arguments of `ControlPlane`.
    """
    other = crds.crd("Dataset")
    other["metadata"]["name"], other["spec"]["group"] = "datasets.example.org", "example.org"
    other["spec"]["names"] = {"kind": "Dataset", "plural": "datasets"}
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "other.yaml").write_text(crds.dump(other))
    plane = ControlPlane(tmp_path / "plane", **getattr(request, "param", {})).start(crds=tmp_path / "crds")
    yield plane
    plane.stop()
