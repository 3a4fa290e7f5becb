"""The same object has the same results: made anew under its name, robbed of its Jobs and orders, or left half deleted by a kill.

Each fault is tried several times, on the real API server; nothing is lost, nothing trained twice.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from nnunet_operator.api.fields.uris import StorageSpec
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.object_client import UNANSWERED, CachedApi
from nnunet_operator.cluster.watch.relist import Relist
from nnunet_operator.controller.events import EventRecorder
from nnunet_operator.controller.one_pass import Reconciliation
from nnunet_operator.reconcile.policies import seed
from nnunet_operator.reconcile.view import Key, Settings
from nnunet_trainer.contract import report as reports
from nnunet_trainer.contract.report import Report
from support.apiclient import ApiClient, Manifest, wait_until
from support.controlplane import ControlPlane
from support.pretend import Ending, PretendKubelet, succeed

from .conftest import API_VERSION, StartOperator, condition, dataset, plans, training_run

pytestmark = pytest.mark.controlplane


DECIDE_NOTHING = ("attempt", "owner")
"""Of a work order: they are not part of the address of what it makes."""


class Storage:
    """Pods that work as trainers do: what was made from the same order is found, not made again."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.held = False
        """Trainings go on running as long as it is set."""
        self._reports: dict[str, Report] = {}
        self._by_pod: dict[str, Report] = {}

    def __call__(self, order: Manifest, pod: Manifest) -> Ending | None:
        if order["step"] == "train" and self.held:
            return None
        address = json.dumps({key: value for key, value in order.items() if key not in DECIDE_NOTHING}, sort_keys=True)
        if address in self._reports:
            found = self._reports[address]
            return Ending.of(Report(step=found.step, artifacts=found.artifacts, summary={**found.summary, "found": True}))
        self.made[address] += 1
        made = reports.decode(succeed(order, pod).message)
        assert made is not None
        self._reports[address] = made
        return Ending.of(made)

    @property
    def trainings(self) -> int:
        """How often something was trained, as opposed to found."""
        return sum(count for address, count in self.made.items() if json.loads(address)["step"] == "train")


class SlowKubelet(PretendKubelet):
    """Pods that are deleted take their time, as long as `graceful` is set."""

    graceful = False

    def _care_for(self, pod: Manifest) -> None:
        if not (self.graceful and pod["metadata"].get("deletionTimestamp")):
            super()._care_for(pod)


class Namespace:
    """What lies in a test's namespace."""

    def __init__(self, api: ApiClient, name: str) -> None:
        self.api, self.name = api, name

    def get(self, name: str, kind: str = "TrainingRun") -> Manifest | None:
        return self.api.get(API_VERSION, kind, self.name, name)

    def status(self, name: str, kind: str = "TrainingRun") -> Manifest:
        status: Manifest = (self.get(name, kind) or {}).get("status") or {}
        return status

    def until_ready(self, *names: str, kind: str = "TrainingRun") -> None:
        def waiting() -> list[object]:
            found = {name: condition(self.get(name, kind)) for name in names}
            return [(name, ready) for name, ready in found.items() if ready.get("status") != "True"]

        wait_until(lambda: not waiting(), what=lambda: f"Ready: {waiting()}")

    def jobs(self, owner: str = "") -> list[Manifest]:
        return self.api.list("batch/v1", "Job", self.name, labels=f"nnunet.dev/owner-name={owner}" if owner else "")

    def orders(self, owner: str) -> list[Manifest]:
        return self.api.list("v1", "ConfigMap", self.name, labels=f"nnunet.dev/owner-name={owner}")

    def pods(self) -> list[Manifest]:
        return self.api.list("v1", "Pod", self.name, labels="nnunet.dev/step=train")

    def until_complete(self) -> None:
        """Until all Jobs have ended well."""
        ended = lambda job: (job.get("status") or {}).get("completionTime")  # noqa: E731
        wait_until(lambda: all(ended(job) for job in self.jobs()), what="the Jobs to end")

    def until_idle(self) -> None:
        """Until the operator has deleted the Jobs whose outcome is stored."""
        wait_until(lambda: not self.jobs(), what=lambda: f"no Jobs: {[job['metadata']['name'] for job in self.jobs()]}")


@pytest.fixture
def here(control_plane: ControlPlane, namespace: str) -> Namespace:
    return Namespace(control_plane.admin, namespace)


def told_uid(pod: Manifest) -> str:
    """What the kubelet makes of a pod's NNUNET_JOB_UID."""
    told = next(each for each in pod["spec"]["containers"][0]["env"] if each["name"] == "NNUNET_JOB_UID")
    path: str = told["valueFrom"]["fieldRef"]["fieldPath"]
    return str(pod["metadata"]["labels"][path.removeprefix("metadata.labels['").removesuffix("']")])


def prepare(here: Namespace) -> None:
    """A Dataset and its Plans."""
    here.api.apply_all([dataset(here.name), plans(here.name)])
    here.until_ready("brain", kind="Plans")
    here.until_idle()


def test_a_run_made_anew_finds_its_results(here: Namespace, start_operator: StartOperator) -> None:
    """Deleted with all that it came from, alone, or by its time to live: GitOps, a restored backup, a new cluster make it anew."""
    storage = Storage()
    start_operator()
    with PretendKubelet(here.api, here.name, storage) as kubelet:
        everything = [dataset(here.name), plans(here.name), training_run(here.name, folds=["0", "1"])]
        here.api.apply_all(everything)
        here.until_ready("run")
        first = here.status("run")
        assert (storage.trainings, first["seed"]) == (2, seed.of_name(here.name, "run"))
        uids = {here.get("run")["metadata"]["uid"]}  # type: ignore[index]
        for deleted in (everything, everything[-1:], [], everything[-1:]):
            if not deleted:
                here.api.patch(everything[-1], {"spec": {"ttlSecondsAfterFinished": 0}})
            for manifest in deleted:
                here.api.delete(manifest)
            wait_until(lambda: here.get("run") is None, what="the run to be gone")
            here.api.apply_all(everything)
            here.until_ready("run")
            again = here.status("run")
            uids.add(here.get("run")["metadata"]["uid"])  # type: ignore[index]
            for key in ("seed", "results", "meanDice", "plans", "foldsDone"):
                assert again[key] == first[key], key
            for fold, before in zip(again["folds"], first["folds"], strict=True):
                assert (fold["found"], before["found"]) == (True, False)
                for key in ("checkpoint", "best", "artifact", "digest", "folder", "validationDice"):
                    assert fold[key] == before[key], key
            assert "found in the storage" in condition(here.get("run"))["message"]
    assert len(uids) == 5
    assert storage.trainings == 2, "each fold was trained once"
    assert set(storage.made.values()) == {1}
    assert kubelet.steps().count("train") == 10


def test_a_run_made_anew_while_its_job_runs_waits_for_the_old_pod(here: Namespace, start_operator: StartOperator) -> None:
    storage, names = Storage(), [f"run-{number}" for number in range(6)]
    storage.held = True
    start_operator()
    with SlowKubelet(here.api, here.name, storage) as kubelet:
        prepare(here)
        here.api.apply_all([training_run(here.name, name) for name in names])
        wait_until(lambda: kubelet.steps().count("train") == 6, what="six pods to run")
        old = {job["metadata"]["uid"]: job for job in here.jobs()}
        assert {told_uid(pod) for pod in here.pods()} == old.keys(), "a pod knows its Job, whose uid its checkpoints' address bears"
        kubelet.graceful = True
        for name in names:
            here.api.delete(training_run(here.name, name))
            here.api.apply(training_run(here.name, name))

        def reasons() -> list[str]:
            return [condition(here.get(name)).get("reason", "") for name in names]

        wait_until(lambda: set(reasons()) == {"WaitingForPredecessor"}, what=lambda: f"all to wait: {reasons()}")
        wait_until(lambda: not here.jobs(), what="the old Jobs to be collected")
        going = lambda: [pod for pod in here.pods() if pod["metadata"].get("deletionTimestamp")]  # noqa: E731
        wait_until(lambda: len(going()) == 6, what="the old pods to be collected after their Jobs, with their grace")
        assert len(here.pods()) == 6
        for name in names:  # they are looked at again, while the old pods have their grace
            here.api.patch(training_run(here.name, name), {"spec": {"failurePolicy": {"maxRestarts": 7}}})
        wait_until(lambda: all(here.status(name).get("observedGeneration") == 2 for name in names), what="a look at each")
        assert set(reasons()) == {"WaitingForPredecessor"}
        assert here.jobs() == []
        kubelet.graceful = storage.held = False
        here.until_ready(*names)
    assert not old.keys() & {job["metadata"]["uid"] for job in here.jobs()}
    assert (storage.trainings, kubelet.steps().count("train")) == (6, 12)


def test_a_job_deleted_between_its_end_and_the_status_is_not_done_again(here: Namespace, start_operator: StartOperator) -> None:
    """The operator was away. What the Job made is found by the next one."""
    storage, names = Storage(), [f"run-{number}" for number in range(5)]
    storage.held = True
    operator = start_operator()
    with PretendKubelet(here.api, here.name, storage) as kubelet:
        prepare(here)
        here.api.apply_all([training_run(here.name, name) for name in names])
        wait_until(lambda: kubelet.steps().count("train") == 5, what="five pods to run")
        wait_until(lambda: all(here.status(name).get("folds", [{}])[0].get("job") for name in names), what="a status")
        operator.kill()
        storage.held = False

        def complete() -> bool:
            return all(
                any(c["type"] == "Complete" for c in (job.get("status") or {}).get("conditions") or []) for job in here.jobs()
            )

        wait_until(complete, what="the Jobs to end")
        for job in here.jobs():
            here.api.delete(job)
        wait_until(lambda: not here.pods(), what="nothing to be left of them")
        assert storage.trainings == 5
        start_operator()
        here.until_ready(*names)
        rows = [here.status(name)["folds"][0] for name in names]
    assert storage.trainings == 5, "nothing was trained anew"
    assert [(row["found"], row["attempt"], row["restarts"]) for row in rows] == [(True, 1, 0)] * 5


def test_the_order_of_a_job_that_queues_is_made_again(here: Namespace, start_operator: StartOperator) -> None:
    """Half of them wait for Kueue, half for their node."""
    storage, names = Storage(), [f"run-{number}" for number in range(4)]
    start_operator()
    with PretendKubelet(here.api, here.name, storage):
        prepare(here)
    here.api.apply_all([training_run(here.name, name, queueName="team") for name in names[:2]])
    here.api.apply_all([training_run(here.name, name) for name in names[2:]])
    wait_until(lambda: all(here.jobs(name) for name in names), what="the Jobs")
    before = {name: here.orders(name) for name in names}
    for [order] in before.values():
        here.api.delete(order)
    for name in names[:2]:
        [job] = here.jobs(name)
        here.api.patch(job, {"spec": {"suspend": False}})  # as Kueue does
    wait_until(lambda: all(here.orders(name) for name in names), what="the orders to be there again")
    for name, [order] in before.items():
        [again] = here.orders(name)
        assert (again["data"], again["metadata"]["name"]) == (order["data"], order["metadata"]["name"])
        assert again["metadata"]["uid"] != order["metadata"]["uid"]
    with PretendKubelet(here.api, here.name, storage) as kubelet:
        here.until_ready(*names)
        here.until_idle()
    assert kubelet.steps() == ["train"] * 4, "each by its first attempt"
    assert not [order for name in names for order in here.orders(name)]


SETTINGS = Settings(storage=StorageSpec(uri="s3://nnunet", secret_name="s3"), trainer_image="example/trainer:1")


class Killed(Exception):
    """The operator ends here."""


class KilledWhileDeleting(CachedApi):
    """Is killed before the deletion that follows `left` others."""

    left = 0

    async def delete(self, key: Key, uid: str) -> bool:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return await super().delete(key, uid)


def test_killed_between_two_deletions_nothing_is_left(
    here: Namespace, control_plane: ControlPlane, start_operator: StartOperator
) -> None:
    storage, names = Storage(), [f"run-{number}" for number in range(3)]
    storage.held = True
    operator = start_operator()
    with PretendKubelet(here.api, here.name, storage) as kubelet:
        prepare(here)
        here.api.apply_all([training_run(here.name, name) for name in names])
        wait_until(lambda: kubelet.steps().count("train") == 3, what="three pods to run")
        operator.kill()
        storage.held = False
        here.until_complete()
        left = asyncio.run(_settle_and_die(control_plane, here.name, names))
        assert left == {name: number for number, name in enumerate(names)}
        start_operator()
        here.until_ready(*names)
        here.until_idle()
    assert [order["metadata"]["name"] for name in names for order in here.orders(name)] == []
    assert storage.trainings == 3


async def _settle_and_die(plane: ControlPlane, namespace: str, names: list[str]) -> dict[str, int]:
    """Store what came of each run, then die between the deletions; how many of them each run got."""
    done: dict[str, int] = {}
    for number, name in enumerate(names):
        api = await connect(plane.kubeconfig)
        try:
            cache = ObjectCache()
            await Relist(api, cache, (namespace,), 60, lambda _: None).fill()
            client = KilledWhileDeleting(api, cache)
            recorder = EventRecorder(client, "tests", UNANSWERED)
            about = Reconciliation(client, cache, recorder, SETTINGS, datetime.now(UTC))
            key, later = Key("TrainingRun", namespace, name), datetime.now(UTC) + timedelta(seconds=30)
            client.left = number
            try:
                await about.pass_over(key, later, {})  # its end is stored first
                done[name] = number - client.left
            except Killed:
                done[name] = number
        finally:
            await api.close()
    return done
