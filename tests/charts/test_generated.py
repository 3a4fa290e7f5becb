"""What is written from the chart is current, and kustomize and the API server take it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.apiclient import APPLY, Manifest
from support.controlplane import ROOT, ControlPlane
from support.third_party import chart
from support.third_party.kubectl import kubectl

BASE = ("kustomization.yaml", "crds", "deploy")
EXAMPLE = ROOT / "examples" / "kustomize" / "kustomization.yaml"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "charts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_values_is_current(generate: ModuleType) -> None:
    text = generate.README.read_text()
    assert text == generate.readme(text), "run: make chart"
    for name in yaml.safe_load((chart.CHART / "values.yaml").read_text()):
        assert f"`{name}" in text, name


def test_the_manifests_for_kustomize_are_current(generate: ModuleType) -> None:
    assert generate.MANIFESTS.read_text() == generate.manifests(), "run: make chart"


def built(folder: Path) -> list[Manifest]:
    return [m for m in yaml.load_all(kubectl("kustomize", str(folder)).stdout, Loader=chart.YAML) if m]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base as another repository sees it."""
    folder = tmp_path / "base"
    folder.mkdir()
    for name in BASE:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    return folder


def test_the_base_is_all_that_the_chart_makes(base: Path) -> None:
    def listed(manifests: list[Manifest]) -> set[tuple[str, str, str]]:
        return {(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]) for m in manifests}

    found = built(base)
    assert listed(found) - listed(chart.render({}, with_crds=True)) == {("Namespace", "", "nnunet-system")}
    assert listed(chart.render({}, with_crds=True)) <= listed(found)
    ours, charts = (chart.one(manifests, "Deployment") for manifests in (found, chart.render({})))
    assert ours["spec"]["template"]["spec"] == charts["spec"]["template"]["spec"]


@pytest.mark.controlplane
def test_the_example_of_an_overlay_builds_and_the_api_server_takes_it(base: Path, control_plane: ControlPlane) -> None:
    overlay = base.parent / "overlay"
    overlay.mkdir()
    text = EXAMPLE.read_text()
    (remote,) = yaml.safe_load(text)["resources"]
    (overlay / EXAMPLE.name).write_text(text.replace(remote, "../base"))
    found = built(overlay)
    assert {m["metadata"].get("namespace") for m in found} == {None, "imaging-system"}
    assert chart.one(found, "Namespace")["metadata"]["name"] == "imaging-system"
    for binding in (m for m in found if m["kind"].endswith("RoleBinding")):
        assert [subject["namespace"] for subject in binding["subjects"]] == ["imaging-system"]
    inside, environment = chart.container(found), chart.environment(found)
    assert inside["image"] == "registry.example.org/nnunet-operator:0.2.0"
    assert environment["NNUNET_TRAINER_IMAGE"] == "registry.example.org/nnunet-trainer:0.2.0"
    assert environment["NNUNET_STORAGE_URI"] == "s3://medical/nnunet"
    assert json.loads(environment["NNUNET_TRAINER_RESOURCES"])
    api = control_plane.admin
    api.apply(chart.one(found, "Namespace"))
    for manifest in found:
        path = f"{api._path_of(manifest)}?fieldManager=kustomize&force=true&dryRun=All&fieldValidation=Strict"
        assert api.request("PATCH", path, manifest, content_type=APPLY)["kind"] == manifest["kind"]
    control_plane.delete_namespace("imaging-system")
