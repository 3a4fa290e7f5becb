"""Specs and statuses that another version of the operator and its CRDs has written: nothing of them is refused, nothing is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.api.common import State
from nnunet_operator.api.resources import KINDS, parse
from nnunet_operator.api.schema import crds
from nnunet_operator.reconcile.view import Key
from support import objects
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]
RUN = Key("TrainingRun", "default", "run")


def finish_all(world: MemoryWorld) -> None:
    for _ in range(6):
        world.settle()
        for job in world.jobs():
            if not job.get("status"):
                world.finish(job)


SPECS = [
    (objects.dataset(), ()),
    (objects.dataset(), ("source",)),
    (objects.dataset(splits={"groupBy": "^(.*)_"}), ("splits",)),
    (objects.plans(), ()),
    (objects.plans(planner={"name": "ExperimentPlanner"}), ("planner",)),
    (objects.plans(), ("preprocessing",)),
    (objects.transfer(), ()),
    (objects.transfer(), ("from", "plansRef")),
    (objects.run(), ()),
    (objects.run(trainer={"name": "nnUNetTrainer"}), ("trainer",)),
    (objects.run(template={"env": [{"name": "A", "value": "b"}]}), ("template", "env", 0)),
    (objects.run(), ("plansRef",)),
]


@pytest.mark.parametrize(("manifest", "where"), SPECS)
def test_a_spec_with_a_field_of_another_version_is_reconciled(manifest: dict[str, Any], where: tuple[Any, ...]) -> None:
    manifest = copy.deepcopy(manifest)
    part: Any = manifest["spec"]
    for name in where:
        part = part.setdefault(name, {}) if isinstance(name, str) else part[name]
    part["novel"] = {"deep": 7}
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    world = MemoryWorld()
    for other in (manifest, objects.dataset(), objects.plans(), objects.transfer(), objects.run()):
        if Key(other["kind"], "default", other["metadata"]["name"]) not in world.objects:
            world.put(other)
    finish_all(world)
    assert world.condition(kind, name)[0] == "True"
    status, reason, message = world.condition(kind, name, "FieldsIgnored")
    path = "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where) + ".novel"
    assert (status, reason) == ("True", "UnknownField")
    assert message.startswith(f"{path}: ")
    assert len([event for key, event in world.events if key == Key(kind, "default", name) and event.reason == "UnknownField"]) == 1
    assert world.objects[Key(kind, "default", name)]["spec"] == manifest["spec"]
    del part["novel"]
    world.put(manifest)
    world.settle()
    assert world.condition(kind, name, "FieldsIgnored")[0] == "-"


def test_nothing_is_said_to_be_ignored_where_all_is_known(train: Train) -> None:
    world = train(trainer={"name": "mine", "base": "nnUNetTrainer", "recipe": {"epochs": 5}}, template={"affinity": {"any": {}}})
    assert world.condition("TrainingRun", "run", "FieldsIgnored")[0] == "-"


def test_fields_of_a_status_that_another_version_wrote_are_kept(train: Train) -> None:
    world = train()
    status = world.objects[RUN]["status"]
    status["novel"] = {"seed": 5}
    status["folds"][0]["novel"] = [1, 2]
    status["conditions"].append(
        {"type": "Novel", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z", "novel": 1}
    )
    world.settle()
    world.run(world.job(owner_name="run"))
    world.settle()
    assert world.fold("run")["state"] == "Running"
    finish_all(world)
    found = world.status("TrainingRun", "run")
    assert world.condition("TrainingRun", "run")[0] == "True"
    assert found["novel"] == {"seed": 5}
    assert found["folds"][0]["novel"] == [1, 2]
    assert next(c for c in found["conditions"] if c["type"] == "Novel")["novel"] == 1


def test_a_job_is_gone_on_with_whatever_state_another_version_gave_it(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    created = len(world.created)
    world.objects[RUN]["status"]["folds"][0]["state"] = "Uploading"
    world.settle()
    assert world.fold("run")["state"] == "Running"
    world.objects[RUN]["status"]["folds"][0]["state"] = "Uploading"
    world.finish(job)
    world.settle()
    assert world.fold("run")["state"] == "Succeeded", "its report was read"
    assert len(world.created) == created, "and nothing was trained anew"


def test_a_state_of_another_version_without_a_job_is_left_as_it_is(train: Train) -> None:
    world = train(folds=["0", "1"])
    first = world.job(owner_name="run", fold="0")
    world.finish(first)
    world.settle()
    row = world.objects[RUN]["status"]["folds"][0]
    row["state"] = "Archived"
    before = copy.deepcopy(row)
    world.settle()
    assert world.fold("run") == before
    assert not world.jobs(owner_name="run", fold="0")
    assert "fold 0 is Archived, a state that only another version of the operator knows" in world.condition("TrainingRun", "run")[2]
    world.finish(world.job(owner_name="run", fold="1"))
    world.settle()
    assert world.fold("run", "1")["state"] == "Succeeded", "the others go on"
    assert world.fold("run") == before
    world.edit("TrainingRun", "run", rerun="again")
    world.settle()
    assert world.fold("run")["state"] == "Starting", "a person may decide"


@pytest.mark.parametrize(("kind", "name"), [("Dataset", "data"), ("Plans", "plans"), ("TrainingRun", "run")])
def test_a_text_that_is_longer_than_this_version_takes_costs_no_work_that_is_done(train: Train, kind: str, name: str) -> None:
    """Another version may allow longer ones: of what stands beside it nothing is forgotten, and nothing is made again."""

    def rows() -> list[dict[str, Any]]:
        status = world.status(kind, name)
        works = [*status.get("folds", []), *status.get("configurations", []), status.get("work") or {}]
        return [work for work in works if "attempt" in work]

    world = train(folds=["0", "1"])
    world.run(world.job(owner_name="run", fold="0"))
    finish_all(world)
    created, before = len(world.created), copy.deepcopy(rows())
    for row in rows():
        row |= {"message": "x" * 9000, "phase": "x" * 300, "job": "x" * 300}
    world.status(kind, name)["warnings"] = ["x" * 5000]
    world.settle()
    for row, old in zip(rows(), before, strict=True):
        assert {**row, "message": old.get("message"), "job": old["job"]} == {**old, "message": old.get("message")}
    assert len(world.created) == created
    assert world.condition(kind, name)[0] == "True"


@pytest.mark.parametrize("kind", KINDS)
def test_no_status_is_refused_for_a_value(kind: str) -> None:
    def enums(node: Any, path: str) -> list[str]:
        if isinstance(node, list):
            return [found for item in node for found in enums(item, path)]
        if not isinstance(node, dict):
            return []
        return [path] * isinstance(node.get("enum"), list) + [
            f for name, item in node.items() for f in enums(item, f"{path}.{name}")
        ]

    assert enums(crds.schema(KINDS[kind])["properties"]["status"], "status") == []
    if kind == "TrainingRun":
        assert enums(crds.schema(KINDS[kind])["properties"]["spec"], "spec"), "a spec's are checked as before"


def test_a_state_of_another_version_equals_no_other() -> None:
    state = State("Archived")
    assert (state.value, str(state), state.known, state.finished) == ("Archived", "Archived", False, False)
    assert state not in list(State)
    assert State("Running") is State.RUNNING
    assert State.RUNNING.known
    assert "Archived" not in State.__members__


def test_a_condition_of_a_value_that_nobody_knows_does_not_cost_the_others() -> None:
    made = [{"type": kind, "status": value, "reason": "R", "lastTransitionTime": "2026-01-02T03:04:05Z"} for kind, value in
            (("Ready", "True"), ("Novel", "Perhaps"))]  # fmt: skip
    resource = parse({**objects.run(), "status": {"conditions": made}})
    assert [(c["type"], c["status"]) for c in resource.status.to_json()["conditions"]] == [("Ready", "True"), ("Novel", "Perhaps")]
