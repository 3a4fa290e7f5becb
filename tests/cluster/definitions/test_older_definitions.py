"""Objects that were stored under the previous version's definitions are written to under this version's."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from nnunet_operator.api.resources import TrainingRun, parse
from nnunet_operator.api.schema import crds
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane

from ..conftest import API_VERSION, training_run

pytestmark = pytest.mark.controlplane


def older() -> Manifest:
    """TrainingRuns as 0.1 defined them: minutes are a number, folds and quantities are strings."""
    definition = copy.deepcopy(crds.crd("TrainingRun"))
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    checkpoint = spec["properties"]["checkpoint"]
    checkpoint["properties"]["everyMinutes"] = {"type": "number", "default": 10}
    spec["properties"]["folds"]["items"] = {"type": "string", "maxLength": 3}
    spec["x-kubernetes-validations"] = [rule for rule in spec["x-kubernetes-validations"] if "folds" not in rule["rule"]]
    return definition


@pytest.fixture
def api(control_plane: ControlPlane, namespace: str) -> Iterator[ApiClient]:
    """The administrator; the previous version's definition is served when the test begins."""
    admin, probe = control_plane.admin, training_run(namespace, "probe", checkpoint={"everyMinutes": 0.25})
    admin.apply(older())
    wait_until(lambda: _accepted(admin, probe), what="the older definition to be served")
    admin.delete(probe)
    yield admin
    control_plane.install_crds()


def _accepted(admin: ApiClient, manifest: Manifest) -> bool:
    try:
        admin.apply(manifest)
    except ApiError:
        return False
    return True


def test_a_number_with_a_fraction_is_read_and_kept(api: ApiClient, control_plane: ControlPlane, namespace: str) -> None:
    manifest = training_run(namespace, "half", folds=["0"], checkpoint={"everyMinutes": 0.5})
    api.apply(manifest)
    control_plane.install_crds()
    whole = training_run(namespace, "whole", folds=[0])
    wait_until(lambda: _accepted(api, whole), what="this version's definition to be served")
    assert not _accepted(api, training_run(namespace, "new", checkpoint={"everyMinutes": 0.5})), "a new one is written in quotes"
    api.apply(manifest)  # the same again
    stored = api.patch(manifest, {"spec": {"suspend": True, "folds": ["0", 1]}})
    run = parse(stored)
    assert isinstance(run, TrainingRun)
    assert (run.spec.checkpoint.every_minutes, run.spec.folds) == (0.5, ["0", "1"])
    api.patch(manifest, {"status": {"epoch": "1/2"}}, sub="status")
    found = api.get(API_VERSION, "TrainingRun", namespace, "half")
    assert found is not None
    assert found["status"]["epoch"] == "1/2"
    assert api.patch(manifest, {"spec": {"checkpoint": {"everyMinutes": "0.5"}}})["spec"]["checkpoint"]["everyMinutes"] == "0.5"
