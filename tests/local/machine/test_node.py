"""Real processes under the runner, the Job controller and the queue, with scripts in the trainer's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.local.machine.kubelet import shim
from nnunet_operator.local.machine.kubelet.host import Host
from nnunet_operator.local.machine.kubelet.process_runner import Runner
from nnunet_operator.local.machine.node import Node
from nnunet_operator.local.machine.scheduler import Machine
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.manifests.job import FAILURE_RULES
from nnunet_operator.manifests.names import JOB_NAME, QUEUE

Manifest = dict[str, Any]

FILES = {("ConfigMap", "order"): {"order.json": b'{"step": "x"}'}, ("Secret", "s3"): {"AWS_ACCESS_KEY_ID": b"key"}}
POLICY = {"rules": FAILURE_RULES}
CATCHES_TERM = """
    import signal, sys, time
    def stop(*_):
        open(sys.argv[1] + "/saved", "w").write("checkpoint")
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    open(sys.argv[1] + "/ready", "w").close()
    time.sleep(600)
"""


def make_node(folder: Path, machine: Machine | None = None) -> Node:
    store = Store(folder / "store")
    contents = lambda kind, _namespace, name: FILES.get((kind, name))  # noqa: E731
    runner = Runner(store.root / "pods", Host(contents=contents, environment=dict(os.environ)))
    return Node(store, runner, machine or Machine(cores=8, memory=2**34))


@pytest.fixture
def node(tmp_path: Path):
    node = make_node(tmp_path)
    yield node
    node.hurry()
    wait(node, lambda: not any(node.runner.alive(pod) for pod in node.store.all("Pod")))


def job(name: str, script: str, *args: str, cpu: str = "1", gpus: int = 0, **spec: Any) -> Manifest:
    resources: Manifest = {"requests": {"cpu": cpu}}
    if gpus:
        resources["limits"] = {"nvidia.com/gpu": str(gpus)}
    container = {
        "name": "trainer",
        "command": [sys.executable, "-c", textwrap.dedent(script)],
        "args": list(args),
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    template = {"spec": {"terminationGracePeriodSeconds": 20, "containers": [container]}}
    whole = {"backoffLimit": 0, "podFailurePolicy": POLICY, "template": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}, "spec": whole}


def wait(node: Node, until: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Turn the node until something holds."""
    deadline = time.monotonic() + seconds
    while True:
        node.tick(datetime.now(UTC))
        if found := until():
            return found
        if time.monotonic() > deadline:
            states = [json.dumps(item.get("status", {})) for kind in ("Job", "Pod") for item in node.store.all(kind)]
            pytest.fail("\n".join(["it did not come about:", *states]))
        time.sleep(0.02)


def ended(node: Node, name: str) -> Manifest:
    """The condition that ended a Job, once it is there."""

    def look() -> Manifest | None:
        found = node.store.get("Job", "default", name)
        conditions = found["status"].get("conditions", []) if found and "status" in found else []
        return next((c for c in conditions if c["type"] in ("Complete", "Failed")), None)

    return wait(node, look)


def pod_of(node: Node, name: str) -> Manifest:
    (pod,) = [p for p in node.store.all("Pod") if p["metadata"]["labels"][JOB_NAME] == name]
    return pod


def terminated(pod: Manifest) -> Manifest:
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def test_mounts_variables_and_the_termination_message(node: Node) -> None:
    script = """
        import json, os, sys
        secrets = os.environ["NNUNET_SECRETS"]
        said = {
            "order": json.load(open(sys.argv[1])),
            "key": open(secrets + "/s3/AWS_ACCESS_KEY_ID").read(),
            "ip": os.environ["POD_IP"], "name": os.environ["POD_NAME"], "threads": os.environ["OMP_NUM_THREADS"],
            "label": os.environ["LABEL"], "expanded": os.environ["EXPANDED"],
            "scratch": os.path.isdir(os.environ["NNUNET_SCRATCH"]),
            "untouched": os.environ["UNTOUCHED"],
        }
        open(os.environ["NNUNET_TERMINATION_LOG"], "w").write(json.dumps(said))
        print("to the log")
    """
    manifest = job("mounts", script, "/etc/nnunet/order/order.json", cpu="2500m")
    pod = manifest["spec"]["template"]
    pod["metadata"] = {"labels": {"colour": "blue"}}
    pod["spec"]["volumes"] = [
        {"name": "order", "configMap": {"name": "order"}},
        {"name": "secret", "secret": {"secretName": "s3"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    container = pod["spec"]["containers"][0]
    container["volumeMounts"] = [
        {"name": "order", "mountPath": "/etc/nnunet/order"},
        {"name": "secret", "mountPath": "/var/run/secrets/nnunet.dev/s3"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
    container["env"] = [
        {"name": "NNUNET_SECRETS", "value": "/var/run/secrets/nnunet.dev"},
        {"name": "NNUNET_SCRATCH", "value": "/scratch"},
        {"name": "UNTOUCHED", "value": "/scratchy/etc"},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['colour']"}}},
        {"name": "EXPANDED", "value": "$(LABEL)-$$(LABEL)-$(UNKNOWN)"},
    ]
    node.store.create(manifest)
    assert ended(node, "mounts")["type"] == "Complete"
    pod = pod_of(node, "mounts")
    said = json.loads(terminated(pod)["message"])
    assert said == {
        "order": {"step": "x"},
        "key": "key",
        "ip": pod["status"]["podIP"],
        "name": pod["metadata"]["name"],
        "threads": "2",
        "label": "blue",
        "expanded": "blue-$(LABEL)-$(UNKNOWN)",
        "scratch": True,
        "untouched": "/scratchy/etc",
    }
    assert said["ip"].startswith("127.1.")
    assert node.runner.log(pod).read_text() == "to the log\n"
    folder = node.runner.folder / pod["metadata"]["uid"]
    assert not (folder / "volumes").exists(), "secrets and scratch must go with the process"


@pytest.mark.parametrize(
    ("script", "code", "reason", "message"),
    [
        (
            "raise SystemExit(65)",
            65,
            "PodFailurePolicy",
            "Container trainer for pod default/{pod} failed with exit code 65 matching FailJob rule at index 1",
        ),
        ("print('a last word'); raise SystemExit(3)", 3, "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        ("import os; os.kill(os.getpid(), 11)", 139, "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
    ],
)
def test_a_failure_reads_as_on_kubernetes(node: Node, script: str, code: int, reason: str, message: str) -> None:
    node.store.create(job("fails", script))
    condition = ended(node, "fails")
    pod = pod_of(node, "fails")
    assert (condition["type"], condition["reason"]) == ("Failed", reason)
    assert condition["message"] == message.format(pod=pod["metadata"]["name"])
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (code, "Error")
    if "last word" in script:
        assert terminated(pod)["message"] == "a last word\n"


def test_a_program_that_is_not_there(node: Node) -> None:
    manifest = job("absent", "")
    manifest["spec"]["template"]["spec"]["containers"][0]["command"] = ["no-such-program"]
    node.store.create(manifest)
    assert ended(node, "absent")["type"] == "Failed"
    assert terminated(pod_of(node, "absent"))["exitCode"] == 127
    assert "no-such-program: No such file" in terminated(pod_of(node, "absent"))["message"]


def test_what_is_missing_is_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = job("waits", "pass")
    spec = manifest["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "late", "configMap": {"name": "late"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "late", "mountPath": "/late"}]
    node.store.create(manifest)
    waiting = wait(node, lambda: [p for p in node.store.all("Pod") if "containerStatuses" in p["status"]])[0]
    assert waiting["status"]["containerStatuses"][0]["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'configmap "late" not found',
    }
    assert node.stuck() == {waiting["metadata"]["uid"]}
    monkeypatch.setitem(FILES, ("ConfigMap", "late"), {})
    assert ended(node, "waits")["type"] == "Complete"


def test_deleting_a_job_gives_its_process_grace(node: Node, tmp_path: Path) -> None:
    node.store.create(job("graceful", CATCHES_TERM, str(tmp_path)))
    wait(node, (tmp_path / "ready").exists)
    node.store.delete("Job", "default", "graceful")
    assert node.store.get("Job", "default", "graceful"), "a Job is there until its processes are gone"
    wait(node, lambda: not node.store.all("Job") and not node.store.all("Pod"))
    assert (tmp_path / "saved").read_text() == "checkpoint"
    assert not list(node.runner.folder.iterdir())


def test_after_the_grace_period_all_of_it_is_killed(node: Node, tmp_path: Path) -> None:
    script = """
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
        open(sys.argv[1] + "/new", "w").write(f"{os.getpid()} {child.pid}")
        os.rename(sys.argv[1] + "/new", sys.argv[1] + "/pids")
        time.sleep(600)
    """
    manifest = job("stubborn", script, str(tmp_path))
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0.2
    node.store.create(manifest)
    wait(node, (tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(shim.start_time(pid) for pid in pids)
    node.store.delete("Job", "default", "stubborn")
    wait(node, lambda: not node.store.all("Pod"))
    assert not any(shim.start_time(pid) for pid in pids), "a process that left its group must end too"


def test_what_a_process_leaves_behind_ends_with_it(node: Node, tmp_path: Path) -> None:
    script = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        open(sys.argv[1] + "/pid", "w").write(str(child.pid))
    """
    node.store.create(job("litter", script, str(tmp_path)))
    assert ended(node, "litter")["type"] == "Complete"
    assert shim.start_time(int((tmp_path / "pid").read_text())) is None


def test_indexed_jobs_know_their_index(node: Node, tmp_path: Path) -> None:
    script = "import os, sys; open(sys.argv[1] + '/' + os.environ['JOB_COMPLETION_INDEX'], 'w').write(os.environ['POD_NAME'])"
    manifest = job("shards", script, str(tmp_path), completionMode="Indexed", completions=3, parallelism=3)
    name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = [name]
    node.store.create(manifest)
    assert ended(node, "shards")["reason"] == "CompletionsReached"
    assert [(tmp_path / i).read_text().startswith(f"shards-{i}-") for i in "012"] == [True] * 3


def test_a_job_that_waits_for_a_queue_runs_without_one(node: Node) -> None:
    manifest = job("queued", "pass", suspend=True)
    manifest["metadata"]["labels"] = {QUEUE: "gpus"}
    node.store.create(manifest)
    assert ended(node, "queued")["type"] == "Complete"


def test_jobs_queue_for_cores(tmp_path: Path) -> None:
    node = make_node(tmp_path, Machine(cores=1, memory=2**30))
    script = """
        import os, sys, time
        while not os.path.exists(sys.argv[1] + "/go"):
            time.sleep(0.01)
        os.mkdir(sys.argv[1] + "/busy")  # fails when another has it
        os.rmdir(sys.argv[1] + "/busy")
    """
    for i in range(3):
        node.store.create(job(f"queued-{i}", script, str(tmp_path), cpu="16"))
    node.tick(datetime.now(UTC))
    node.tick(datetime.now(UTC))
    waiting = [p for p in node.store.all("Pod") if not p["spec"].get("nodeName")]
    assert len(waiting) == 2
    assert waiting[0]["status"]["conditions"][0]["reason"] == "Unschedulable"
    assert "Insufficient cpu" in waiting[0]["status"]["conditions"][0]["message"]
    (tmp_path / "go").touch()
    assert [ended(node, f"queued-{i}")["type"] for i in range(3)] == ["Complete"] * 3


def test_gpus_are_given_out_one_by_one(tmp_path: Path) -> None:
    node = make_node(tmp_path, Machine(cores=8, memory=2**34, gpus=("3", "5")))
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    node.store.create(job("none", script, str(tmp_path / "none")))
    node.store.create(job("two", script, str(tmp_path / "two"), gpus=2))
    node.store.create(job("three", script, str(tmp_path / "three"), gpus=3))
    assert [ended(node, name)["type"] for name in ("none", "two")] == ["Complete"] * 2
    assert (tmp_path / "none").read_text() == ""
    assert (tmp_path / "two").read_text() == "3,5"
    pod = pod_of(node, "three")
    assert "3 wanted, this machine has 2" in pod["status"]["conditions"][0]["message"]
    assert node.stuck() == {pod["metadata"]["uid"]}


def test_another_shell_goes_on_with_what_runs(node: Node, tmp_path: Path) -> None:
    node.store.create(job("adopted", CATCHES_TERM, str(tmp_path)))
    wait(node, (tmp_path / "ready").exists)
    other = make_node(tmp_path)
    for _ in range(3):
        other.tick(datetime.now(UTC))
    assert [pod["status"]["phase"] for pod in other.store.all("Pod")] == ["Running"]
    other.store.delete("Job", "default", "adopted")
    wait(other, lambda: not other.store.all("Pod"))
    assert (tmp_path / "saved").exists()


def test_a_process_that_vanished_is_a_disruption(node: Node, tmp_path: Path) -> None:
    node.store.create(job("lost", CATCHES_TERM, str(tmp_path)))
    wait(node, (tmp_path / "ready").exists)
    pod = pod_of(node, "lost")
    process = json.loads((node.runner.folder / pod["metadata"]["uid"] / shim.PROCESS).read_text())
    os.kill(process["shim"], signal.SIGKILL)  # as when the machine goes down: no exit code, no process
    condition = ended(node, "lost")
    assert condition["reason"] == "PodFailurePolicy"
    assert (
        condition["message"]
        == f"Pod default/{pod['metadata']['name']} has condition DisruptionTarget matching FailJob rule at index 0"
    )
    wait(node, lambda: shim.start_time(process["pid"]) is None)


def test_draining_asks_all_to_stop_and_counts_as_a_disruption(node: Node, tmp_path: Path) -> None:
    node.store.create(job("drained", CATCHES_TERM, str(tmp_path)))
    wait(node, (tmp_path / "ready").exists)
    node.drain("the shell was stopped")
    wait(node, lambda: not node.running())
    assert (tmp_path / "saved").exists()
    assert "DisruptionTarget" in ended(node, "drained")["message"]
    assert terminated(pod_of(node, "drained"))["exitCode"] == 143


def test_two_shims_of_one_pod_start_one_process(node: Node, tmp_path: Path) -> None:
    script = """
        import os, sys, time
        with open(sys.argv[1] + f"/new-{os.getpid()}", "w") as file:
            file.write(str(os.getppid()))
        os.rename(file.name, sys.argv[1] + f"/{os.getpid()}")
        while not os.path.exists(sys.argv[1] + "/go"):
            time.sleep(0.01)
    """
    node.store.create(job("once", script, str(tmp_path)))
    wait(node, lambda: node.runner.folder.exists() and list(node.runner.folder.glob(f"*/{shim.LAUNCH}")))
    (launch,) = node.runner.folder.glob(f"*/{shim.LAUNCH}")
    others = [subprocess.Popen([sys.executable, "-I", "-S", shim.__file__, str(launch.parent)]) for _ in range(3)]

    def started() -> list[int]:
        """The parents of the processes that were started."""
        return [int(file.read_text()) for file in tmp_path.iterdir() if file.name.isdigit()]

    wait(node, lambda: started() and all(other.poll() is not None or other.pid in started() for other in others))
    (tmp_path / "go").touch()
    assert ended(node, "once")["type"] == "Complete"
    assert [other.wait(timeout=60) for other in others] == [0, 0, 0]
    assert len(started()) == 1


def test_a_deleted_pod_stays_until_its_job_says_how_it_ended(node: Node, tmp_path: Path) -> None:
    created = node.store.create(job("j", CATCHES_TERM, str(tmp_path)))
    wait(node, lambda: (tmp_path / "ready").exists())
    (pod,) = node.store.all("Pod")
    node.store.delete("Pod", "default", pod["metadata"]["name"], pod["metadata"]["uid"])
    seen: list[str] = []

    def failed() -> bool:
        found = node.store.get("Job", "default", created["metadata"]["name"]) or {}
        conditions = [condition["type"] for condition in found.get("status", {}).get("conditions", [])]
        if "Failed" in conditions and not seen:
            seen.extend(str(_code(pod)) for pod in node.store.all("Pod"))
            return True
        return False

    wait(node, failed)
    assert seen == ["143"], "the reconcilers read it beside the Job's Failed"
    wait(node, lambda: not node.store.all("Pod"))


def _code(pod: Manifest) -> int | None:
    code: int | None = pod["status"]["containerStatuses"][0]["state"].get("terminated", {}).get("exitCode")
    return code
