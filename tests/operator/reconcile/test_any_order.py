"""Whatever happens, in whatever order: nothing is made twice, what is over stays over, and in the end all is well."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nnunet_operator.api.resources import parse
from nnunet_operator.reconcile.view import Key, Manifest
from nnunet_trainer.contract.report import Error
from support.world import KINDS, MemoryWorld, report_of

DATASET = """
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: data}
spec: {name: Dataset004_Hippocampus, source: {uri: "s3://nnunet/raw/Dataset004_Hippocampus"}}
"""
PLANS = """
apiVersion: nnunet.dev/v1alpha1
kind: Plans
metadata: {name: plans}
spec: {datasetRef: {name: data}, preprocessing: {configurations: [3d_fullres], shards: 2}}
"""
TRANSFER = """
apiVersion: nnunet.dev/v1alpha1
kind: PlanTransfer
metadata: {name: moved}
spec: {from: {plansRef: {name: plans}}, to: {datasetRef: {name: data}}, plansName: nnUNetPlans_moved}
"""
FIRST = """
apiVersion: nnunet.dev/v1alpha1
kind: TrainingRun
metadata: {name: first}
spec: {plansRef: {name: moved}, folds: [all], workers: {nodes: 2}}
"""
SECOND = """
apiVersion: nnunet.dev/v1alpha1
kind: TrainingRun
metadata: {name: second}
spec:
  plansRef: {name: plans}
  folds: ["0", "1", "2"]
  maxParallelFolds: 2
  pretrained: {runRef: {name: first, fold: all}}
  failurePolicy: {maxRestarts: 1}
  activeDeadlineSeconds: 3600
"""
ALL = {"data": DATASET, "plans": PLANS, "moved": TRANSFER, "first": FIRST, "second": SECOND}
KIND_OF = {"data": "Dataset", "plans": "Plans", "moved": "PlanTransfer", "first": "TrainingRun", "second": "TrainingRun"}
any_number = st.integers(0, 1000)


class LaggingWorld(MemoryWorld):
    """New Jobs and pods are seen late, in any order; what was seen once stays seen."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen: set[str] = set()
        self.lagging = False

    def owned(self, uid: str, kind: str) -> list[Manifest]:
        return [o for o in super().owned(uid, kind) if o["metadata"]["name"] not in self.unseen]

    def put(self, manifest: Manifest | str) -> Manifest:
        found = super().put(manifest)
        if self.lagging and found["kind"] in ("Job", "Pod") and "status" not in found:
            self.unseen.add(found["metadata"]["name"])
        return found


class AnyOrder(RuleBasedStateMachine):
    """Five objects, a Job controller, people and an operator that is killed, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = LaggingWorld()
        self.live = False
        self.reruns = 0
        self.over: dict[tuple[str, str, str | None], tuple[str, Any]] = {}
        self.deleted_unseen: set[str] = set()
        self.read: dict[Key, Manifest] = {}

    @initialize(
        live=st.booleans(), lagging=st.booleans(), background=st.booleans(), ahead=st.sampled_from(["nothing", "data", "first"])
    )
    def begin(self, live: bool, lagging: bool, background: bool, ahead: str) -> None:
        self.live, self.world.background = live, background
        if ahead != "nothing":
            self.apply_all()
            self.world.settle()
            for _ in range(20):
                if self.world.jobs(owner_name="first" if ahead == "data" else "second"):
                    break
                for job in self.open_jobs():
                    self.world.finish(job)
                self.world.settle()
        self.world.lagging = lagging

    def pick(self, found: list[Any], number: int) -> Any:
        return found[number % len(found)]

    def open_jobs(self) -> list[Manifest]:
        jobs = [job for job in self.world.jobs() if not job.get("status", {}).get("conditions")]
        return [job for job in jobs if not job["metadata"].get("deletionTimestamp")]

    # People.
    @rule(name=st.sampled_from(sorted(ALL)))
    def apply(self, name: str) -> None:
        if Key(KIND_OF[name], "default", name) not in self.world.objects:
            self.world.put(ALL[name])

    @rule()
    def apply_all(self) -> None:
        for name in ALL:
            self.apply(name)

    @precondition(lambda self: len(self.world.objects) > 4)
    @rule(name=st.sampled_from(["data", "plans"]))
    def delete_a_reference(self, name: str) -> None:
        self.world.remove(KIND_OF[name], name)
        self.over = {k: v for k, v in self.over.items() if k[0] != name}

    @rule(name=st.sampled_from(["first", "second"]), suspend=st.booleans())
    def suspend(self, name: str, suspend: bool) -> None:
        if Key("TrainingRun", "default", name) in self.world.objects:
            self.world.edit("TrainingRun", name, suspend=suspend)

    @rule(name=st.sampled_from(sorted(ALL)))
    def rerun(self, name: str) -> None:
        if Key(KIND_OF[name], "default", name) in self.world.objects:
            self.reruns += 1
            self.world.edit(KIND_OF[name], name, rerun=str(self.reruns))
            self.over.clear()

    @rule(seconds=st.sampled_from([1, 20, 400, 4000, 40_000, -400, -40_000]))
    def time_passes(self, seconds: int) -> None:
        """Or a clock is set, forwards or back."""
        self.world.wait(seconds=seconds)
        self.world.end_deletions(overdue=True)

    # The operator.
    @rule(number=any_number, steps=st.sampled_from([None, None, None, 0, 1, 2, 3]))
    def reconcile_one(self, number: int, steps: int | None) -> None:
        keys = [key for key in self.world.objects if key.kind in KINDS]
        if keys:
            key = self.pick(keys, number)
            outcome = self.world.outcome(key.kind, key.name)
            assert outcome == self.world.outcome(key.kind, key.name), "from the same world it always says the same"
            if outcome is not None:
                self.world.carry_out(key, outcome, steps=steps)

    @rule(times=st.integers(1, 3))
    def reconcile_all(self, times: int) -> None:
        for _ in range(times):
            self.world.turn()

    @rule()
    def watches_catch_up(self) -> None:
        self.world.unseen.clear()

    # The cluster.
    @precondition(lambda self: self.open_jobs())
    @rule(number=any_number)
    def run(self, number: int) -> None:
        self.world.run(self.pick(self.open_jobs(), number))

    @precondition(lambda self: self.open_jobs())
    @rule(number=any_number, reason=st.sampled_from(["ImagePullBackOff", "ContainerCreating", "CreateContainerConfigError"]))
    def hold(self, number: int, reason: str) -> None:
        job = self.pick(self.open_jobs(), number)
        if not self.world.pods(job["metadata"]["name"]):
            self.world.hold(job, reason)

    @precondition(lambda self: self.open_jobs())
    @rule(number=any_number, epoch=st.integers(0, 9))
    def say(self, number: int, epoch: int) -> None:
        job = self.pick(self.open_jobs(), number)
        self.world.run(job)
        self.world.say(job, phase="training", epoch=epoch, epochs=10, done=epoch, total=10)

    @precondition(lambda self: self.open_jobs())
    @rule(number=any_number, text=st.sampled_from([None, None, None, "", "garbage", '{"step":"train","summary":{"cases":-1}}']))
    def finish(self, number: int, text: str | None) -> None:
        job = self.pick(self.open_jobs(), number)
        self.world.finish(job, report_of(job) if text is None else text)

    @precondition(lambda self: self.open_jobs())
    @rule(number=any_number, code=st.sampled_from([1, 64, 65, 71, 74, 75, 78, 137, 143]), told=st.booleans(), oom=st.booleans())
    def fail(self, number: int, code: int, told: bool, oom: bool) -> None:
        error = Error(code=code, reason="SomeReason", message="something is wrong") if told else None
        self.world.fail(self.pick(self.open_jobs(), number), code, error=error, oom=oom and code == 137, epoch=5)

    @precondition(lambda self: self.open_jobs())
    @rule(number=any_number, gone=st.booleans())
    def disrupt(self, number: int, gone: bool) -> None:
        self.world.disrupt(self.pick(self.open_jobs(), number), gone=gone)

    @precondition(lambda self: self.world.jobs())
    @rule(number=any_number, seen=st.booleans())
    def delete_a_job_by_hand(self, number: int, seen: bool) -> None:
        job = self.pick(self.world.jobs(), number)
        if not seen:
            self.deleted_unseen.add(job["metadata"]["name"])
        self.world.remove("Job", job["metadata"]["name"], seen=seen)

    @precondition(lambda self: [job for job in self.world.jobs() if job.get("status")])
    @rule(number=any_number)
    def pods_are_gone(self, number: int) -> None:
        self.world.drop_pods(self.pick([job for job in self.world.jobs() if job.get("status")], number))

    @rule()
    def deletions_end(self) -> None:
        self.world.end_deletions()

    @invariant()
    def a_live_operator_follows(self) -> None:
        if self.live:
            self.world.turn()

    # What always holds.
    @invariant()
    def one_attempt_at_a_time(self) -> None:
        at_work: dict[tuple[str, ...], set[str]] = {}
        for key, found in self.world.objects.items():
            if key.kind == "Pod" and found["status"]["phase"] == "Running":
                labels = found["metadata"]["labels"]
                what = tuple(labels.get(f"nnunet.dev/{name}", "") for name in ("owner-uid", "step", "configuration", "fold"))
                at_work.setdefault(what, set()).add(labels["nnunet.dev/attempt"])
        # The cluster's shell sees its own Jobs at once. An operator that does not may start another: that one has its own prefix.
        assert self.world.lagging or all(len(attempts) == 1 for attempts in at_work.values()), at_work

    @invariant()
    def no_more_folds_at_once_than_allowed(self) -> None:
        rows = self.world.status("TrainingRun", "second").get("folds", []) if self.exists("second") else []
        assert sum(row["state"] in ("Starting", "Queued", "Running", "Validating", "BackingOff") for row in rows) <= 2

    @invariant()
    def what_is_over_stays_over(self) -> None:
        for name in ("first", "second"):
            status = self.world.status("TrainingRun", name) if self.exists(name) else {}
            for row in status.get("folds", []):
                # A rerun counts from the pass that takes it up, which may come long after it was asked for.
                key, end = (name, row["name"], status.get("rerunObserved")), (row["state"], row.get("completionTime"))
                assert self.over.get(key, end) == end, "a terminal state is left only by a rerun"
                if row["state"] in ("Succeeded", "Failed"):
                    self.over[key] = end

    @invariant()
    def each_status_can_be_read_and_makes_sense(self) -> None:
        for key in [key for key in self.world.objects if key.kind in KINDS]:
            stored = self.world.status(key.kind, key.name)
            if not stored or self.read.get(key) is stored:
                continue
            self.read[key] = stored
            again = parse(self.world.objects[key]).status.to_json()
            assert again == stored
            held = {c["type"]: c["status"] for c in stored["conditions"]}
            assert not ({"Reconciling", "Stalled"} <= held.keys())
            assert held["Ready"] == "False" or not {"Reconciling", "Stalled"} & held.keys()

    def exists(self, name: str) -> bool:
        return Key(KIND_OF[name], "default", name) in self.world.objects

    def teardown(self) -> None:
        """Everything is mended: all must end well, whatever was before, and reconciling again changes nothing."""
        world = self.world
        world.lagging = False
        world.unseen.clear()
        for name in ALL:
            self.apply(name)
        for name in ("first", "second"):
            world.edit("TrainingRun", name, suspend=False)
        for count in range(300):
            world.end_deletions()
            world.turn()
            for job in self.open_jobs():
                world.finish(job)
            world.wait(seconds=60)
            unwell = [name for name in ALL if world.condition(KIND_OF[name], name)[0] != "True"]
            if not unwell and not world.jobs():
                break
            stuck = [name for name in unwell if world.condition(KIND_OF[name], name, "Stalled")[0] == "True"]
            if count % 20 == 19:
                for name in stuck:
                    self.reruns += 1
                    world.edit(KIND_OF[name], name, rerun=f"end-{self.reruns}")
        assert not unwell, {name: world.condition(KIND_OF[name], name) for name in unwell}
        assert not world.jobs()
        twice = {name for name in world.created if world.created.count(name) > 1}
        assert twice <= self.deleted_unseen, "no Job is made twice"
        world.settle()
        world.wait(days=2)
        assert not world.turn(), "nothing changes any more"


AnyOrder.TestCase.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
