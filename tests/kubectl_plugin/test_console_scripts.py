"""The plug-in is installed as kubectl looks for it, with what it needs."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from kubectl_nnunet.cli import COMMANDS, main
from kubectl_nnunet.commands.completion import BASH, ZSH
from nnunet_operator.inspection import remedies

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROVIDED = {"yarl": "aiohttp", "botocore": "boto3", "pydantic_core": "pydantic"}
"""Modules that come with another distribution."""


@pytest.mark.parametrize("name", ["kubectl-nnunet", "kubectl_complete-nnunet"])
def test_the_programs_are_named_as_kubectl_looks_for_them(name: str) -> None:
    module, _, function = PROJECT["project"]["scripts"][name].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert name in BASH
    assert name in ZSH


def test_what_is_read_beside_the_code_is_installed() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["nnunet_operator"]
    file = remedies.FILE.relative_to(ROOT / "operator" / "nnunet_operator").as_posix()
    assert any(fnmatch(file, pattern) for pattern in patterns)


def _imports(module: str, seen: set[str]) -> set[str]:
    """Distributions' modules that a module of ours imports at its top, and those of ours that it imports do."""
    if module in seen:
        return set()
    seen.add(module)
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    found: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            package = module if spec.submodule_search_locations else module.rpartition(".")[0]
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names if _is_module(f"{base}.{alias.name}"))]
        for name in names:
            top = name.split(".")[0]
            if top in ("kubectl_nnunet", "nnunet_operator", "nnunet_trainer"):
                found |= _imports(name, seen)
            elif top not in sys.stdlib_module_names:
                found.add(top)
    return found


def _is_module(name: str) -> bool:
    if name.split(".")[0] not in ("kubectl_nnunet", "nnunet_operator", "nnunet_trainer"):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_the_extra_installs_all_that_is_imported() -> None:
    package = ROOT / "kubectl_plugin"
    files = [file for file in package.rglob("*.py") if file.stem not in ("__init__", "__main__")]
    lazily = ["nnunet_operator.cluster.api.client", "nnunet_trainer.artifacts.s3"]
    seen: set[str] = set()
    needed: set[str] = set()
    for module in [*(file.relative_to(package).with_suffix("").as_posix().replace("/", ".") for file in files), *lazily]:
        needed |= _imports(module, seen)
    extra = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["kubectl"]]
    given = {re.split(r"[^A-Za-z0-9_-]", line)[0].replace("-", "_") for line in extra} | {"yaml"}
    assert {"kubernetes", "boto3"} <= needed
    assert {PROVIDED.get(name, name) for name in needed} <= given


@pytest.mark.parametrize("words", [[], ["nothing"], ["status", "--nothing"], ["fetch"], ["logs", "a", "--attempt", "x"]])
def test_wrong_words_are_told_in_argparse_s_way(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 64
    assert capsys.readouterr().err.startswith("usage: kubectl nnunet")


@pytest.mark.parametrize("word", [*COMMANDS])
def test_each_word_has_a_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: kubectl nnunet {word}")
    if word != "completion":
        assert "--context" in said
