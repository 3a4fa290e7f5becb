"""What a Job controller decides about the Jobs that we write."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_operator.local.machine import job_controller
from nnunet_operator.manifests.job import FAILURE_RULES
from nnunet_operator.manifests.names import COMPLETION_INDEX

Manifest = dict[str, Any]

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def job(pods: int = 1) -> Manifest:
    spec: Manifest = {"backoffLimit": 0, "podFailurePolicy": {"rules": copy.deepcopy(FAILURE_RULES)}}
    if pods > 1:
        spec |= {"completionMode": "Indexed", "completions": pods, "parallelism": pods}
    spec["template"] = {"spec": {"containers": [{"name": "trainer"}]}}
    return {"kind": "Job", "metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": spec}


def ended(pod: Manifest, code: int, *conditions: Manifest) -> Manifest:
    pod["status"]["phase"] = "Failed" if code else "Succeeded"
    end = {"exitCode": code, "finishedAt": "2026-11-01T12:00:00Z"}
    pod["status"] |= {"containerStatuses": [{"name": "trainer", "state": {"terminated": end}}], "conditions": list(conditions)}
    return pod


def made(result: job_controller.SyncResult, uids: list[int]) -> list[Manifest]:
    for pod in result.create:
        uids.append(len(uids))
        pod["metadata"] |= {"uid": str(len(uids)), "creationTimestamp": "2026-11-01T12:00:00Z"}
    return result.create


DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


@pytest.mark.parametrize(
    ("code", "conditions", "reason", "message"),
    [
        (1, [], "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        (
            78,
            [],
            "PodFailurePolicy",
            "Container trainer for pod n/{pod} failed with exit code 78 matching FailJob rule at index 1",
        ),
        (143, [DISRUPTED], "PodFailurePolicy", "Pod n/{pod} has condition DisruptionTarget matching FailJob rule at index 0"),
        (65, [DISRUPTED], "PodFailurePolicy", "Pod n/{pod} has condition DisruptionTarget matching FailJob rule at index 0"),
        (143, [{**DISRUPTED, "status": "False"}], "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
    ],
)
def test_a_failed_pod_fails_the_job_in_kubernetes_words(code: int, conditions: list[Manifest], reason: str, message: str) -> None:
    whole = job()
    (pod,) = made(job_controller.sync(whole, [], NOW), [])
    result = job_controller.sync(whole, [ended(pod, code, *conditions)], NOW)
    whole["status"] = result.status
    assert not result.create, "it never retries"
    assert job_controller.finished(whole) == "Failed"
    assert [c["type"] for c in result.status["conditions"]] == ["FailureTarget", "Failed"]
    wanted = message.format(pod=pod["metadata"]["name"])
    assert {(c["reason"], c["message"]) for c in result.status["conditions"]} == {(reason, wanted)}
    assert job_controller.sync(whole, [], NOW).status == result.status, "what was said stays"


def test_one_failed_shard_ends_the_others_first() -> None:
    whole = job(pods=3)
    result = job_controller.sync(whole, [], NOW)
    pods = made(result, [])
    assert [pod["metadata"]["annotations"][COMPLETION_INDEX] for pod in pods] == ["0", "1", "2"]
    assert [pod["metadata"]["name"][:4] for pod in pods] == ["j-0-", "j-1-", "j-2-"]
    assert {pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] for pod in pods} == {whole["metadata"]["uid"]}
    whole["status"] = result.status
    ended(pods[1], 65)
    result = job_controller.sync(whole, pods, NOW)
    assert [pod["metadata"]["uid"] for pod in result.delete] == ["1", "3"]
    whole["status"] = result.status
    assert job_controller.finished(whole) is None, "FailureTarget comes first"
    for pod in (pods[0], pods[2]):
        pod["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    assert not job_controller.sync(whole, pods, NOW).delete
    result = job_controller.sync(whole, [pods[1]], NOW)
    whole["status"] = result.status
    assert job_controller.finished(whole) == "Failed"
    name = pods[1]["metadata"]["name"]
    wanted = f"Container trainer for pod n/{name} failed with exit code 65 matching FailJob rule at index 1"
    assert result.status["conditions"][-1]["message"] == wanted


def test_a_job_that_is_deleted_is_gone_when_its_pods_are() -> None:
    whole = job()
    pods = made(job_controller.sync(whole, [], NOW), [])
    whole["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    result = job_controller.sync(whole, pods, NOW)
    assert (result.delete, result.gone) == (pods, False)
    assert job_controller.sync(whole, [], NOW).gone


@given(st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_whatever_happens_a_job_ends_once_and_never_runs_an_index_twice(data: st.DataObject) -> None:
    completions = data.draw(st.integers(1, 4))
    whole = job(pods=completions)
    pods: list[Manifest] = []
    uids: list[int] = []
    now = NOW
    deletions = data.draw(st.integers(0, 3))
    for _ in range(60):
        now += timedelta(minutes=20)
        result = job_controller.sync(whole, pods, now)
        whole["status"] = result.status
        gone = {pod["metadata"]["uid"] for pod in result.delete}
        pods = [pod for pod in pods if pod["metadata"]["uid"] not in gone] + made(result, uids)
        living = [pod for pod in pods if pod["status"]["phase"] == "Pending"]
        indexes = [pod["metadata"]["annotations"].get(COMPLETION_INDEX) for pod in pods if pod["status"]["phase"] != "Failed"]
        assert len(indexes) == len(set(indexes)) <= completions
        if job_controller.finished(whole):
            assert not living
            break
        if living and deletions:
            deletions -= 1
            pods.remove(data.draw(st.sampled_from(living)))  # as when someone deletes it: another takes its place
        elif living:
            ended(data.draw(st.sampled_from(living)), data.draw(st.sampled_from([0, 0, 0, 1])))
    succeeded = sum(pod["status"]["phase"] == "Succeeded" for pod in pods)
    failed = sum(pod["status"]["phase"] == "Failed" for pod in pods)
    assert job_controller.finished(whole) == ("Failed" if failed else "Complete")
    assert failed or succeeded == completions
