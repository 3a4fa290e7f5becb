"""Local validation and the real API server judge the same manifests, and agree."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nnunet_operator.api.resources import KINDS, PLURALS, parse
from nnunet_operator.api.schema import validation
from nnunet_operator.api.schema.pattern_examples import EXAMPLES
from nnunet_trainer.contract.faults import BadUsage
from support.apiclient import ApiError
from support.controlplane import ControlPlane

from ..api_manifests import BAD, CHANGES, GOOD, VERSION, dataset, plans, run, transfer

Manifest = dict[str, Any]


# -- here --


@pytest.mark.parametrize("name", GOOD)
def test_a_good_manifest_is_admitted_and_parsed(name: str) -> None:
    whole = validation.admit(GOOD[name])
    resource = parse(whole)
    # What the API server would store and what the models assume when a field is absent is the same.
    assert parse(GOOD[name]).spec == resource.spec
    assert validation.findings(whole) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_manifest_is_refused_with_its_field(name: str) -> None:
    manifest, field, message = BAD[name]
    found = validation.findings(manifest)
    assert any(_about(line, field) and message in line for line in found), found
    with pytest.raises(BadUsage) as refused:
        validation.admit(manifest)
    assert field in str(refused.value)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_or_accepted(name: str) -> None:
    before, after, refusal = CHANGES[name]
    assert validation.findings(after) == []
    found = validation.findings(after, validation.admit(before))
    if refusal is None:
        assert found == []
    else:
        assert any(_about(line, refusal[0]) and refusal[1] in line for line in found), found


def test_all_faults_are_told_at_once() -> None:
    found = validation.findings(run(folds=["x"], workers={"nodes": 0}, seed=-1, configuration="a__b"))
    assert {line.split(":")[0] for line in found} == {"spec.configuration", "spec.folds[0]", "spec.seed", "spec.workers.nodes"}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({}, "no kind"),
        ({"apiVersion": VERSION, "kind": "TraningRun"}, "Did you mean TrainingRun?"),
        ({"apiVersion": "nnunet.dev/v2", "kind": "Plans"}, 'supported values: "nnunet.dev/v1alpha1"'),
        ({"apiVersion": VERSION, "kind": "Plans"}, "metadata: Required value"),
        ({"apiVersion": VERSION, "kind": "Plans", "metadata": {}}, "metadata.name: Required value"),
        ({"apiVersion": VERSION, "kind": "Plans", "metadata": {"name": "x"}}, "spec: Required value"),
        ({"apiVersion": VERSION, "kind": "Plans", "metadata": {"name": "x"}, "spec": None}, "spec: Required value"),
        ({"apiVersion": VERSION, "kind": "Plans", "metadata": {"name": "x"}, "spec": []}, "spec: Invalid value"),
    ],
)
def test_what_is_hardly_a_manifest_is_refused_in_words(manifest: Manifest, message: str) -> None:
    assert any(message in line for line in validation.findings(manifest)), validation.findings(manifest)


def test_the_manifest_itself_is_left_alone() -> None:
    manifest = plans(preprocessing={"configurations": ["2d"]})
    before = copy.deepcopy(manifest)
    validation.admit(manifest, manifest)
    assert manifest == before


def test_an_unknown_field_names_its_neighbour() -> None:
    assert validation.findings(run(fold=["0"])) == ['unknown field "spec.fold" (did you mean folds?)']


@pytest.mark.parametrize("field", ["plansRef", "storage"])
def test_another_namespace_is_told_to_be_left_out(field: str) -> None:
    fault = f'unknown field "spec.{field}.namespace" (leave it out: what an object names lies in its own namespace)'
    assert fault in validation.findings(run(**{field: {"name": "p", "namespace": "other"}}))


@pytest.mark.parametrize("memory", ["8GB", "8 Gi", "8gb", "8,5Gi", "-1"])
def test_a_value_of_another_form_is_told_by_example(memory: str) -> None:
    (line,) = validation.findings(plans(template={"resources": {"requests": {"memory": memory}}}))
    assert line.startswith(f'spec.template.resources.requests.memory: Invalid value: "{memory}": should match ')
    assert line.endswith(" (as 8Gi, 8G, 500Mi, 4 or 500m)")


def patterns_of(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(patterns_of, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return own.union(*map(patterns_of, schema.values()))


def test_each_pattern_that_a_person_can_miss_has_examples_and_they_match_it() -> None:
    specs = [validation.schema_of(kind)["properties"]["spec"] for kind in KINDS]
    assert patterns_of(specs) == set(EXAMPLES)
    prose = "^[0-9a-f]{64}$"
    assert [text for form, texts in EXAMPLES.items() if form != prose for text in texts if not re.search(form, text)] == []


# -- there --


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane) -> Iterator[str]:
    """One namespace for all changes: each object bears the name of its case."""
    name = control_plane.create_namespace()
    yield name
    control_plane.delete_namespace(name)


def _about(line: str, field: str) -> bool:
    return line.startswith((field + ":", field + " (")) or line == field


def _send(
    plane: ControlPlane, namespace: str, manifest: Manifest, *, stored: bool = False, dry: bool = True
) -> list[tuple[str, str]]:
    """What the API server refuses, as (field, message); empty when it accepts."""
    path = f"/apis/{VERSION}/namespaces/{namespace}/{PLURALS[manifest['kind']]}"
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
    try:
        if stored:
            plane.admin.request("PUT", f"{path}/{manifest['metadata']['name']}{query}", manifest)
        else:
            plane.admin.request("POST", path + query, manifest)
    except ApiError as error:
        if error.code == 400:
            return [(found, "") for found in re.findall(r'unknown field "[^"]+"', error.message)] or [("", error.message)]
        if error.code != 422:
            raise
        return [(cause["field"], cause["message"]) for cause in error.status["details"]["causes"]]
    return []


def _local(manifest: Manifest, old: Manifest | None = None) -> list[tuple[str, str]]:
    pairs = []
    for line in validation.findings(manifest, old):
        unknown = re.match(r'unknown field "[^"]+"', line)
        field, _, message = line.partition(": ")
        pairs.append((unknown[0], "") if unknown else (field, message))
    return pairs


def _same(here: list[tuple[str, str]], there: list[tuple[str, str]]) -> None:
    """The same fields are refused; where the message is a rule's, it is the same too."""
    # `<nil>` is how the API server says that a fault of the schema kept it from the rules.
    fields = {field for field, message in there if field != "<nil>"}
    assert {field for field, _ in here} == fields, (here, there)
    rules = [
        message for _, message in here if not message.startswith(("Invalid value", "Required", "Too", "Unsupported", "Duplicate"))
    ]
    for message in filter(None, rules):
        assert any(message in text for _, text in there), (message, there)


@pytest.mark.controlplane
@pytest.mark.parametrize("name", GOOD)
def test_the_api_server_accepts_it_too(name: str, control_plane: ControlPlane) -> None:
    assert _send(control_plane, "default", GOOD[name]) == []


@pytest.mark.controlplane
@pytest.mark.parametrize("name", BAD)
def test_the_api_server_refuses_the_same_field(name: str, control_plane: ControlPlane) -> None:
    manifest, _, _ = BAD[name]
    _same(_local(manifest), _send(control_plane, "default", manifest))


@pytest.mark.controlplane
@pytest.mark.parametrize("name", CHANGES)
def test_the_api_server_judges_the_change_alike(name: str, control_plane: ControlPlane, place: str) -> None:
    before, after, _ = CHANGES[name]
    assert _send(control_plane, place, {**before, "metadata": {"name": name}}, dry=False) == []
    stored = control_plane.admin.get(VERSION, before["kind"], place, name)
    assert stored is not None
    after = {**after, "metadata": {"name": name, "resourceVersion": stored["metadata"]["resourceVersion"]}}
    _same(_local(after, stored), _send(control_plane, place, after, stored=True))


@pytest.mark.controlplane
def test_defaults_are_those_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    for i, manifest in enumerate(GOOD.values()):
        manifest = {**manifest, "metadata": {"name": f"x{i}"}}
        assert _send(control_plane, namespace, manifest, dry=False) == []
        stored = control_plane.admin.get(VERSION, manifest["kind"], namespace, f"x{i}")
        assert stored is not None
        assert stored["spec"] == validation.admit(manifest)["spec"]


@pytest.mark.controlplane
def test_null_in_a_patch_is_kept(control_plane: ControlPlane, namespace: str) -> None:
    patch = {"configurations": {"3d_fullres": {"median_image_size_in_voxels": None, "patch_size": [1, None]}}}
    manifest = plans(patch=patch)
    manifest["metadata"]["namespace"] = namespace
    control_plane.admin.apply(manifest)
    stored = control_plane.admin.get(VERSION, "Plans", namespace, "x")
    assert stored is not None
    assert stored["spec"]["patch"] == patch
    assert parse(stored).spec.to_json()["patch"] == patch


# -- any manifest --

_VALUES: list[Any] = [
    None, "", "x", "all", "0", "a__b", "s3://b/c", "file:///x", "2d", "16Gi", "3", 0, 1, -1, 2.5, 1.0, 2**40, True, False,
    [], ["0"], ["2d", "2d"], [1, 1, 1], [1.5, 0, 1], {}, {"name": "a"}, {"uri": "s3://a"}, {"a": {"b": None}},
    [{"name": "A"}], [{"name": "A", "value": "1"}, {"name": "A"}],
]  # fmt: skip

_SEEDS = [*GOOD.values(), dataset(), plans(), transfer(), run()]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


@st.composite
def mutants(draw: st.DrawFn) -> Manifest:
    """A good manifest with one or two places of its spec changed, taken away, or filled with an optional field."""
    manifest = copy.deepcopy(draw(st.sampled_from(_SEEDS)))
    schema = validation.schema_of(manifest["kind"])["properties"]["spec"]
    for _ in range(draw(st.integers(1, 2))):
        places = _places(manifest["spec"])[1:]
        if not places or draw(st.booleans()):
            manifest["spec"][draw(st.sampled_from(sorted(schema["properties"])))] = copy.deepcopy(draw(st.sampled_from(_VALUES)))
            continue
        *parents, last = draw(st.sampled_from(places))
        parent = manifest["spec"]
        for key in parents:
            parent = parent[key]
        if draw(st.integers(0, 3)) == 0:
            del parent[last]
        else:
            parent[last] = copy.deepcopy(draw(st.sampled_from(_VALUES)))
    return manifest


@pytest.mark.controlplane
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifest=mutants())
def test_both_engines_agree_on_any_manifest(manifest: Manifest, control_plane: ControlPlane) -> None:
    here, there = _local(manifest), _send(control_plane, "default", manifest)
    assert bool(here) == bool(there), (manifest, here, there)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(manifest=mutants())
def test_what_is_admitted_can_be_parsed(manifest: Manifest) -> None:
    if not validation.findings(manifest):
        parse(validation.admit(manifest))
