"""Nothing that a person can write into an object makes of its pods more than they are meant to be, or stops the operator.

Each text of each kind is put to the test, wherever the examples have one: it is refused with a message that names its field, or
what comes of it is what comes of any other.
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

import pytest
from nnunet_operator.api.base import DEEPEST
from nnunet_operator.api.fields.own_keys import is_operators_key
from nnunet_operator.api.resources import KINDS, parse
from nnunet_operator.api.schema import crds, metadata, validation
from nnunet_trainer.contract import pod as contract
from nnunet_trainer.contract.faults import BadUsage
from nnunet_trainer.contract.work_order import decode
from support.objects import finish
from support.world import CHAIN, MemoryWorld

from .api_manifests import GOOD, Manifest, dataset, plans, run, transfer

LONG = 5000
TRICKS = {
    "long": "x" * 300,
    "longer": "x" * LONG,
    "climbs": "../../../etc/passwd",
    "climbs-within": "a/../../b",
    "dots": "..",
    "absolute": "/etc/passwd",
    "scheme": "http://169.254.169.254/latest",
    "climbing-uri": "s3://../x",
    "climbing-claim": "pvc://../x",
    "newline": "a\nb: c",
    "expansion": "$(POD_IP)",
    "template": "{{ .Values.x }}",
    "bidi": "a\u202eb",
    "upper": "NAME",
}
FREE_FORM = {"patch", "parameters", "recipe", "affinity"}
ROOTS = (
    contract.ORDER_MOUNT, contract.SECRETS_MOUNT, contract.CA_MOUNT, contract.PLUGINS_MOUNT, contract.CLAIMS_MOUNT,
    contract.SCRATCH_MOUNT, contract.DATASET_CACHE_MOUNT, "/tmp", "/dev/shm",
)  # fmt: skip
SOURCES = {"configMap", "secret", "persistentVolumeClaim", "emptyDir", "ephemeral"}
POD_FIELDS = {
    "restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds", "securityContext",
    "containers", "volumes", "serviceAccountName", "runtimeClassName", "nodeSelector", "affinity", "imagePullSecrets",
    "tolerations", "priorityClassName", "subdomain", "topologySpreadConstraints", "schedulerName", "resourceClaims",
}  # fmt: skip


def texts(value: Any, path: str = "spec") -> Iterator[tuple[str, Any, Any]]:
    """All texts below a value: the path, and where they are kept."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        where = validation.child(path, key)
        if isinstance(item, str):
            yield where, value, key
        elif key not in FREE_FORM:
            yield from texts(item, where)


def fields() -> list[tuple[str, str]]:
    """One example of each field of each kind that holds a text."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for name, manifest in GOOD.items():
        for path, _, _ in texts(manifest["spec"]):
            found.setdefault((manifest["kind"], path), (name, path))
    return list(found.values())


def with_text(name: str, path: str, text: str) -> Manifest:
    manifest = copy.deepcopy(GOOD[name])
    _, place, key = next(found for found in texts(manifest["spec"]) if found[0] == path)
    place[key] = text
    return manifest


@cache
def _trained() -> MemoryWorld:
    world = MemoryWorld()
    world.put(CHAIN.replace("name: data}", "name: hippocampus}").replace("name: plans}", "name: hippocampus}"))
    world.settle()
    for step in ("dataset", "plan", "preprocess"):
        finish(world, step)
    return world


def children(manifest: Manifest) -> list[Manifest]:
    """What an operator makes of an object, in a world where all that it may wait for is there."""
    world = copy.deepcopy(_trained())
    before = set(world.objects)
    world.put(copy.deepcopy(manifest))
    world.settle()
    return [made for key, made in world.objects.items() if key not in before and key.kind not in KINDS]


def is_harmless(child: Manifest) -> None:
    assert list(metadata.findings({k: v for k, v in child["metadata"].items() if k in ("name", "labels")})) == []
    if child["kind"] == "ConfigMap":
        decode(child["data"][contract.ORDER_FILE])
    if child["kind"] != "Job":
        return
    assert len(child["metadata"]["name"]) <= 63
    template = child["spec"]["template"]
    spec, (container,) = template["spec"], template["spec"]["containers"]
    assert set(spec) <= POD_FIELDS
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert container["command"] == ["nnunet-trainer"]
    assert container["args"] == ["run", f"{contract.ORDER_MOUNT}/{contract.ORDER_FILE}"]
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= SOURCES
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(set(mounts)) == len(mounts)
    for mount in mounts:
        assert posixpath.normpath(mount) == mount
        assert any(mount == root or mount.startswith(f"{root}/") for root in ROOTS)
    names = [variable["name"] for variable in container["env"]]
    assert len(set(names)) == len(names)
    assert contract.ENV_SHARD not in names, "the Job controller would leave it as it is"
    ours = {key: value for key, value in child["metadata"]["labels"].items() if is_operators_key(key)}
    assert template["metadata"]["labels"].items() >= ours.items()


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize(("name", "path"), fields(), ids=lambda value: str(value))
def test_a_text_is_refused_by_name_or_harmless(name: str, path: str, trick: str) -> None:
    manifest = with_text(name, path, TRICKS[trick])
    findings = validation.findings(manifest)
    if findings:
        field = re.escape(re.sub(r"\[[^]]*\]$", "", path))
        assert any(re.match(rf"{field}\b", line) or path.rpartition(".")[0] in line for line in findings), findings
        return
    assert trick != "longer" or "annotations" in path or path.endswith(".value")
    for child in children(manifest):
        is_harmless(child)


def _fields(schema: Manifest, path: str, types: Collection[str]) -> Iterator[tuple[str, Manifest]]:
    if schema.get("type") in types:
        yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from _fields(below, f"{path}.{name}", types)
    for below in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from _fields(below, f"{path}[]", types)


@pytest.mark.parametrize("manifest", [dataset(), plans(), run()], ids=lambda manifest: str(manifest["kind"]))
def test_what_is_not_hostile_has_a_job(manifest: Manifest) -> None:
    """Else the tests above would look at nothing."""
    assert [child["kind"] for child in children(manifest)] == ["ConfigMap", "Job"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_has_an_end(kind: str) -> None:
    spec = crds.schema(KINDS[kind])["properties"]["spec"]
    endless = [path for path, schema in _fields(spec, "spec", {"string"}) if not {"maxLength", "enum"} & schema.keys()]
    assert endless == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_has_an_end_or_a_policy_that_takes_any(kind: str) -> None:
    """What computes with a number of a spec meets none that it cannot bear: those without an end have tests of their own."""
    spec = crds.schema(KINDS[kind])["properties"]["spec"]
    endless = {path for path, schema in _fields(spec, "spec", {"integer", "number"}) if "maximum" not in schema}
    passed_on = {"spec.template.tolerations[].tolerationSeconds"}  # to the pod, as it is
    own = {"spec.activeDeadlineSeconds", "spec.ttlSecondsAfterFinished"} if kind == "TrainingRun" else set()
    assert endless == passed_on | own


def nested(depth: int, *, lists: bool = False) -> Any:
    """Data of any shape, so many objects (lists) deep."""
    data: Any = {}
    for _ in range(depth - 1):
        data = {"a": [data] if lists else data}
    return data


FREE: dict[str, Any] = {
    "Plans patch": lambda data: plans(patch=data),
    "Plans parameters": lambda data: plans(planner={"parameters": data}),
    "Plans per configuration": lambda data: plans(planner={"perConfiguration": {"2d": {"parameters": data}}}),
    "PlanTransfer patch": lambda data: transfer(patch=data),
    "TrainingRun recipe": lambda data: run(trainer={"name": "Mine", "base": "nnUNetTrainer", "recipe": data}),
    "Dataset affinity": lambda data: dataset(template={"affinity": data}),
}


@pytest.mark.parametrize("field", FREE)
def test_data_of_any_shape_is_not_deeper_than_can_be_worked_with(field: str) -> None:
    parse(FREE[field](nested(DEEPEST)))
    for depth, lists in ((DEEPEST + 1, False), (100, False), (DEEPEST, True), (500, True)):
        with pytest.raises(BadUsage, match=f"more than {DEEPEST} deep") as refused:
            parse(FREE[field](nested(depth, lists=lists)))
        assert re.search(r"(patch|parameters|recipe|affinity): ", str(refused.value))
    assert children(FREE[field](nested(2 * DEEPEST))) == []


@pytest.mark.parametrize(
    "template",
    [
        {"labels": {"nnunet.dev/attempt": "7", "job-name": "x", "batch.kubernetes.io/job-completion-index": "1", "team": "a"}},
        {"annotations": {"nnunet.dev/storage-uri": "s3://elsewhere", "job-name": "", "team": "a"}},
        {"env": [{"name": name, "value": "7"} for name in ("JOB_COMPLETION_INDEX", "WORLD_SIZE", "MASTER_ADDR", "TEAM")]},
    ],
)
def test_what_an_older_schema_let_in_has_no_effect(template: Manifest) -> None:
    """Objects that were stored before a rule came are read as ever, and what is the operator's stays so."""
    (job,) = [child for child in children(run(template=template)) if child["kind"] == "Job"]
    is_harmless(job)
    pod, (container,) = job["spec"]["template"]["metadata"], job["spec"]["template"]["spec"]["containers"]
    assert pod["labels"].get("nnunet.dev/attempt") == "0"
    assert "job-name" not in pod["labels"]
    assert set(pod.get("annotations", {})) <= {"team"}
    assert {v["name"] for v in container["env"]}.isdisjoint({"WORLD_SIZE", "JOB_COMPLETION_INDEX"})
    assert (pod["labels"] | pod.get("annotations", {})).get("team", container["env"][0]["name"]) in ("a", "TEAM")
