"""What the Dockerfiles copy is enough to run, with the packages of its own extra alone."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.containers.images import DOCKERFILES, instructions
from support.containers.images import last_stage as image
from support.controlplane import ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys
package, *blocked = sys.argv[1:]
sys.modules.update(dict.fromkeys(blocked))  # None: an import of it fails
found = importlib.import_module(package)
assert found.__file__.startswith({place!r}), found.__file__
names = [module.name for module in pkgutil.walk_packages(found.__path__, package + ".") if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def copied(dockerfile: Path, place: Path) -> None:
    """Lay out below `place` what the stage `code` copies."""
    stage = ""
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            stage = rest.rpartition(" AS ")[2]
        if word == "COPY" and stage == "code":
            *sources, target = rest.split()
            for source in sources:
                to = place / target.lstrip("/")
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, to, dirs_exist_ok=True)
                else:
                    to = to / Path(source).name if target.endswith("/") else to
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, to)


def extra(*names: str) -> set[str]:
    """The distributions that extras name, not what these bring along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [line for name in names for line in project["optional-dependencies"][name]] + project["dependencies"]
    return {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-") for line in wanted}


def modules(distributions: set[str]) -> set[str]:
    """The top-level modules that these distributions install."""
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} & distributions and module.isidentifier()
    }


@pytest.mark.parametrize(("package", "mine", "other"), [("operator", "operator", "trainer"), ("trainer", "trainer", "operator")])
def test_every_module_imports_with_its_own_extra_alone(package: str, mine: str, other: str, tmp_path: Path) -> None:
    copied(DOCKERFILES[package], tmp_path)
    foreign = sorted(modules(extra(other, "dev")) - modules(extra(mine)))
    assert "nnunetv2" in foreign
    assert ("torch" if package == "operator" else "kopf") in foreign
    path = f"{tmp_path / 'operator'}:{tmp_path / 'trainer_image'}"
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(place=str(tmp_path)), f"nnunet_{package}", *foreign],
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 10


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_nobody_and_ends_with_our_code(name: str) -> None:
    last_stage = image(DOCKERFILES[name])
    users = [rest for word, rest in last_stage if word == "USER"]
    assert users == ["65532:65532"]
    layers = [rest for word, rest in last_stage if word in ("COPY", "RUN", "ADD")]
    assert "--no-deps /src" in layers[-1]
    assert ("ENTRYPOINT", f'["nnunet-{name}"]') in last_stage


def test_the_operators_image_copies_the_contract_alone() -> None:
    sources = [rest for word, rest in instructions(DOCKERFILES["operator"]) if word == "COPY" and "nnunet_trainer" in rest]
    assert all(re.search(r"nnunet_trainer/(contract |__init__\.py)", rest) for rest in sources), sources


def test_what_is_not_python_is_installed_too() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, folder in setuptools["package-dir"].items():
        beside = [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix != ".py" and "__pycache__" not in p.parts]
        assert {p.relative_to(ROOT / folder).as_posix() for p in beside} == set(setuptools["package-data"].get(package, []))
