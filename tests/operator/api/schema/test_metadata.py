"""An object's metadata and ConfigMaps, refused as the API server refuses them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from nnunet_operator.api.schema import metadata, validation
from nnunet_trainer.contract.yaml_text import reader
from support.apiclient import ApiError
from support.controlplane import ControlPlane

Manifest = dict[str, Any]

DATASET = "apiVersion: nnunet.dev/v1alpha1\nkind: Dataset\nspec: {name: Dataset001_X, source: {uri: 's3://bucket/data'}}\n"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"

METADATA = {
    "plain": ("name: x", []),
    "a numeric name": ("name: 123", ["metadata.name"]),
    "a numeric name in quotes": ("name: '123'", ["metadata.name"]),
    "a date as the name": ("name: 2026-11-28", ["metadata.name"]),
    "1e3 as the name": ("name: 1e3", ["metadata.name"]),
    "on as the name": ("name: on", ["metadata.name"]),
    "no name": ("name: ''", ["metadata.name"]),
    "null as the name": ("name: ~", ["metadata.name"]),
    "capitals": ("name: Mine", ["metadata.name"]),
    "an underscore": ("name: a_b", ["metadata.name"]),
    "dots": ("name: a.b-c.1", ["metadata.name"]),
    "a dot at the end": ("name: a.", ["metadata.name"]),
    "a path": ("name: ../x", ["metadata.name"]),
    "a long name": (f"name: {'x' * 253}", ["metadata.name"]),
    "too long a name": (f"name: {'x' * 254}", ["metadata.name"]),
    "a list as the name": ("name: [x]", ["metadata.name"]),
    "labels": (
        "name: x\nlabels: {a: b, app.kubernetes.io/name: x, 'version': '2', made: 2026-11-28, at: 12:30}",
        ["metadata.labels"],
    ),
    "good labels": ("name: x\nlabels: {a: b, app.kubernetes.io/name: x, 'version': '2', made: 2026-11-28, 1: x, on: x}", []),
    "a numeric label": ("name: x\nlabels: {version: 2}", ["metadata.labels.version"]),
    "a label of 1e-3": ("name: x\nlabels: {rate: 1e-3}", ["metadata.labels.rate"]),
    "a label that is on": ("name: x\nlabels: {gpu: on}", ["metadata.labels.gpu"]),
    "a label that is a list": ("name: x\nlabels: {a: [b]}", ["metadata.labels.a"]),
    "an empty label": ("name: x\nlabels: {a: ''}", []),
    "a label of null": ("name: x\nlabels: {a: }", []),
    "labels of null": ("name: x\nlabels:", []),
    "labels in a list": ("name: x\nlabels: [a]", ["metadata.labels"]),
    "a space in a label": ("name: x\nlabels: {a: b c}", ["metadata.labels"]),
    "a slash in a label": ("name: x\nlabels: {a: b/c}", ["metadata.labels"]),
    "a long label": (f"name: x\nlabels: {{a: {'x' * 64}}}", ["metadata.labels"]),
    "a label's key with a space": ("name: x\nlabels: {a b: c}", ["metadata.labels"]),
    "a label's key of two parts": ("name: x\nlabels: {a/b/c: d}", ["metadata.labels"]),
    "a label's key with an odd prefix": ("name: x\nlabels: {A_/b: c}", ["metadata.labels"]),
    "a label's long key": (f"name: x\nlabels: {{{'x' * 64}: c}}", ["metadata.labels"]),
    "annotations": ("name: x\nannotations: {made: 2026-11-28, at: 12:30, A/B: any text, note: 'ü {}'}", []),
    "a numeric annotation": ("name: x\nannotations: {version: 2}", ["metadata.annotations.version"]),
    "an annotation of true": ("name: x\nannotations: {a: yes}", ["metadata.annotations.a"]),
    "an annotation's key": ("name: x\nannotations: {a b: c}", ["metadata.annotations"]),
    "large annotations": (f"name: x\nannotations: {{a: {'x' * 2**18}}}", ["metadata.annotations"]),
    "an unknown field": ("name: x\nlabel: {a: b}", ["metadata.label"]),
    "finalizers": ("name: x\nfinalizers: a/b", ["metadata.finalizers"]),
    "a numeric uid": ("name: x\nuid: 1", ["metadata.uid"]),
    "several": ("name: x\nlabels: {a: 1}\nannotations: {b: 2}", ["metadata.labels.a", "metadata.annotations.b"]),
}

CONFIG_MAPS = {
    "plain": ("data: {a: b, c.py: 'print(1)'}", []),
    "binary": ("binaryData: {a: aGk=}\nimmutable: yes", []),
    "a number": ("data: {a: 1}", ["data.a"]),
    "a truth value": ("data: {a: yes}", ["data.a"]),
    "an object": ("data: {a: {b: c}}", ["data.a"]),
    "null": ("data: {a: }", []),
    "no data": ("data:", []),
    "data in a list": ("data: [a]", ["data"]),
    "a key": ("data: {a/b: c}", ["data[a/b]"]),
    "a key above": ("data: {..a: c}", ["data[..a]"]),
    "immutable": ("immutable: 1", ["immutable"]),
    "an unknown field": ("spec: {a: b}", ["spec"]),
}
"""Names that the rules of Kubernetes allow and a rule of our own kinds does not are among those with a finding."""


def dataset(text: str) -> Manifest:
    found: Manifest = reader.one(DATASET + "metadata:\n  " + text.replace("\n", "\n  "), "x.yaml")
    return found


def config_map(text: str) -> Manifest:
    found: Manifest = reader.one(CONFIG_MAP + text, "x.yaml")
    return found


def fields(lines: list[str]) -> list[str]:
    """The fields that findings are about."""
    return [found[1] or found[2] for line in lines if (found := re.match(r'unknown field "([^"]+)"|([^:]+): ', line))]


@pytest.mark.parametrize("name", METADATA)
def test_what_is_wrong_with_metadata_names_the_field(name: str) -> None:
    text, wanted = METADATA[name]
    assert fields(validation.findings(dataset(text))) == wanted


@pytest.mark.parametrize("name", CONFIG_MAPS)
def test_what_is_wrong_with_a_config_map_names_the_field(name: str) -> None:
    text, wanted = CONFIG_MAPS[name]
    assert fields(list(metadata.config_map_findings(config_map(text)))) == wanted


def test_what_yaml_took_for_a_number_is_told_to_go_into_quotes() -> None:
    (line,) = validation.findings(dataset("name: x\nlabels: {version: 2}"))
    assert line.startswith("metadata.labels.version: Invalid value: 2: must be of type string, found integer")
    assert line.endswith("(put it into quotes if it is meant as text)")


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("folds", "0", "(a list of one: [0])"),
        ("folds", "all", '(a list of one: ["all"])'),
        ("suspend", "'true'", "(leave the quotes out)"),
        ("suspend", "'maybe'", "found string"),
        ("workers", "{gpusPerNode: '1'}", "(leave the quotes out)"),
        ("workers", "{gpusPerNode: one}", "found string"),
        ("trainer", "nnUNetTrainer", "(as {name: nnUNetTrainer})"),
        ("plansRef", "p", "(as {name: p})"),
        ("pretrained", "other", "found string"),
    ],
)
def test_a_value_of_another_type_is_told_how_it_is_written(field: str, value: str, advice: str) -> None:
    spec = {"plansRef": {"name": "p"}, "configuration": "2d", "folds": [0], field: reader.one(value.encode(), "value")}
    manifest = {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "r"}, "spec": spec}
    lines = validation.findings(manifest)
    assert any(line.startswith(f"spec.{field}") and line.endswith(advice) for line in lines), lines


@pytest.mark.parametrize("name", ["123", "2026-11-28", "a.b-c.1", "x" * 253])
def test_names_that_a_config_map_may_bear(name: str) -> None:
    assert list(metadata.name_findings({"name": name, "namespace": "a-1"})) == []


@pytest.mark.parametrize("name", ["a.b", "A", "-a", "x" * 64, "a/b", "..", 1, True])
def test_namespaces_that_are_none(name: Any) -> None:
    assert fields(list(metadata.name_findings({"name": "x", "namespace": name}))) == ["metadata.namespace"]


def test_null_in_a_label_is_the_empty_text() -> None:
    found = validation.admit(dataset("name: x\nlabels: {a: }\nannotations:"))
    assert found["metadata"] == {"name": "x", "labels": {"a": ""}}
    found = metadata.admitted_config_map(config_map("data: {a: , b: c}\nbinaryData:"))
    assert found == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "", "b": "c"}}


def _server_refuses(plane: ControlPlane, path: str, manifest: Manifest) -> str:
    try:
        plane.admin.request("POST", f"{path}?fieldValidation=Strict&dryRun=All", manifest)
    except ApiError as error:
        if error.code in (400, 422):
            return error.message
        raise
    return ""


@pytest.mark.controlplane
def test_the_api_server_says_the_same_of_metadata(control_plane: ControlPlane) -> None:
    path = "/apis/nnunet.dev/v1alpha1/namespaces/default/datasets"
    for name, (text, wanted) in METADATA.items():
        said = _server_refuses(control_plane, path, dataset(text))
        assert bool(said) == bool(wanted), (name, said)


@pytest.mark.controlplane
def test_the_api_server_says_the_same_of_config_maps(control_plane: ControlPlane) -> None:
    for name, (text, wanted) in CONFIG_MAPS.items():
        said = _server_refuses(control_plane, "/api/v1/namespaces/default/configmaps", config_map(text))
        assert bool(said) == bool(wanted), (name, said)


NUMBERS = {
    "seed: 1e3": (1000, []),
    "seed: 1.0": (1, []),
    "seed: 1_000": (1000, []),
    "seed: 0x10": (16, []),
    "seed: 010": (8, []),
    "seed: 08": (8, []),
    "seed: 4294967295": (4294967295, []),
    "seed: 1.5": (None, ["spec.seed"]),
    "seed: '1'": (None, ["spec.seed"]),
    "seed: 1e-3": (None, ["spec.seed"]),
    "seed: 12:30": (None, ["spec.seed"]),
    "seed: 1e19": (None, ["spec.seed"]),
    "seed: 1e22": (None, ["spec.seed"]),
    "seed: 18446744073709551615": (None, ["spec.seed"]),
    "seed: yes": (None, ["spec.seed"]),
    "suspend: yes": (True, []),
    "suspend: off": (False, []),
    "suspend: 1": (None, ["spec.suspend"]),
    "suspend: 'yes'": (None, ["spec.suspend"]),
}


def training_run(text: str) -> Manifest:
    head = "apiVersion: nnunet.dev/v1alpha1\nkind: TrainingRun\nmetadata: {name: x}\n"
    found: Manifest = reader.one(f"{head}spec:\n  plansRef: {{name: p}}\n  configuration: 2d\n  folds: ['0']\n  {text}\n", "x.yaml")
    return found


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_an_integer_where_the_api_server_takes_it_for_one(text: str) -> None:
    value, wanted = NUMBERS[text]
    manifest = training_run(text)
    assert sorted(set(fields(validation.findings(manifest)))) == wanted
    if not wanted:
        admitted = validation.admit(manifest)["spec"][text.partition(":")[0]]
        assert (type(admitted), admitted) == (type(value), value)


@pytest.mark.controlplane
def test_the_api_server_says_the_same_of_numbers(control_plane: ControlPlane) -> None:
    path = "/apis/nnunet.dev/v1alpha1/namespaces/default/trainingruns"
    for text, (value, wanted) in NUMBERS.items():
        manifest = training_run(text)
        said = _server_refuses(control_plane, path, manifest)
        assert bool(said) == bool(wanted), (text, said)
        if not wanted:
            stored = control_plane.admin.request("POST", f"{path}?dryRun=All", manifest)["spec"]
            assert repr(stored[text.partition(":")[0]]) == repr(value), text
