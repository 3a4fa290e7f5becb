"""The scripts that both images are built with."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import kubernetes
import pytest
from support.containers.images import DOCKERFILES, instructions
from support.controlplane import ROOT

SCRIPTS = ROOT / "images"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def project(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(
        '[project]\ndependencies = ["pyyaml>=6"]\n[project.optional-dependencies]\ntrainer = ["torch>=2"]\noperator = ["kopf"]\n'
    )
    (folder / "constraints.txt").write_text(
        "# tested together\nPyYAML==6.0.3\nkopf==1.45\ntorch==2.15.0\nnvidia-nccl-cu13==2.30.7\n"
    )


@pytest.mark.parametrize(
    ("wheels", "pins"),
    [
        ([], ["PyYAML==6.0.3", "kopf==1.45", "torch==2.15.0", "nvidia-nccl-cu13==2.30.7"]),
        (["torch-2.16.0+cpu-cp311-cp311-linux_x86_64.whl"], ["PyYAML==6.0.3", "kopf==1.45", "nvidia-nccl-cu13==2.30.7", "torch @"]),
        (["nvidia_nccl_cu13-1-py3-none-any.whl"], ["PyYAML==6.0.3", "kopf==1.45", "torch==2.15.0", "nvidia-nccl-cu13 @"]),
        (["pyyaml-7-py3-none-any.whl"], ["kopf==1.45", "torch==2.15.0", "nvidia-nccl-cu13==2.30.7", "pyyaml @"]),
        (["constraints.txt"], ["PyYAML==6.0.3", "kopf==1.45", "torch==2.15.0", "nvidia-nccl-cu13==2.30.7"]),
    ],
)
def test_a_wheel_at_hand_is_taken_in_its_version(
    wheels: list[str], pins: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path)
    (tmp_path / "wheels").mkdir()
    for name in wheels:
        (tmp_path / "wheels" / name).touch()
    monkeypatch.chdir(tmp_path)
    script("requirements").main("trainer", "wheels")
    assert (tmp_path / "requirements.txt").read_text().split() == ["pyyaml>=6", "torch>=2"]
    lines = (tmp_path / "constraints.txt").read_text().splitlines()
    assert [re.sub(r"@.*", "@", line) for line in lines] == pins
    for line in lines:
        if "@" in line:
            assert line.endswith((tmp_path / "wheels" / wheels[0]).as_uri())


def test_a_bill_names_every_distribution_once_but_its_subject() -> None:
    made = script("sbom").bill("nnunet-operator")
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    subject = made["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("nnunet-operator", metadata.version("nnunet-operator"))
    python = [c for c in made["components"] if c["purl"].startswith("pkg:pypi/")]
    installed = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower() for d in metadata.distributions()}
    assert sorted(c["name"] for c in python) == sorted(installed - {"nnunet-operator"})
    assert len({c["bom-ref"] for c in made["components"]}) == len(made["components"])
    json.dumps(made)


def test_a_bill_names_the_bases_packages_that_are_installed() -> None:
    status = (
        "Package: gcc\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4:12.2.0-3\nDescription: compiler\n more\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"
    )
    (component,) = script("sbom").debian_components(status)
    assert (component["name"], component["version"]) == ("gcc", "4:12.2.0-3")
    assert component["purl"] == "pkg:deb/debian/gcc@4:12.2.0-3?arch=amd64"


@pytest.fixture(scope="module")
def stripped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stripped")
    source = Path(kubernetes.__file__).parent
    shutil.copytree(source, folder / "kubernetes", ignore=shutil.ignore_patterns("__pycache__"))
    script("strip_kubernetes").strip(folder / "kubernetes")
    return folder


def test_the_operator_imports_what_is_left_of_kubernetes(stripped: Path) -> None:
    size = sum(file.stat().st_size for file in (stripped / "kubernetes").rglob("*.py"))
    assert size < 500_000, size
    code = """
import kubernetes, nnunet_operator.cluster.application
from kubernetes.aio import client, config
print(kubernetes.__file__, client.ApiClient, client.Configuration, config.load_kube_config, config.load_incluster_config)
"""
    environment = {**os.environ, "PYTHONPATH": str(stripped), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(stripped))


def test_another_layout_of_kubernetes_is_not_stripped_blindly(tmp_path: Path) -> None:
    (tmp_path / "aio").mkdir()
    (tmp_path / "__init__.py").write_text('__version__ = "99"\n')
    with pytest.raises(FileNotFoundError, match="laid out differently"):
        script("strip_kubernetes").strip(tmp_path)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_both_stages_have_the_base_that_is_asked_for(name: str) -> None:
    bases = [rest.split()[0] for word, rest in instructions(DOCKERFILES[name]) if word == "FROM"]
    assert bases == ["${BASE}", "scratch", "${BASE}"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_a_dockerfile_copies_is_not_ignored(name: str) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in instructions(DOCKERFILES[name]):
        if word == "COPY" and not rest.startswith(("--from", "$")):
            for source in rest.split()[:-1]:
                assert source.split("/")[0] in kept, source
                assert (ROOT / source).exists(), source
