"""Parsing, conditions, and the CRDs as files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_operator.api import conditions, reasons
from nnunet_operator.api.resources import KINDS, Plans, TrainingRun, kind_of, parse
from nnunet_operator.api.schema import crds, validation
from nnunet_operator.api.training_run import FoldStatus
from nnunet_trainer.contract.faults import BadUsage

from .api_manifests import GOOD, plans, run

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)

# -- CRDs --


def test_the_files_are_in_step_with_the_models() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert files == {name: crds.dump(made) for name, made in crds.generate().items()}, "run: nnunet-operator crds -o crds"


def test_write_makes_the_folder(tmp_path: Path) -> None:
    paths = crds.write(tmp_path / "a" / "b")
    assert [path.name for path in paths] == [f"nnunet.dev_{model.plural}.yaml" for model in KINDS.values()]
    assert all(yaml.safe_load(path.read_text())["kind"] == "CustomResourceDefinition" for path in paths)


@pytest.mark.parametrize("kind", KINDS)
def test_a_crd_is_small_and_structural(kind: str) -> None:
    crd = crds.crd(kind)
    assert len(crds.dump(crd)) < 70_000
    assert len(json.dumps(crd)) < 262_144  # what `kubectl apply` can keep in its annotation
    for path, node in _nodes(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        assert not {"$ref", "anyOf", "allOf", "oneOf", "title", "uniqueItems"} & node.keys(), path
        assert not ("properties" in node and "additionalProperties" in node), path
        if node.get("x-kubernetes-int-or-string"):
            assert "type" not in node, path
            assert {"pattern", "maxLength", "minimum"} <= node.keys(), path
            continue
        if (
            node["type"] == "string"
            and not {"enum", "format"} & node.keys()
            and path not in ("apiVersion", "kind", "metadata.name")
        ):
            assert "maxLength" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
            if node["items"].get("type") == "object" and path != "spec.template.tolerations":
                assert node["x-kubernetes-list-type"] == "map", path


def _nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        found += _nodes(child, f"{path}.{name}".lstrip("."))
    for key in ("items", "additionalProperties"):
        if key in schema:
            found += _nodes(schema[key], f"{path}[]")
    return found


NUMBERS_OF_PLANNING = {"gpuMemoryGB", "targetSpacing[]"}
MEASURED = {
    "trainLoss", "valLoss", "pseudoDice", "validationDice", "dicePerLabel[]", "meanDice",
    "spacing[]", "medianSpacing[]", "medianShape[]", "estimatedGpuMemoryGB",
}  # fmt: skip
SECONDS = {"seconds", "runningSeconds"}


@pytest.mark.parametrize("kind", KINDS)
def test_fractions_are_left_to_planning_and_to_what_was_measured(kind: str) -> None:
    nodes = _nodes(crds.schema(KINDS[kind]))
    found = {(path.split(".")[0], path.rpartition(".")[2]) for path, node in nodes if node.get("type") == "number"}
    assert {name for part, name in found if part == "spec"} <= NUMBERS_OF_PLANNING
    assert {name for part, name in found if part == "status"} <= MEASURED | SECONDS


@pytest.mark.parametrize(("stored", "read"), [(60, 60), (60.4, 60), (59.6, 60), (0, 0), (0.2, 0)])
@pytest.mark.parametrize("field", sorted(SECONDS))
def test_durations_are_whole_seconds_also_where_a_fraction_was_stored(stored: float, read: int, field: str) -> None:
    fold = FoldStatus.model_validate({"name": "0", field: stored}).to_json()[field]
    assert (fold, type(fold)) == (read, int)


@pytest.mark.parametrize(
    ("written", "minutes"), [(10, 10), (10.0, 10), (0.5, 0.5), ("0.5", 0.5), ("10", 10), ("100000", 100_000), ("12.25", 12.25)]
)
def test_minutes_are_read_however_they_were_written(written: Any, minutes: float) -> None:
    spec = parse(run(checkpoint={"everyMinutes": written})).spec
    assert spec.checkpoint.every_minutes == minutes
    again = {**run(), "spec": spec.to_json()}
    assert validation.findings(again) == []
    assert parse(again).spec == spec


@pytest.mark.parametrize("written", [0, -1, "0", "-1", "1e3", "nan", "inf", "", "ten", "100000.5", True, None, [1]])
def test_minutes_that_are_none_are_not_read(written: Any) -> None:
    manifest = run(checkpoint={"everyMinutes": written})
    if written is not None:  # which is as good as nothing
        assert validation.findings(manifest)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_of_the_design(kind: str) -> None:
    spec = crds.crd(kind)["spec"]
    short = {"Dataset": "nnds", "Plans": "nnplans", "PlanTransfer": "nntransfer", "TrainingRun": "nnrun"}[kind]
    assert spec["names"]["shortNames"] == [short]
    assert spec["names"]["categories"] == ["nnunet"]
    assert spec["versions"][0]["subresources"] == {"status": {}}
    columns = [column["name"] for column in spec["versions"][0]["additionalPrinterColumns"] if not column.get("priority")]
    assert columns[-3:] == ["Ready", "Reason", "Age"]


def test_every_message_of_a_rule_is_for_people() -> None:
    for kind, model in KINDS.items():
        for path, node in _nodes(crds.schema(model)):
            for validation_ in node.get("x-kubernetes-validations", ()):
                assert validation_["message"], (kind, path)
                assert "self." not in validation_["message"], (kind, path)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_admitted(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        assert validation.findings(manifest) == []


def test_there_is_an_example_of_each_kind() -> None:
    kinds = {m["kind"] for path in (ROOT / "examples").glob("*.yaml") for m in yaml.safe_load_all(path.read_text())}
    assert kinds == set(KINDS)


# -- parsing --


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("nnrun", "TrainingRun"),
        ("TrainingRuns", "TrainingRun"),
        ("plans", "Plans"),
        ("dataset.nnunet.dev", "Dataset"),
        ("nntransfer", "PlanTransfer"),
    ],
)
def test_a_kind_by_any_of_its_names(word: str, kind: str) -> None:
    assert kind_of(word) == kind


def test_an_unknown_kind_names_its_neighbour() -> None:
    with pytest.raises(BadUsage, match="Did you mean"):
        kind_of("nnruns")


def test_a_spec_that_does_not_fit_is_told_by_field() -> None:
    with pytest.raises(BadUsage) as refused:
        parse(run(folds=["x"], suspend="perhaps"))
    assert {finding.split(":")[0] for finding in refused.value.findings} == {"spec.folds[0]", "spec.suspend"}


def test_what_is_not_known_is_refused_at_admission_and_read_when_it_is_stored() -> None:
    manifest = run(wokers={"nodes": 2})
    assert validation.findings(manifest) == ['unknown field "spec.wokers" (did you mean workers?)']
    assert parse(manifest).spec.to_json() == manifest["spec"]


@pytest.mark.parametrize(
    "status",
    [
        None,
        "gone",
        [],
        {"folds": "none"},
        {"folds": [{"state": "Running"}]},
        {"conditions": [{"type": "Ready"}]},
        {"foreign": {"a": 1}},
    ],
)
def test_a_status_that_cannot_be_read_is_left_out(status: Any) -> None:
    resource = parse({**run(), "status": status})
    assert isinstance(resource, TrainingRun)
    assert resource.status.folds == []
    assert resource.status.conditions == []


def test_the_readable_part_of_a_status_is_kept() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "Completed", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    resource = parse({**run(), "status": {"folds": 5, "conditions": [condition], "rerunObserved": "2"}})
    assert resource.status.conditions[0].last_transition_time == NOW
    assert resource.status.rerun_observed == "2"


def test_what_of_a_status_cannot_be_read_costs_nothing_beside_it() -> None:
    at = "2026-01-02T03:04:05Z"
    before_time = "0001-01-01T00:00:00+14:00"  # before the year 1 in UTC
    good, done = {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": at}, {"state": "Succeeded", "attempt": 2}
    conditions = [
        {"type": "Novel"},
        good,
        {**good, "type": "Early", "lastTransitionTime": before_time},
        {**good, "type": "Trained"},
    ]
    folds = [
        {"name": "0", **done, "message": "x" * 9000, "eta": "x" * 40, "startTime": before_time},
        {"name": "1", **done, "checkpoint": {"epoch": 3}, "warnings": ["w", "x" * 2000, "v"], "dicePerLabel": {"1": 0.5, "2": "?"}},
        {**done},
        {"name": "3", **done, "artifact": {"uri": "s3://" + "x" * 3000}},
    ]
    status = parse({**run(), "status": {"folds": folds, "conditions": conditions, "seed": 2**40, "plans": "p"}}).status.to_json()
    assert [condition["type"] for condition in status["conditions"]] == ["Ready", "Trained"]
    assert [fold["name"] for fold in status["folds"]] == ["0", "1", "3"]
    assert all(fold["state"] == "Succeeded" and fold["attempt"] == 2 for fold in status["folds"])
    assert not {"message", "eta", "startTime", "artifact", "checkpoint"} & set().union(*status["folds"])
    assert (status["folds"][1]["warnings"], status["folds"][1]["dicePerLabel"]) == (["w", "v"], {"1": 0.5})
    assert "seed" not in status
    assert status["plans"] == "p"


def test_status_survives_the_way_out_and_in() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "Training", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    checkpoint = {"uri": "s3://b/c", "epoch": 3, "sha256": "0" * 64}
    fold = {
        "name": "0",
        "state": "Running",
        "attempt": 1,
        "restarts": 1,
        "checkpoint": checkpoint,
        "startTime": "2026-01-02T03:04:05Z",
    }
    status = {"observedGeneration": 3, "epoch": "3/9", "conditions": [ready], "folds": [fold]}
    written = parse({**run(), "status": status}).status.to_json()
    assert parse({**run(), "status": written}).status.to_json() == written
    assert written["folds"][0] == {**written["folds"][0], **fold}
    assert written == {**written, **status, "folds": written["folds"]}
    assert None not in written.values()


def _spelled_alike(value: Any) -> Any:
    """With each number as text: `4` and `"4"` are the same."""
    if isinstance(value, dict):
        return {key: _spelled_alike(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelled_alike(item) for item in value]
    return f"{value:.15g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@pytest.mark.parametrize("name", GOOD)
def test_a_spec_survives_the_way_out_and_in(name: str) -> None:
    resource = parse(GOOD[name])
    assert _spelled_alike(resource.spec.to_json()) == _spelled_alike(GOOD[name]["spec"])
    assert validation.findings({**GOOD[name], "spec": resource.spec.to_json()}) == []


def test_fold_all_is_not_validated_unless_it_is_a_number() -> None:
    specs = [parse(run(folds=["all"])).spec, parse(run()).spec, parse(run(validation="Skip")).spec]
    assert [spec.validates for spec in specs] == [False, True, False]


def test_a_configuration_is_found_by_name() -> None:
    resource = parse({**plans(), "status": {"configurations": [{"name": "2d", "batchSize": 4}]}})
    assert isinstance(resource, Plans)
    found = resource.status.configuration("2d")
    assert found is not None
    assert found.batch_size == 4
    assert resource.status.configuration("3d_fullres") is None


def test_a_spec_cannot_be_changed_in_memory() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(run()).spec.suspend = True


# -- conditions --


def test_transition_time_moves_only_with_the_status() -> None:
    first = conditions.set_condition([], "Ready", False, reasons.TRAINING, "a", now=NOW, generation=1)
    same = conditions.set_condition(first, "Ready", False, reasons.VALIDATING, "b", now=LATER, generation=2)
    other = conditions.set_condition(same, "Ready", True, reasons.COMPLETED, "c", now=LATER, generation=2)
    assert [c[0].last_transition_time for c in (first, same, other)] == [NOW, NOW, LATER]
    assert (same[0].reason, same[0].message, same[0].observed_generation) == ("Validating", "b", 2)
    assert first[0].reason == "Training", "the old list is left alone"


def test_a_message_of_any_length_fits() -> None:
    made = conditions.set_condition([], "Ready", False, "X", "m" * 100_000, now=NOW)
    assert len(made[0].message) == conditions.MAX_MESSAGE


_STEPS = st.lists(st.sampled_from([conditions.ready, conditions.reconciling, conditions.stalled]), min_size=1, max_size=6)


@settings(deadline=None, derandomize=True)
@given(steps=_STEPS)
def test_kstatus_reads_one_state_from_any_history(steps: list[Any]) -> None:
    made: list[conditions.Condition] = conditions.set_condition([], "Trained", False, "X", now=NOW)
    for step in steps:
        made = step(made, "Reason", "m", now=NOW, generation=1)
        assert step(made, "Reason", "m", now=LATER, generation=1) == made, "said again, nothing changes"
    holds = {kind for kind in ("Ready", "Reconciling", "Stalled") if conditions.is_true(made, kind)}
    assert holds == {{"ready": "Ready", "reconciling": "Reconciling", "stalled": "Stalled"}[steps[-1].__name__]}
    assert len({c.type for c in made}) == len(made)
    assert conditions.find(made, "Trained") is not None


def test_reasons_are_camel_case_and_differ() -> None:
    values = [value for name, value in vars(reasons).items() if name.isupper()]
    assert len(values) == len(set(values))
    assert all(value.isalnum() and value[0].isupper() for value in values)
