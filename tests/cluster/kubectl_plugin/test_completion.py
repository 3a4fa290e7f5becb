"""What may come next: for kubectl, in bash and in zsh."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from kubectl_nnunet import completion
from kubectl_nnunet.cli import COMMANDS
from support.controlplane import ControlPlane
from support.third_party.kubectl import kubectl

from ..conftest import dataset, plans, training_run

pytestmark = pytest.mark.controlplane


def complete(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    """The candidates without their descriptions, and the directive."""
    capsys.readouterr()
    assert completion.main(words) == 0
    *found, directive = capsys.readouterr().out.splitlines()
    return [line.split("\t")[0] for line in found], directive


@pytest.mark.parametrize(
    ("words", "candidates", "directive"),
    [
        ([""], list(COMMANDS), ":4"),
        (["s"], ["status", "suspend"], ":4"),
        (["nothing", ""], [], ":4"),
        (["completion", ""], ["bash", "zsh"], ":4"),
        (["completion", "z"], ["zsh"], ":4"),
        (["completion", "bash", ""], [], ":4"),
        (["logs", "run", "--f"], ["--fold", "--follow"], ":4"),
        (["fetch", "run", "--only", ""], ["checkpoints", "validation", "logs"], ":4"),
        (["fetch", "run", ""], [], ":16"),
        (["fetch", "--only", "logs", "run", ""], [], ":16"),
        (["plot", "run", "-o", ""], [], ":0"),
        (["status", "--kubeconfig", ""], [], ":0"),
        (["status", "-o", ""], ["text", "json"], ":4"),
    ],
)
def test_words_that_need_no_cluster(
    capsys: pytest.CaptureFixture[str], words: list[str], candidates: list[str], directive: str
) -> None:
    assert complete(capsys, *words) == (candidates, directive)


def test_names_of_objects_folds_contexts_and_namespaces(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    control_plane.admin.apply_all([dataset(namespace), plans(namespace), training_run(namespace, folds=["0", "3"])])
    here = ("--kubeconfig", str(kubeconfig))
    assert complete(capsys, "why", *here, "")[0] == ["dataset/brain", "plans/brain", "run", "trainingrun/run"]
    assert complete(capsys, "why", *here, "trainingrun/") == (["trainingrun/run"], ":4")
    assert complete(capsys, "plot", *here, "")[0] == ["run"]
    assert complete(capsys, "logs", "run", *here, "--fold", "")[0] == ["0", "3"]
    assert complete(capsys, "logs", *here, "run", "--fold", "")[0] == ["0", "3"]
    assert complete(capsys, "status", *here, "--context", "") == (["tests"], ":4")
    assert namespace in complete(capsys, "status", *here, "-n", "test")[0]
    assert complete(capsys, "why", *here, "-n", "nowhere", "") == ([], ":4")
    assert complete(capsys, "why", *here, "--context", "nowhere", "") == ([], ":4")
    kubeconfig.unlink()
    assert complete(capsys, "why", *here, "") == ([], ":4")


def test_kubectl_asks_for_it(programs: Path, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    said = kubectl("__complete", "nnunet", "su", kubeconfig=kubeconfig).stdout.splitlines()
    assert said[0].startswith("suspend\t")
    assert said[-1] == ":4"


def test_bash(programs: Path, kubeconfig: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "file").touch()

    lines = [["res"], ["fetch", "run", ""], ["plot", "run", "-o", "f"]]
    script = ["source <(kubectl-nnunet completion bash)"]
    for words in lines:
        script.append(f"COMP_WORDS=({shlex.join(('kubectl-nnunet', *words))}) COMP_CWORD={len(words)}")
        script.append("_kubectl_nnunet; echo ${COMPREPLY[@]}")
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        ["bash", "-uc", "\n".join(script)], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["resume", "programs results", "file"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh(programs: Path, kubeconfig: Path) -> None:
    script = (
        "compdef() {}; compadd() { shift; print -l -- $@; }; source <(kubectl-nnunet completion zsh); "
        "words=(kubectl-nnunet res); CURRENT=2; _kubectl_nnunet"
    )
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stdout.split() == ["resume"]
