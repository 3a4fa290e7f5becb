"""What each check makes of what it sees, without a cluster."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nnunet_operator.api import reasons
from nnunet_operator.api.fields.uris import StorageSpec
from nnunet_operator.api.resources import KINDS
from nnunet_operator.api.schema import crds
from nnunet_operator.cluster.diagnosis import findings, installed_crds, leader, objects, storage
from nnunet_operator.cluster.diagnosis.findings import Finding, Level
from nnunet_operator.cluster.diagnosis.storage import Place

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PATIENCE = timedelta(minutes=10)


def at(minutes: float) -> str:
    """So many minutes ago."""
    return (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# -- definitions --


def schema(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return copy.deepcopy(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_definition_is_said_to_be_so(kind: str) -> None:
    found = installed_crds.compare("x", schema(kind), schema(kind))
    assert (found.level, found.message) == (Level.OK, "it is that of this version")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["spec", "status", "spec.template", "spec.template.env[]"])
def test_a_field_more_or_less_or_otherwise_is_named(kind: str, where: str) -> None:
    def changed(change: Any) -> dict[str, Any]:
        whole = schema(kind)
        node = whole
        for part in where.split("."):
            node = node["properties"][part.removesuffix("[]")]
            node = node["items"] if part.endswith("[]") else node
        change(node)
        return whole

    def compare(change: Any) -> Finding:
        return installed_crds.compare("x", changed(change), schema(kind))

    field = next(iter(schema(kind)["properties"]["spec"]["properties"])) if where == "spec" else {
        "status": "observedGeneration", "spec.template": "scratch", "spec.template.env[]": "valueFrom"
    }[where]  # fmt: skip
    older = compare(lambda node: node["properties"].pop(field))
    assert (older.level, f"lacks {where}.{field};" in older.message) == (Level.PROBLEM, True), older
    newer = compare(lambda node: node["properties"].update(tomorrow={"type": "string"}))
    assert (newer.level, f"has {where}.tomorrow;" in newer.message) == (Level.WARNING, True), newer
    both = compare(lambda node: node["properties"].update(tomorrow=node["properties"].pop(field)))
    assert both.level is Level.PROBLEM
    assert "of another version" in both.message
    other = compare(lambda node: node.update(description="something else"))
    assert (other.level, where in other.message) == (Level.WARNING, True), other


def test_a_value_more_or_less_is_named() -> None:
    fewer = schema("TrainingRun")
    gone = fewer["properties"]["spec"]["properties"]["validation"]["enum"].pop()
    older = installed_crds.compare("x", fewer, schema("TrainingRun"))
    assert (older.level, f"lacks spec.validation: the value {gone!r};" in older.message) == (Level.PROBLEM, True), older
    newer = installed_crds.compare("x", schema("TrainingRun"), fewer)
    assert (newer.level, f"has spec.validation: the value {gone!r};" in newer.message) == (Level.WARNING, True), newer


# -- leader --


@pytest.mark.parametrize(
    ("spec", "level", "said"),
    [
        ({"holderIdentity": "a", "renewTime": at(0.05), "acquireTime": at(600)}, Level.OK, "held by a for 10h"),
        ({"holderIdentity": "a", "renewTime": at(0.05), "leaseTransitions": 3}, Level.OK, "held by a; it changed hands 3 times"),
        ({"holderIdentity": "a", "renewTime": at(30), "leaseDurationSeconds": 12}, Level.PROBLEM, "a renewed it last 30m ago"),
        ({"holderIdentity": "a"}, Level.PROBLEM, "a never renewed it"),
        ({"holderIdentity": "", "renewTime": at(3)}, Level.PROBLEM, "nobody holds it since 3m"),
        ({}, Level.PROBLEM, "nobody holds it: no operator runs"),
        ({"holderIdentity": "a", "renewTime": "yesterday"}, Level.PROBLEM, "never renewed it"),
    ],
)
def test_who_leads(spec: dict[str, Any], level: Level, said: str) -> None:
    found = leader.judged(spec, "lease x/y", "hint", NOW)
    assert found.level is level
    assert said in found.message


# -- objects --


def run(*conditions: tuple[str, str, str, str], age: float = 60, since: float = 30, observed: int | None = 1, **meta: Any) -> Any:
    stands = [
        {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(since)}
        for kind, status, reason, message in conditions
    ]
    metadata = {"name": "r", "namespace": "n", "generation": 1, "creationTimestamp": at(age), **meta}
    status = {"observedGeneration": observed, "conditions": stands} if observed is not None else {}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": metadata, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("manifest", "level", "said"),
    [
        (run(("Ready", "True", "Completed", "")), None, ""),
        (run(("Ready", "False", reasons.TRAINING, "fold 0: epoch 7")), None, ""),
        (run(("Ready", "False", reasons.UNSCHEDULABLE, "no node"), since=5), None, ""),
        (run(("Ready", "False", reasons.UNSCHEDULABLE, "no node")), Level.WARNING, "not Ready for 30m, now Unschedulable: no node"),
        (run(("Ready", "False", reasons.QUEUED, "in queue q")), Level.WARNING, "Queued: in queue q"),
        (run(("Ready", "False", "InvalidCases", "case_3"), ("Stalled", "True", "x", "")), Level.PROBLEM, "InvalidCases: case_3"),
        (run(observed=None), Level.PROBLEM, "no operator has looked at it in 60m"),
        (run(observed=None, age=0.5), None, ""),
        (run(("Ready", "True", "Completed", ""), generation=2), Level.WARNING, "its spec was changed, and no operator"),
        (run(("Ready", "True", "x", ""), deletionTimestamp=at(30), finalizers=["a/b"]), Level.PROBLEM, "for 30m; a/b hold it"),
        (run(("Ready", "True", "x", ""), deletionTimestamp=at(5), finalizers=["a/b"]), None, ""),
        (run(("Ready", "True", "x", ""), ("FieldsIgnored", "True", "UnknownField", "spec.new")), Level.WARNING, "spec.new"),
    ],
)  # fmt: skip
def test_what_does_not_go_on_is_told_with_a_remedy(manifest: Any, level: Level | None, said: str) -> None:
    found = list(objects.findings(manifest, PATIENCE, NOW))
    assert [finding.level for finding in found] == ([level] if level else [])
    for finding in found:
        assert said in finding.message
        assert finding.about == "TrainingRun n/r"
        assert finding.hint


def test_a_suspended_run_waits_for_a_person() -> None:
    manifest = run(("Ready", "False", reasons.SUSPENDED, "at epoch 7"))
    manifest["spec"] = {"suspend": True}
    assert list(objects.findings(manifest, PATIENCE, NOW)) == []


# -- storage --

DEFAULT = StorageSpec.model_validate({"uri": "s3://b/x", "endpoint": "https://s3:9000", "caConfigMap": "ca"})


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({}, []),
        ({"storage": {"uri": "s3://a/x"}}, [Place("s3://a", "")]),
        ({"source": {"uri": "s3://c/raw"}}, [Place("s3://c", "n", "https://s3:9000", None, "ca")]),
        ({"source": {"uri": "s3://b/raw", "secretName": "s"}}, [Place("s3://b", "n", "https://s3:9000", None, "ca")]),
        ({"source": {"uri": "s3://c/raw", "region": "eu"}}, [Place("s3://c", "", None, "eu")]),
        ({"source": {"uri": "pvc://claim/raw"}}, [Place("pvc://claim", "n")]),
        ({"source": {"uri": "file:///raw"}}, []),
    ],
)
def test_what_is_named_is_reached_as_jobs_reach_it(spec: Any, places: list[Place]) -> None:
    assert list(storage.named_by({"metadata": {"namespace": "n"}, "spec": spec}, DEFAULT)) == places


# -- output --


def test_text_and_json_say_the_same() -> None:
    found = [
        Finding(check="a", level=Level.OK, about="x", message="well"),
        Finding(check="longer", level=Level.PROBLEM, about="y", message="bad\nbadly", hint="Mend it."),
    ]
    assert findings.as_text(found).splitlines() == [
        "ok       a       x: well",
        "problem  longer  y: bad badly",
        "                 → Mend it.",
        "",
        "1 problem, 0 warnings, 0 unknown, 1 ok",
    ]
    data = json.loads(findings.as_json(found, "https://host"))
    assert (data["cluster"], data["problems"], data["warnings"]) == ("https://host", 1, 0)
    assert data["findings"][1] == {"check": "longer", "level": "problem", "about": "y", "message": "bad\nbadly", "hint": "Mend it."}


@pytest.mark.parametrize(
    ("error", "said"), [(TimeoutError(), "TimeoutError"), (OSError(), "OSError"), (OSError("no route"), "no route")], ids=repr
)
async def test_a_store_that_does_not_answer_is_told_with_why(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*_: object) -> None:
        raise error

    monkeypatch.setattr(storage, "_ask", ask)
    found = await storage._s3(None, storage.Place("s3://bucket", "n"))  # type: ignore[arg-type]
    assert found.message == f"no answer from here: {said}"
