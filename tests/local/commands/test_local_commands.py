"""`nnunet-operator local …` as people call it, in processes of its own, with a pretended trainer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_operator.cli import main
from nnunet_operator.local.machine.kubelet import shim
from nnunet_operator.local.object_store.store import Store
from support.apiclient import wait_until
from support.pretend import trainer_program

Manifest = dict[str, Any]

CHAIN = """
apiVersion: nnunet.dev/v1alpha1
kind: TrainingRun
metadata: {name: run}
spec: {plansRef: {name: plans}, folds: ["0"], workers: {gpusPerNode: 0}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Plans
metadata: {name: plans}
spec: {datasetRef: {name: data}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: data}
spec: {name: Dataset004_Hippocampus, source: {uri: ./raw}}
"""


class Shell:
    """One user in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "nnunet-store"
        (folder / "manifests").mkdir()
        (folder / "manifests" / "chain.yaml").write_text(CHAIN)
        trainer = trainer_program(folder)
        self.environment = {**os.environ, "NNUNET_TRAINER": str(trainer), "COLUMNS": "200"}
        self.begun: list[subprocess.Popen[str]] = []

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nnunet_operator.cli", "local", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)
        self.begun.append(process)
        return process

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Call it, and return what it prints on both."""
        process = self.begin(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return out + err

    def quick(self, *arguments: str, code: int = 0) -> str:
        """The same without a process of its own, for what needs none: half a second less each."""
        said = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert main(["local", *arguments]) == code, said.getvalue()
        return said.getvalue()

    def get(self, kind: str, name: str) -> Manifest:
        found = Store(self.root).get(kind, "default", name)
        assert found is not None
        return found

    def reason(self, kind: str, name: str) -> str:
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((c["reason"] for c in conditions if c["type"] == "Ready"), "")

    def hold(self) -> None:
        self.root.mkdir(exist_ok=True)
        Store(self.root)
        (self.root / "hold").touch()

    def training(self, attempt: int = 0) -> int:
        """Wait until the training of an attempt runs; its pid."""
        started = self.root / f"started-run-{attempt}"
        return int(wait_until(lambda: started.exists() and started.read_text(), what=f"attempt {attempt}").split()[0])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    for process in shell.begun:
        if process.poll() is None:
            process.kill()
            process.wait()
    (shell.root / "hold").unlink(missing_ok=True)
    if shell.root.exists():
        for pid in [int(f.read_text().split()[0]) for f in shell.root.glob("started-*")]:
            if shim.start_time(pid):
                os.kill(pid, signal.SIGTERM)


def test_a_chain_from_manifests_to_results(shell: Shell) -> None:
    said = shell("apply", "-f", "manifests")
    for line in ("dataset.nnunet.dev/data created", "plans/plans: Preprocessed", "trainingrun/run: Completed"):
        assert line in said
    assert "run   3d_fullres   0" in said.replace("RUN", "run")
    assert "0.8100" in said
    assert "nnunet-trainer predict --model" in said
    raw = shell.get("Dataset", "data")["spec"]["source"]["uri"]
    assert raw == f"file://{shell.folder}/manifests/raw", "a path counts from the manifest's folder"

    again = shell("apply", "-f", "manifests")
    assert again.count("unchanged") == 3
    assert "All of it is done already: 3 objects are Ready." in again
    assert "0.8100" in again

    table = shell.quick("get", "nnrun")
    assert table.split("\n")[0].split() == ["NAME", "CONFIG", "FOLDS", "EPOCH", "DICE", "ETA", "READY", "REASON", "AGE"]
    assert table.split("\n")[1].split()[:3] == ["run", "3d_fullres", "1/1"]
    everything = shell.quick("get")
    assert "dataset.nnunet.dev/data" in everything
    assert "trainingrun.nnunet.dev/run" in everything
    assert yaml.safe_load(shell.quick("get", "plans/plans", "-o", "yaml"))["spec"]["datasetRef"] == {"name": "data"}
    listed = json.loads(shell.quick("get", "-o", "json"))
    assert [item["kind"] for item in listed["items"]] == ["Dataset", "Plans", "TrainingRun"]
    assert "managedFields" not in json.dumps(listed)
    described = shell.quick("describe", "trainingrun", "run")
    assert "Conditions:" in described
    assert "Completed" in described
    assert "train begins" in shell.quick("logs", "trainingrun/run")
    tree = [line.split()[:3] for line in shell.quick("status").splitlines()]
    assert [line[:2] for line in tree[1:3]] == [["dataset/data", "Ready"], ["└─", "plans/plans"]]
    assert tree[3][1:] == ["trainingrun/run", "Ready"]
    assert tree[4][1:] == ["fold", "0"]
    assert "trainingrun/run: is Ready (Completed" in shell.quick("why", "run")
    assert "is Ready: nothing of it runs" in shell.quick("suspend", "trainingrun/run", code=64)
    assert "has finished no epoch" in shell.quick("plot", "run", code=64)
    log = next(shell.root.glob("logs/*/TrainingRun/run/*-f0-*.log"))
    log.write_text(
        '{"step":"train","epoch":1,"epochs":2,"trainLoss":0.5}\n{"step":"train","epoch":2,"epochs":2,"trainLoss":0.25}\n'
    )
    assert "train 0.25" in shell.quick("plot", "run", "--fold", "0")

    assert "trainingrun.nnunet.dev/run deleted" in shell("delete", "trainingrun", "run")
    assert "There is no TrainingRun named 'run'" in shell.quick("get", "trainingrun", "run", code=64)


def test_a_failure_of_the_data_ends_with_65_and_says_which(shell: Shell) -> None:
    shell.hold()
    (shell.root / "fail-dataset").write_text("65")
    said = shell("apply", "-f", "manifests", code=65)
    assert "dataset/data: InvalidCases" in said
    assert "the label holds the value 7" in said
    assert "trainingrun/run: DependencyFailed" in said
    assert "nnunet-operator local describe dataset data" in said
    why = shell.quick("why", "trainingrun/run")
    assert [line.split(": ")[0].lstrip("└─ ") for line in why.splitlines()[:3]] == [
        "trainingrun/run",
        "plans/plans",
        "dataset/data",
    ]
    assert "When that is mended: nnunet-operator local rerun dataset/data" in why
    assert "reading" in shell.quick("status", "data")
    assert "nothing has changed, so a new spec.rerun would do nothing" not in shell.quick("rerun", "dataset/data", "--value", "1")
    assert shell.get("Dataset", "data")["spec"]["rerun"] == "1"
    (shell.root / "fail-dataset").unlink()
    (shell.root / "hold").unlink()
    chain = CHAIN.replace("source: {uri: ./raw}", 'source: {uri: ./raw}, rerun: "2"')
    (shell.folder / "manifests" / "chain.yaml").write_text(chain)
    assert "trainingrun/run: Completed" in shell("apply", "-f", "manifests")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("plansRef", "planRef", 'trainingrun.nnunet.dev/run: unknown field "spec.planRef"'),
        ('["0"]', '["first"]', "spec.folds[0]: Invalid value"),
        ("kind: Plans", "kind: Plan", "there is no Plan of nnunet.dev/v1alpha1 here.\nDid you mean kind: Plans"),
        ("name: plans}\nspec", "name: data}\nspec", None),
        ("{name: data}\nspec", "{}\nspec", "a Dataset without metadata.name"),
        ("uri: ./raw", "uri: [", "InvalidYAML"),
    ],
)
def test_a_wrong_manifest_is_refused_as_a_whole(shell: Shell, old: str, new: str, wanted: str | None) -> None:
    assert old in CHAIN
    (shell.folder / "manifests" / "chain.yaml").write_text(CHAIN.replace(old, new))
    if wanted is None:  # well-formed, but it names a Plans that is not there: it says what it waits for
        said = shell("apply", "-f", "manifests", code=78)
        assert "trainingrun/run: WaitingForPlans" in said
        assert "plans" in said
        return
    assert wanted in shell.quick("apply", "-f", "manifests", code=78)
    assert not (shell.root / "objects").exists() or not list(shell.root.glob("objects/*/*/*.json"))


def test_what_is_done_is_said_at_once_and_its_rules_are_not_even_loaded(shell: Shell) -> None:
    shell("apply", "-f", "manifests")
    code = (
        "import sys; from nnunet_operator.cli import main; code = main(['local', 'apply', '-f', 'manifests']);"
        "slow = {'cel', 'jsonschema', 'torch', 'kopf', 'kubernetes', 'nnunet_operator.api.schema.validation'} & sys.modules.keys();"
        "print('slow:', sorted(slow)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=shell.folder, env=shell.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "All of it is done already: 3 objects are Ready." in done.stdout
    assert done.stdout.count(" unchanged") == 3
    assert "slow: []" in done.stdout


def test_what_determines_a_result_cannot_change(shell: Shell) -> None:
    shell.quick("apply", "-f", "manifests", "--no-wait")
    (shell.folder / "manifests" / "chain.yaml").write_text(CHAIN.replace('["0"]', '["1"]'))
    assert "spec.folds" in shell.quick("apply", "-f", "manifests", "--no-wait", code=78)
    assert shell.get("TrainingRun", "run")["spec"]["folds"] == ["0"]


def test_folds_are_integers_or_strings_and_may_be_added(shell: Shell) -> None:
    chain = shell.folder / "manifests" / "chain.yaml"

    def applied(folds: str, code: int = 0) -> str:
        chain.write_text(CHAIN.replace('["0"]', folds))
        return shell.quick("apply", "-f", "manifests", "--no-wait", code=code)

    applied("[0]")
    assert "run configured" in applied('[1, "0"]')
    assert shell.get("TrainingRun", "run")["spec"]["folds"] == [1, "0"]
    for fewer in ("[1]", "[0, 2]", "[all]"):
        assert "spec.folds: can be added to, not taken from" in applied(fewer, code=78)
    assert "must name each fold once" in applied('[0, 1, "1"]', code=78)
    assert shell.get("TrainingRun", "run")["spec"]["folds"] == [1, "0"]


def test_ctrl_c_saves_and_the_next_call_goes_on(shell: Shell) -> None:
    shell.hold()
    process = shell.begin("apply", "-f", "manifests")
    shell.training()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, out + err
    assert "nnunet-operator local run" in out
    assert (shell.root / "checkpoint-run").exists()
    (shell.root / "hold").unlink()
    said = shell("run")
    assert "trainingrun/run: Completed" in said
    fold = shell.get("TrainingRun", "run")["status"]["folds"][0]
    assert (fold["attempt"], fold["restarts"], fold["disruptions"]) == (1, 0, 0)
    described = shell.quick("describe", "trainingrun", "run")
    assert len([line for line in described.splitlines() if " Disrupted " in line]) == 1, described
    assert "was stopped with the local shell" in " ".join(described.split()), described


def test_ctrl_c_twice_waits_for_nothing(shell: Shell) -> None:
    shell.hold()
    (shell.root / "stubborn").touch()
    process = shell.begin("apply", "-f", "manifests")
    pid = shell.training()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert any("Stopping: waiting for 1 running" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 143, "the grace period is 300 s"
    assert shim.start_time(pid) is None


def test_a_killed_shell_leaves_the_training_alone_and_the_next_takes_it_over(shell: Shell) -> None:
    shell.hold()
    process = shell.begin("apply", "-f", "manifests")
    pid = shell.training()
    wait_until(lambda: shell.reason("TrainingRun", "run") == "Training", what="the training to be seen")
    process.kill()
    process.wait()
    assert shim.start_time(pid), "the training must not notice"
    (shell.root / "hold").unlink()
    assert "trainingrun/run: Completed" in shell("run")
    fold = shell.get("TrainingRun", "run")["status"]["folds"][0]
    assert (fold["attempt"], fold["disruptions"]) == (0, 0)
    assert not (shell.root / "started-run-1").exists(), "it was trained once"


@pytest.mark.parametrize("killed", [0.8, 1.2, 1.6])
def test_killed_at_any_moment_it_ends_well(shell: Shell, killed: float) -> None:
    shell.hold()  # whenever this test goes on, the training is not over
    process = shell.begin("apply", "-f", "manifests")
    with pytest.raises(subprocess.TimeoutExpired):  # the moment of the kill is the point: nothing is waited for
        process.wait(killed)
    process.kill()
    process.wait()
    (shell.root / "hold").unlink()
    assert "trainingrun/run: Completed" in shell("apply", "-f", "manifests")


def test_suspend_and_resume_beside_a_working_shell(shell: Shell) -> None:
    shell.hold()
    process = shell.begin("apply", "-f", "manifests", "--watch")
    pid = shell.training()
    assert "trainingrun.nnunet.dev/run suspended" in shell("suspend", "trainingrun", "run")
    wait_until(lambda: shell.reason("TrainingRun", "run") == "Suspended", what="the run to be suspended")
    assert shim.start_time(pid) is None
    assert (shell.root / "checkpoint-run").exists()
    (shell.root / "hold").unlink()
    assert "resumed" in shell.quick("resume", "trainingrun/run")
    wait_until(lambda: shell.reason("TrainingRun", "run") == "Completed", what="the run to be done")
    refused = shell.quick("run", code=75)
    assert f"Process {process.pid} works on" in refused
    process.terminate()
    assert process.wait(timeout=120) == 143


def test_without_a_working_shell_suspending_and_deleting_stop_what_runs(shell: Shell) -> None:
    shell.hold()
    for attempt, words in enumerate((["apply", "-f", "manifests"], ["run"])):
        process = shell.begin(*words)
        pid = shell.training(attempt)
        process.kill()
        process.wait()
        if attempt == 0:
            shell("suspend", "trainingrun", "run")
            assert shim.start_time(pid) is None
            assert (shell.root / "checkpoint-run").read_text() == "2"
            shell.quick("resume", "trainingrun", "run")
    shell("delete", "-f", "manifests")
    assert shim.start_time(pid) is None
    store = Store(shell.root)
    assert not [item for kind in ("Job", "Pod", "TrainingRun", "ConfigMap", "Event") for item in store.all(kind)]


def test_what_this_machine_lacks_is_said_and_waited_for_in_vain_by_nobody(shell: Shell) -> None:
    (shell.folder / "manifests" / "chain.yaml").write_text(CHAIN.replace("gpusPerNode: 0", "gpusPerNode: 2"))
    said = shell("apply", "-f", "manifests", "--gpus", "0", code=78)
    assert "2 wanted, this machine has 1" in said


def test_what_is_for_a_clusters_queues_and_schedulers_is_ignored_and_said(shell: Shell) -> None:
    template = (
        "{jobLabels: {a: b}, schedulerName: s, datasetCache: {claimName: c}, resourceClaims: [{name: g, resourceClaimName: g}]}"
    )
    placed = f"queueName: gpus, managedBy: example.com/a, template: {template}"
    text = CHAIN.replace("gpusPerNode: 0}", f"gpusPerNode: 0, gpuResourceClaim: g}}, {placed}")
    (shell.folder / "manifests" / "chain.yaml").write_text(text)
    said = shell("apply", "-f", "manifests")
    fields = "queueName, managedBy, workers.gpuResourceClaim, template.jobLabels, template.schedulerName"
    assert f"run created\n  ignored on one machine: {fields}, template.resourceClaims, template.datasetCache\n" in said
    assert said.count("ignored") == 1
    assert "trainingrun/run: Completed" in said


def test_plans_can_be_suspended(shell: Shell) -> None:
    shell.quick("apply", "-f", "manifests", "--no-wait")
    assert "plans.nnunet.dev/plans suspended" in shell("suspend", "plans", "plans")
    assert shell.reason("Plans", "plans") == "Suspended"
    shell.quick("resume", "plans", "plans")
    assert "trainingrun/run: Completed" in shell("run")


def test_wrong_words_get_one_message(shell: Shell) -> None:
    assert "There is no store" in shell.quick("get", code=64)
    assert "There is no file or folder nowhere" in shell.quick("apply", "-f", "nowhere", code=64)
    shell.quick("apply", "-f", "manifests", "--no-wait")
    assert "Did you mean" in shell.quick("get", "datset", code=64)
    assert "only a TrainingRun, a Plans or a PlanTransfer can" in shell.quick("suspend", "dataset", "data", code=64)
    assert "Delete which trainingrun?" in shell.quick("delete", "trainingrun", code=64)
    assert "nnunet-operator local delete trainingrun NAME" in shell.quick("delete", "trainingrun", code=64)
    assert "nnunet-operator local delete trainingrun/run" in shell.quick("delete", "run", code=64)
    assert "Did you mean" in shell.quick("delete", "datset", code=64)
