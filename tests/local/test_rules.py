"""The pure parts: what a Job controller decides, who may start, how things are printed and read."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_operator.local import kstatus
from nnunet_operator.local.commands import printer_columns
from nnunet_operator.local.kstatus import Standing
from nnunet_operator.local.machine import job_controller, launch, pod_status, process_runner, secrets
from nnunet_operator.local.machine.scheduler import Machine, place
from nnunet_operator.local.object_store import manifest_files
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.local.uri_map import Places, parse
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, ExitCode

Manifest = dict[str, Any]

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def job(**spec: Any) -> Manifest:
    container = {"name": "trainer"}
    whole = {"backoffLimit": 0, "template": {"spec": {"containers": [container]}}, **spec}
    return {"kind": "Job", "metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": whole}


def ended(pod: Manifest, code: int, at: datetime = NOW) -> Manifest:
    pod["status"]["phase"] = "Failed" if code else "Succeeded"
    end = {"exitCode": code, "finishedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    pod["status"]["containerStatuses"] = [{"name": "trainer", "state": {"terminated": end}}]
    return pod


def made(step: job_controller.Step, uids: list[int]) -> list[Manifest]:
    for pod in step.create:
        uids.append(len(uids))
        pod["metadata"] |= {"uid": str(len(uids)), "creationTimestamp": "2026-11-01T12:00:00Z"}
    return step.create


def test_a_job_retries_after_a_back_off_up_to_its_limit() -> None:
    whole = job(backoffLimit=1)
    step = job_controller.sync(whole, [], NOW)
    (first,) = made(step, [])
    whole["status"] = step.status
    pods = [ended(first, 1)]
    step = job_controller.sync(whole, pods, NOW + timedelta(seconds=3))
    assert not step.create
    assert step.again_at == NOW + timedelta(seconds=10)
    step = job_controller.sync(whole, pods, NOW + timedelta(seconds=11))
    pods += [ended(pod, 1) for pod in made(step, [])]
    assert len(pods) == 2
    whole["status"] = step.status
    step = job_controller.sync(whole, pods, NOW + timedelta(hours=1))
    whole["status"] = step.status
    assert job_controller.finished(whole) == "Failed"
    assert [c["type"] for c in step.status["conditions"]] == ["FailureTarget", "Failed"]
    assert {c["reason"] for c in step.status["conditions"]} == {"BackoffLimitExceeded"}


def test_one_failed_shard_ends_the_others_first() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [65]}}
    whole = job(completionMode="Indexed", completions=3, parallelism=3, podFailurePolicy={"rules": [rule]})
    step = job_controller.sync(whole, [], NOW)
    pods = made(step, [])
    assert [pod["metadata"]["annotations"][job_controller.INDEX] for pod in pods] == ["0", "1", "2"]
    assert [pod["spec"]["hostname"] for pod in pods] == ["j-0", "j-1", "j-2"]
    whole["status"] = step.status
    ended(pods[1], 65)
    step = job_controller.sync(whole, pods, NOW)
    assert [pod["metadata"]["uid"] for pod in step.delete] == ["1", "3"]
    whole["status"] = step.status
    assert job_controller.finished(whole) is None, "FailureTarget comes first"
    for pod in (pods[0], pods[2]):
        pod["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    assert job_controller.sync(whole, pods, NOW).status["terminating"] == 2
    step = job_controller.sync(whole, [pods[1]], NOW)
    whole["status"] = step.status
    assert job_controller.finished(whole) == "Failed"
    message = step.status["conditions"][-1]["message"]
    assert (
        message
        == f"Container trainer for pod n/{pods[1]['metadata']['name']} failed with exit code 65 matching FailJob rule at index 0"
    )


@given(st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_whatever_happens_a_job_ends_once_and_never_runs_an_index_twice(data: st.DataObject) -> None:
    completions = data.draw(st.integers(1, 4))
    indexed = data.draw(st.booleans())
    whole = job(completions=completions, parallelism=data.draw(st.integers(1, 4)), backoffLimit=data.draw(st.integers(0, 2)))
    if indexed:
        whole["spec"]["completionMode"] = "Indexed"
    pods: list[Manifest] = []
    uids: list[int] = []
    now = NOW
    for _ in range(60):
        now += timedelta(minutes=20)
        step = job_controller.sync(whole, pods, now)
        whole["status"] = step.status
        gone = {pod["metadata"]["uid"] for pod in step.delete}
        pods = [pod for pod in pods if pod["metadata"]["uid"] not in gone] + made(step, uids)
        living = [pod for pod in pods if pod["status"]["phase"] == "Pending"]
        assert len(living) <= whole["spec"]["parallelism"]
        if indexed:
            indexes = [pod["metadata"]["annotations"][job_controller.INDEX] for pod in pods if pod["status"]["phase"] != "Failed"]
            assert len(indexes) == len(set(indexes))
        if job_controller.finished(whole):
            assert not living
            break
        if living:
            ended(data.draw(st.sampled_from(living)), data.draw(st.sampled_from([0, 0, 0, 1])), now)
    succeeded = sum(pod["status"]["phase"] == "Succeeded" for pod in pods)
    failed = sum(pod["status"]["phase"] == "Failed" for pod in pods)
    assert job_controller.finished(whole) == ("Complete" if succeeded >= completions else "Failed")
    assert job_controller.finished(whole) == "Complete" or failed > whole["spec"]["backoffLimit"]


def pod(name: str, cpu: str | None = None, memory: str | None = None, gpus: int = 0) -> Manifest:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {"metadata": {"name": name}, "spec": {"containers": [{"resources": {"requests": requests, "limits": limits}}]}}


@pytest.mark.parametrize(
    ("queue", "running", "starts", "waits", "never"),
    [
        ([pod("a", "3"), pod("b", "2"), pod("c", "1")], [], ["a", "c"], ["b"], []),
        ([pod("a", "64")], [], ["a"], [], []),  # more than there is: the whole machine
        ([pod("a", "64")], [(pod("x", "500m"), [])], [], ["a"], []),
        ([pod("a"), pod("b")], [(pod("x", "3"), [])], ["a"], ["b"], []),  # who says nothing counts as one core
        ([pod("a", memory="9Gi"), pod("b", memory="2Gi")], [], ["a"], ["b"], []),
        ([pod("a", gpus=1), pod("b", gpus=2)], [(pod("x", gpus=1), ["0"])], ["a"], ["b"], []),
        ([pod("a", gpus=3)], [], [], [], ["a"]),
    ],
)
def test_the_machine_is_shared_out(queue: Any, running: Any, starts: Any, waits: Any, never: Any) -> None:
    result = place(queue, running, Machine(cores=4, memory=10 * 2**30, gpus=("0", "1")))
    assert [pod["metadata"]["name"] for pod, _ in result.start] == starts
    assert [pod["metadata"]["name"] for pod, _ in result.wait] == waits
    assert [pod["metadata"]["name"] for pod, _ in result.never] == never


@pytest.mark.parametrize(("there", "instead"), [((), True), (("0",), False)])
def test_ordered_gpus_are_never_left_out_in_silence(there: tuple[str, ...], instead: bool) -> None:
    """A machine without GPUs trains on its CPU where a manifest says so, and says how to say so."""
    machine = Machine(cores=4, memory=10 * 2**30, gpus=there)
    ((_, message),) = place([pod("a", gpus=2)], [], machine).never
    assert f"2 wanted, this machine has {len(there) or 'none'}." in message
    assert ("To train on the CPU, set spec.workers.gpusPerNode: 0." in message) == instead
    assert [p["metadata"]["name"] for p, _ in place([pod("b")], [], machine).start] == ["b"]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=12))
@settings(derandomize=True, deadline=None)
def test_nothing_is_given_out_twice(wishes: list[tuple[int, int]]) -> None:
    machine = Machine(cores=4, memory=2**30, gpus=("a", "b", "c"))
    queue = [pod(str(i), str(cpu), gpus=gpus) for i, (cpu, gpus) in enumerate(wishes)]
    given_out = place(queue, [], machine).start
    gpus = [gpu for _, taken in given_out for gpu in taken]
    assert len(gpus) == len(set(gpus))
    assert sum(min(4, wishes[int(p["metadata"]["name"])][0]) for p, _ in given_out) <= 4


@pytest.mark.parametrize(
    ("text", "value"), [("500m", 0.5), ("2", 2), ("2Gi", 2**31), ("1.5k", 1500), (4, 4), (None, 0), ("1e3", 1000)]
)
def test_quantities(text: Any, value: float) -> None:
    assert launch.quantity(text) == value


def test_a_quantity_that_is_none() -> None:
    with pytest.raises(ValueError, match="'lots' is no quantity"):
        launch.quantity("lots")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (3599, "59m"), (3600, "60m"), (10_800, "3h"), (11_160, "3h6m"),
     (90_000, "25h"), (200_000, "2d7h"), (900_000, "10d")],
)  # fmt: skip
def test_durations_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert printer_columns.duration(seconds) == text


def test_printer_columns_find_conditions_and_say_none() -> None:
    conditions = [{"type": "Verified", "status": "False"}, {"type": "Ready", "status": "True", "reason": "Fingerprinted"}]
    manifest = {
        "kind": "Dataset",
        "metadata": {"name": "d", "creationTimestamp": "2026-11-01T11:51:00Z"},
        "spec": {"name": "Dataset001_X"},
        "status": {"conditions": conditions},
    }
    assert printer_columns.row(manifest, NOW) == ["d", "Dataset001_X", "<none>", "True", "Fingerprinted", "9m"]
    assert printer_columns.row(manifest, NOW, prefixed=True)[0] == "dataset.nnunet.dev/d"
    assert printer_columns.lookup(manifest, '.status.conditions[?(@.type=="Nothing")].status') is None


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("s3://bucket/raw", "s3://bucket/raw"),
        ("pvc://claim/raw", "pvc://claim/raw"),
        ("file:///data/x", "file:///data/x"),
        ("file:./x", "file://{folder}/x"),
        ("file://./x", "file://{folder}/x"),
        ("../x y", "file://{parent}/x y"),
    ],
)
def test_paths_count_from_the_manifest(tmp_path: Path, uri: str, wanted: str) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    text = f"apiVersion: nnunet.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: d}}\nspec: {{source: {{uri: '{uri}'}}}}\n"
    (folder / "d.yaml").write_text(text)
    (manifest,) = manifest_files.read([str(folder)], "default")
    assert manifest["spec"]["source"]["uri"] == wanted.format(folder=folder, parent=tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("kind: Secret\napiVersion: v1\nmetadata: {name: s3}", BadConfiguration, "--secrets DIR"),
        ("[1, 2]", BadConfiguration, "without apiVersion and kind"),
        ("a: [", BadConfiguration, "d.yaml"),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {}", BadConfiguration, "a ConfigMap without metadata.name"),
        ("\n---\n".join(["kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}"] * 2), BadConfiguration, "given twice"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(error) as raised:
        manifest_files.read([str(tmp_path / "d.yaml")], "default")
    assert message in str(raised.value)


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"holds no \.yaml"):
        manifest_files.read([str(tmp_path)], "default")


def test_a_list_is_its_items(tmp_path: Path) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    (tmp_path / "l.json").write_text(str({"apiVersion": "v1", "kind": "List", "items": [item]}).replace("'", '"'))
    (found,) = manifest_files.read([str(tmp_path)], "here")
    assert found["metadata"] == {"name": "c", "namespace": "here"}


def test_secrets_come_from_a_folder_the_environment_or_the_profile(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert secrets.find("s3", None, home) is None
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[lab]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert secrets.find("s3", None, home) is None
    assert secrets.find("s3", None, {**home, "AWS_PROFILE": "lab"}) == {"AWS_ACCESS_KEY_ID": b"a", "AWS_SECRET_ACCESS_KEY": b"b"}
    own = {"AWS_ACCESS_KEY_ID": "c", "AWS_SECRET_ACCESS_KEY": "d", "AWS_SESSION_TOKEN": "e"}
    assert secrets.find("s3", None, home | own) == {key: value.encode() for key, value in own.items()}
    (tmp_path / "secrets" / "s3").mkdir(parents=True)
    (tmp_path / "secrets" / "s3" / "AWS_ACCESS_KEY_ID").write_text("f")
    assert secrets.find("s3", tmp_path / "secrets", home | own) == {"AWS_ACCESS_KEY_ID": b"f"}


def test_a_message_is_the_tail_of_the_file_else_of_the_log(tmp_path: Path) -> None:
    log, container = tmp_path / "log", {"terminationMessagePolicy": "FallbackToLogsOnError"}
    log.write_text("".join(f"line {i}\n" for i in range(1000)))
    lines = pod_status.termination_message(tmp_path, log, container, 1).splitlines()
    assert len(lines) == 80
    assert lines[-1] == "line 999"
    assert pod_status.termination_message(tmp_path, log, container, 0) == ""
    assert pod_status.termination_message(tmp_path, log, {}, 1) == ""
    (tmp_path / "termination-log").write_text("x" * 5000 + "end")
    message = pod_status.termination_message(tmp_path, log, container, 1)
    assert len(message) == 4096
    assert message.endswith("end")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"exitCode": 137, "signal": 9, "asked": False, "oomKills": 1}, "OOMKilled"),
        ({"exitCode": 137, "signal": 9, "asked": False, "oomKills": 0}, "Error"),
        ({"exitCode": 137, "signal": 9, "asked": True, "oomKills": 1}, "Error"),
        ({"exitCode": 0, "signal": 0, "asked": False, "oomKills": 1}, "Completed"),
    ],
)
def test_why_a_process_ended(end: Manifest, reason: str) -> None:
    whole = {"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "trainer"}]}}
    status = pod_status.terminated(whole, {**end, "startedAt": 1.0, "finishedAt": 2.0}, "")
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == reason


def test_addresses_are_on_loopback_and_not_shared() -> None:
    generator = random.Random(1)
    taken: list[str] = []
    for _ in range(300):
        ip = process_runner.address(str(generator.random()), taken)
        first, second, *rest = map(int, ip.split("."))
        assert (first, second) == (127, 1)
        assert all(1 <= part <= 254 for part in rest)
        assert ip not in taken
        taken.append(ip)
    assert process_runner.address("same", []) != process_runner.address("same", [process_runner.address("same", [])])


def thing(*conditions: tuple[str, str, str], suspend: bool = False, observed: int = 1) -> Manifest:
    held = [{"type": kind, "status": status, "reason": reason} for kind, status, reason in conditions]
    return {
        "metadata": {"generation": 1},
        "spec": {"suspend": suspend},
        "status": {"observedGeneration": observed, "conditions": held},
    }


@pytest.mark.parametrize(
    ("manifest", "wanted"),
    [
        (thing(("Ready", "True", "Completed")), Standing.READY),
        (thing(("Ready", "True", "Completed"), observed=0), Standing.GOING),
        (thing(("Ready", "False", "Training"), ("Reconciling", "True", "Training")), Standing.GOING),
        (thing(("Ready", "False", "InvalidCases"), ("Stalled", "True", "InvalidCases")), Standing.STALLED),
        (thing(("Ready", "False", "Suspended"), suspend=True), Standing.SUSPENDED),
        (thing(("Ready", "False", "Suspending"), suspend=True), Standing.GOING),
        ({"metadata": {"generation": 1}, "spec": {}}, Standing.GOING),
    ],
)
def test_where_an_object_stands(manifest: Manifest, wanted: Standing) -> None:
    assert kstatus.of(manifest) is wanted


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("InvalidCases", ExitCode.BAD_DATA),
        ("OutOfGPUMemory", ExitCode.GPU_OUT_OF_MEMORY),
        ("UnknownFold", ExitCode.BAD_CONFIGURATION),
    ],
)
def test_the_exit_code_says_why(reason: str, code: ExitCode) -> None:
    assert kstatus.exit_code(thing(("Ready", "False", reason), ("Stalled", "True", reason))) is code


def test_a_folder_stands_in_for_a_uri(tmp_path: Path) -> None:
    (tmp_path / "my images").mkdir()
    store = Store(tmp_path / "store")
    source = {"uri": "s3://b/raw/Dataset1", "endpoint": "http://e", "secretName": "s3", "layout": "MSD"}
    store.create({"kind": "Dataset", "metadata": {"name": "d"}, "spec": {"source": source}})
    store.create({"kind": "Dataset", "metadata": {"name": "other"}, "spec": {"source": {"uri": "s3://b/raw2/Dataset1"}}})
    Places(store, [parse(f"s3://b/raw={tmp_path / 'my images'}")])
    seen = Places(store)  # it is kept
    wanted = {"uri": f"file://{tmp_path}/my images/Dataset1", "layout": "MSD"}
    assert seen.get("Dataset", "default", "d")["spec"]["source"] == wanted
    assert seen.get("Dataset", "default", "other")["spec"]["source"] == {"uri": "s3://b/raw2/Dataset1"}
    assert store.get("Dataset", "default", "d")["spec"]["source"] == source, "what people wrote stays"
    for wrong in ("images", "s3://b/raw", f"s3://b/raw={tmp_path / 'nowhere'}"):
        with pytest.raises(BadUsage):
            parse(wrong)
