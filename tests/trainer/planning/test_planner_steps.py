"""Each step of a planner can be another one: by name in a manifest, by a plug-in; and what a plug-in's step does wrong is said."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import PLANNER_STEPS, load_plugins, register
from nnunet_trainer.extensions.registry import IMPORTING, Plugin
from nnunet_trainer.extensions.time_limit import THREAD
from nnunet_trainer.planning.planners import facts, steps
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.planning.plans import plugins as plans_plugins
from nnunet_trainer.planning.transfer import transfer
from support.plugins import BEGUN, isolated, seconds_from_begun, write

STEP: dict[str, str] = {
    "targetSpacingRule": "dataset",
    "normalizationRule": "dataset",
    "initialPatch": "configuration",
    "pooling": "configuration, patch",
    "convolutionsPerStage": "configuration, stages",
    "memoryEstimate": "configuration, patch, architecture",
    "shrunkAxis": "configuration, patch",
    "patchAndBatch": "configuration",
    "lowResolution": "fullres",
}


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


def planned(fingerprint: dict[str, Any], dataset_json: dict[str, Any], **options: Any) -> dict[str, Any]:
    return plan(fingerprint, dataset_json, dataset_name="Dataset050_CT", reader="SimpleITKIO", **options)


def plugin(root: Path, kind: str, body: str, head: str = "") -> None:
    """Load a plug-in whose step `Mine` of this kind has this body."""
    lines = "\n    ".join(body.splitlines())
    function = f"@register('{kind}', 'Mine')\ndef mine({STEP[kind]}):\n    {lines}\n"
    text = f"from nnunet_trainer.extensions import register\n{head}\n{function}"
    write(root, "steps", mine=text)
    load_plugins(root, ["steps"])


def test_each_step_is_tested_here() -> None:
    assert {*STEP, "architecture"} == set(PLANNER_STEPS)  # a class: test_architectures


ANSWERS: dict[str, tuple[str, str, Any]] = {
    "targetSpacingRule": ("return [3, 1.5, 1.5]", "spacing", [3.0, 1.5, 1.5]),
    "normalizationRule": ("return ['NoNormalization'] * len(dataset.channels)", "normalization_schemes", ["NoNormalization"]),
    "initialPatch": ("return [64] * len(configuration.spacing)", "patch_size", [64, 64, 64]),
    "pooling": (
        "return Topology.of(patch, [[1] * len(patch), [2] * len(patch)], [[3] * len(patch)] * 2)",
        "architecture.arch_kwargs.strides",
        [[1, 1, 1], [2, 2, 2]],
    ),
    "convolutionsPerStage": (
        "return [4] * stages, [1] * (stages - 1)",
        "architecture.arch_kwargs.n_conv_per_stage_decoder",
        [1] * 5,
    ),
    "memoryEstimate": ("return 3", "batch_size", 4),
    "shrunkAxis": ("return 0", "patch_size", [12, 384, 384]),
    "patchAndBatch": (
        "return configuration.shrunk(configuration.first(), lambda c: max(c.patch_size) <= 64), 7",
        "batch_size",
        7,
    ),
    "lowResolution": ("return fullres.at(3 * fullres.spacing)", "lowres", [7.8, 2.34, 2.34]),
}


@pytest.mark.parametrize("kind", STEP)
def test_a_plugins_step_decides(tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any], kind: str) -> None:
    body, field, expected = ANSWERS[kind]
    plugin(tmp_path, kind, body, "from nnunet_trainer.planning.planners.topology import Topology")
    plans = planned(fingerprint, dataset_json, parameters={kind: "Mine"})
    found = plans["configurations"]["3d_fullres"]
    if field == "lowres":
        found, field = plans["configurations"]["3d_lowres"], "spacing"
    for key in field.split("."):
        found = found[key]
    assert found == pytest.approx(expected) if field == "spacing" else found == expected
    assert plans["plugins"][0]["components"] == [f"{kind} Mine"]
    assert [plans["plugins"][0][key] for key in ("name", "version")] == ["steps", ""]
    assert planned(fingerprint, dataset_json).get("plugins") is None


WRONG: dict[str, list[tuple[str, str]]] = {
    "targetSpacingRule": [
        ("return [float('nan'), 1, 1]", "answers [nan, 1, 1]; 3 positive numbers (mm along z, y, x) was expected"),
        ("return [1, 1]", "answers [1, 1]; 3 positive numbers"),
        ("return None", "answers None"),
        ("return 1 / 0", "fails: ZeroDivisionError: division by zero"),
        ("return dataset.fingerprint['organ']", "steps/mine.py, line 5: return dataset.fingerprint['organ']"),
    ],
    "normalizationRule": [
        ("return ['ZScoreNormalization'] * 3", "a list of 1 names of normalization schemes"),
        ("return 'CTNormalization'", "a list of 1 names"),
        ("return ['Nothing']", "normalization_schemes names 'Nothing'"),
    ],
    "initialPatch": [
        ("return [64, 64, float('inf')]", "positive numbers (voxels along each axis)"),
        ("return [64, -1, 1]", "positive numbers"),
    ],
    "pooling": [
        ("return [2, 2, 2]", "a Topology was expected"),
        ("return Topology.of(patch, [[1] * 3], [[2] * 3])", "odd kernel_sizes"),
        ("return Topology.of(patch[:1], [[1]], [[3]])", "numbers was expected"),
        ("return Topology([[1] * 3, [2] * 3], [[3] * 3] * 2, [33, 32, 32], [2] * 3)", "a multiple of [2, 2, 2]"),
    ],
    "convolutionsPerStage": [
        ("return [2], [2]", "two lists, of"),
        ("return 2", "two lists, of"),
        ("return ['a'], ['b']", "two lists"),
    ],
    "memoryEstimate": [
        ("return float('nan')", "answers nan; a finite number"),
        ("return -1", "answers -1"),
        ("return 'much'", "answers 'much'"),
    ],
    "shrunkAxis": [("return 3", "answers 3; an axis, 0 to 2"), ("return None", "answers None")],
    "patchAndBatch": [
        ("return configuration.first()", "a Candidate and a batch size"),
        ("return configuration.first(), 0.5", "batch size"),
    ],
    "lowResolution": [("return 2 * fullres.spacing", "what fullres.at(spacing) makes")],
}


@pytest.mark.parametrize(("kind", "body", "said"), [(kind, *row) for kind, rows in WRONG.items() for row in rows])
def test_what_a_step_does_wrong_is_said(
    tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any], kind: str, body: str, said: str
) -> None:
    plugin(tmp_path, kind, body, "from nnunet_trainer.planning.planners.topology import Topology")
    with pytest.raises(BadConfiguration) as refused:
        planned(fingerprint, dataset_json, parameters={kind: "Mine"})
    assert said in str(refused.value)
    if "normalization_schemes" not in said:
        assert refused.value.reason == "PlannerStepFailed"
        assert f"The step {kind} 'Mine' ({tmp_path}/steps/mine.py:3)" in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        f"{BEGUN}\nwhile True:\n    dataset",
        f"{BEGUN}\nwhile True:\n    try:\n        dataset\n    except Exception:\n        pass",
        f"{BEGUN}\nthreading.released.wait()",
    ],
    ids=["loops", "catches all that is raised", "waits"],
)
@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_step_that_never_ends_is_ended_in_whichever_thread(
    tmp_path: Path,
    fingerprint: dict[str, Any],
    dataset_json: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    thread: str,
) -> None:
    monkeypatch.setattr(steps, "SECONDS", seconds_from_begun(monkeypatch, 0.2))
    released = threading.Event()
    monkeypatch.setattr(threading, "released", released, raising=False)
    plugin(tmp_path, "targetSpacingRule", body)
    run = functools.partial(planned, fingerprint, dataset_json, parameters={"targetSpacingRule": "Mine"})
    said = r"has not ended after 0\.2 seconds; it is at .*mine\.py, line \d+\."
    with ThreadPoolExecutor(1) as pool, pytest.raises(BadConfiguration, match=said) as refused:
        (run if thread == "main" else lambda: pool.submit(run).result())()
    assert refused.value.reason == "PlanningEndless"
    released.set()
    for left in [each for each in threading.enumerate() if each.name == THREAD]:
        left.join(60)
        assert not left.is_alive()


def test_what_a_step_that_never_ends_has_tried_is_said(
    tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another plug-in's step, with a limit of its own, has ended meanwhile."""
    monkeypatch.setattr(steps, "SECONDS", seconds_from_begun(monkeypatch, 0.2))
    other = "@register('initialPatch', 'Other')\ndef other(configuration):\n    return [64] * len(configuration.spacing)\n"
    plugin(tmp_path, "patchAndBatch", f"configuration.first()\n{BEGUN}\nwhile True:\n    configuration.spacing", other)
    with pytest.raises(BadConfiguration, match=r"mine\.py, line \d+\. It has tried 1: \[64, 64(, 64)?\]\.") as refused:
        planned(fingerprint, dataset_json, parameters={"patchAndBatch": "Mine", "initialPatch": "Other"})
    assert refused.value.reason == "PlanningEndless"


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        # The estimate never falls: the patch is shrunk until nothing is left of it, and on.
        ("memoryEstimate", "return 1e30", "patches were tried, and none fits"),
        # Each smaller patch is padded to the same one again.
        (
            "pooling",
            "n = len(patch)\nreturn Topology.of([512] * n, [[1] * n, [2] * n], [[3] * n] * 2)",
            "first [512, 512, 512], [512, 512, 512], [512, 512, 512]; last [512, 512, 512]",
        ),
        # A search of its own.
        ("patchAndBatch", "while True:\n    configuration.candidate([64] * len(configuration.spacing))", "first [64, 64"),
    ],
)
def test_a_search_that_comes_to_no_end_says_what_it_tried(
    tmp_path: Path,
    fingerprint: dict[str, Any],
    dataset_json: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    body: str,
    said: str,
) -> None:
    monkeypatch.setattr(facts, "STEP_LIMIT", 50)
    plugin(tmp_path, kind, body, "from nnunet_trainer.planning.planners.topology import Topology")
    with pytest.raises(BadConfiguration) as refused:
        planned(fingerprint, dataset_json, parameters={kind: "Mine"})
    assert refused.value.reason == "PlanningEndless"
    assert "51 patches were tried" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pooling": "Lat"}, "planner.parameters.pooling: There is no planner step named 'Lat'. Did you mean Late"),
        ({"pooling": {"name": "Late", "depth": 3}}, "planner.parameters.pooling.depth: Late has no such parameter; it has none"),
        ({"pooling": 3}, "a name or an object with a name was expected, found 3"),
        ({"targetSpacingRule": "Fixed"}, "Fixed needs spacing"),
        ({"targetSpacingRule": {"name": "Fixed", "spacing": [1, "x", 1]}}, "spacing[1]: a number was expected"),
        ({"targetSpacingRule": {"name": "Fixed", "spacing": [1, 1]}}, "answers [1.0, 1.0]; 3 positive numbers"),
        (
            {"patchAndBatch": {"name": "BatchBeforePatch", "batch3d": 0}},
            "batch3d: 0 is out of range; an integer between 1 and 4096",
        ),
        ({"normalizationRule": {"name": "SameForAll", "scheme": "None"}}, "There is no normalization scheme named 'None'"),
        ({"lowresSpacingStep": 1}, "lowresSpacingStep: 1 is out of range; a number greater than 1"),
    ],
)
def test_steps_are_checked(
    fingerprint: dict[str, Any], dataset_json: dict[str, Any], parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadConfiguration) as refused:
        planned(fingerprint, dataset_json, parameters=parameters)
    assert said in str(refused.value)


def test_a_step_knows_which_axes_of_the_file_are_which(
    tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any]
) -> None:
    """The largest spacing comes first in plans, wherever it stands in the file; 2d has the other two."""
    plugin(tmp_path, "initialPatch", "return [float([16, 32, 64][axis]) for axis in configuration.axes]")
    swapped = {
        **fingerprint,
        **{key: [[row[1], row[2], row[0]] for row in fingerprint[key]] for key in ("spacings", "shapes_after_crop")},
    }
    for given, order in ((fingerprint, [0, 1, 2]), (swapped, [2, 0, 1])):
        plans = planned(given, dataset_json, parameters={"initialPatch": "Mine"})
        assert plans["transpose_forward"] == order
        wanted = [[16, 32, 64][axis] for axis in order]
        assert plans["configurations"]["3d_fullres"]["patch_size"] == wanted
        assert plans["configurations"]["2d"]["patch_size"] == wanted[1:]


def test_what_an_extractor_added_is_explained(fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    notes: list[str] = []
    planned({**fingerprint, "volumes": [1, 2], "extractor": {"name": "x"}, "plugins": []}, dataset_json, notes=notes)
    assert [line for line in notes if "also has" in line] == ["the fingerprint also has volumes: [1, 2]"]


def test_a_planner_of_a_plugin(tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    write(
        tmp_path,
        "mine",
        planner="""
            from nnunet_trainer.extensions import register
            from nnunet_trainer.planning.planner_presets import derive

            __version__ = "2"

            @register("planner", "FinePlanner")
            def fine():
                "At 1 mm."
                return derive("ResEncUNetPlanner", plans_name="nnUNetPlans_fine",
                              target_spacing_rule={"name": "Fixed", "spacing": [1.0, 1.0, 1.0]}, min_batch_size=3)

            @register("normalization", "Same")
            def same(image, seg, use_mask, properties):
                return image
        """,
    )
    load_plugins(tmp_path, ["mine"])
    notes: list[str] = []
    patch = {"configurations": {"2d": {"normalization_schemes": ["Same"]}}}
    plans = planned(fingerprint, dataset_json, planner="FinePlanner", notes=notes, patch=patch)
    assert (plans["plans_name"], plans["experiment_planner_used"]) == ("nnUNetPlans_fine", "FinePlanner")
    identifiers = {
        c.get("data_identifier", "").partition("_fine")[0] for c in plans["configurations"].values() if "data_identifier" in c
    }
    assert identifiers == {"nnUNetPlans"}
    assert plans["configurations"]["3d_fullres"]["spacing"] == [1.0, 1.0, 1.0]
    assert plans["configurations"]["3d_fullres"]["batch_size"] >= 3
    assert "planner FinePlanner, plans nnUNetPlans_fine, for 8 GB of GPU memory" in notes
    assert "target spacing [1, 1, 1]: the planner's own" in notes
    assert [(p["name"], p["version"], p["components"]) for p in plans["plugins"]] == [
        ("mine", "2", ["normalization Same", "planner FinePlanner"])
    ]
    assert plans_plugins.described(plans)[0]["needed"] is True
    # Of the data of a configuration only what decides it.
    fields = {name: Plans(plans).configuration(name).preprocessing_fields() for name in ("2d", "3d_fullres")}
    assert list(fields["2d"]["plugins"]) == ["mine"]
    assert "plugins" not in fields["3d_fullres"]
    # Nor by a name that is given: what another planner has planned stays.
    with pytest.raises(BadConfiguration, match="nnUNetPlans is that of ExperimentPlanner: plans by FinePlanner would write over"):
        planned(fingerprint, dataset_json, planner="FinePlanner", plans_name="nnUNetPlans")
    assert planned(fingerprint, dataset_json, planner="FinePlanner", plans_name="other")["plans_name"] == "other"
    # A transfer keeps what the plans were planned by, and says what its own data need.
    moved, _ = transfer(plans, dataset_name="Dataset051_CT", dataset_json=dataset_json, reader="SimpleITKIO", plans_name="moved")
    assert moved["plugins"] == plans["plugins"]


def test_plans_are_refused_without_their_plugin(tmp_path: Path, plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    made = {**plans, "plugins": [{"name": "mine", "version": "1", "digest": "ab" * 32, "components": ["normalization Gone"]}]}
    with pytest.raises(BadConfiguration, match=r"was made with the plug-in mine \(version 1, digest abababababab\)") as refused:
        transfer(made, dataset_name="Dataset051_CT", dataset_json=dataset_json, reader="SimpleITKIO")
    assert refused.value.reason == "MissingPlugin"
    made["plugins"][0]["components"] = ["planner Gone"]  # nobody plans again
    transfer(made, dataset_name="Dataset051_CT", dataset_json=dataset_json, reader="SimpleITKIO")


def test_registering_while_imported_is_of_the_plugin() -> None:
    token = IMPORTING.set(mine := Plugin(name="mine", version="", digest="1", installed=False))
    try:
        register("shrunkAxis", "First")(lambda configuration, patch: 0)
    finally:
        IMPORTING.reset(token)
    from nnunet_trainer.extensions import find

    assert find("shrunkAxis", "First").plugin == mine


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{'name': 'IsotropicInVoxels', 'edge3d': 0}", "initial_patch.edge3d: 0 is out of range"),
        ("{'name': 'IsotropicInVoxels', 'edge_3': 64}", "did you mean edge3d"),
        ("'IsotropicInVoxel'", "Did you mean IsotropicInVoxels"),
    ],
    ids=["range", "name", "step"],
)
def test_what_a_derived_planner_gives_to_its_steps_is_checked(
    tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any], given: str, said: str
) -> None:
    head = "from nnunet_trainer.planning.planner_presets import derive\nfrom nnunet_trainer.extensions import register\n"
    body = f"    return derive('ExperimentPlanner', plans_name='nnUNetPlans_own', initial_patch={given})\n"
    write(tmp_path, "own", own=f"{head}\n@register('planner', 'Own')\ndef own():\n{body}")
    load_plugins(tmp_path, ["own"])
    with pytest.raises(BadConfiguration, match=said):
        planned(fingerprint, dataset_json, planner="Own")


@pytest.mark.parametrize(("planner", "expected"), [("ExperimentPlanner", 20.5), ("ExperimentPlanner3D_v21", 21.0)])
def test_the_median_shape_is_rounded_where_the_version_rounds_it(
    fingerprint: dict[str, Any], dataset_json: dict[str, Any], planner: str, expected: float
) -> None:
    """20.4 and 20.9: v2 rounds both, and takes the median of 20 and 21, which it leaves as it is; v1 rounds 20.65."""
    sizes = [[204, 408, 408], [209, 418, 418]]
    fingerprint |= {"spacings": [[0.1, 0.1, 0.1]] * 2, "shapes_after_crop": sizes}
    plans = planned(fingerprint, dataset_json, planner=planner, target_spacing=[1.0, 0.5, 0.5])
    assert plans["configurations"]["3d_fullres"]["median_image_size_in_voxels"][0] == expected


@pytest.mark.parametrize("slices", ["ExperimentPlanner2D_v21", "ExperimentPlanner2D_v21_RGB_scaleTo_0_1"])
def test_v1s_planners_of_slices_plan_volumes_as_its_planner_of_volumes(
    fingerprint: dict[str, Any], dataset_json: dict[str, Any], slices: str
) -> None:
    ours, theirs = (planned(fingerprint, dataset_json, planner=name) for name in (slices, "ExperimentPlanner3D_v21"))
    for configuration in ("2d", "3d_fullres"):
        for field in ("patch_size", "batch_size", "architecture"):
            assert ours["configurations"][configuration][field] == theirs["configurations"][configuration][field]


@pytest.mark.parametrize("back", [{"preprocessing_steps": None}, {}])
def test_a_configuration_returns_to_nnunets_preprocessing(
    fingerprint: dict[str, Any], dataset_json: dict[str, Any], back: dict[str, Any]
) -> None:
    """From one that names its steps: a patch cannot take an inherited field away, but null is as if it were not there."""
    own = {"inherits_from": "3d_fullres", "data_identifier": "mine", "preprocessor_name": "DefaultPreprocessor", **back}
    options: dict[str, Any] = {
        "parameters": {"preprocessingSteps": ["Crop", "Resample", "Normalize"]},
        "patch": {"configurations": {"3d_own": own}},
    }
    if not back:
        with pytest.raises(BadConfiguration, match="preprocessing_steps are there"):
            planned(fingerprint, dataset_json, **options)
        return
    found = Plans(planned(fingerprint, dataset_json, **options)).configuration("3d_own")
    assert "preprocessing_steps" not in found.preprocessing_fields()


CHANGED_RULES = """
from nnunet_trainer.extensions import call_built_in, register

@register("targetSpacingRule", "Coarser")
def coarser(dataset, *, factor: float = 1.2):
    return [factor * mm for mm in call_built_in("targetSpacingRule", "Percentile", dataset)]

@register("targetSpacingRule", "OfAnother")
def of_another(dataset):
    return call_built_in("targetSpacingRule", "Coarser", dataset)

@register("targetSpacingRule", "Counted")
def counted(dataset):
    return dataset.fingerprint["counted_mm"]
"""


def test_a_step_builds_on_a_built_in_one(tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    write(tmp_path, "mine", mine=CHANGED_RULES)
    load_plugins(tmp_path)
    spacings = [
        planned(fingerprint, dataset_json, parameters=parameters)["configurations"]["3d_fullres"]["spacing"]
        for parameters in ({}, {"targetSpacingRule": {"name": "Coarser", "factor": 1.5}})
    ]
    assert spacings[1] == pytest.approx([1.5 * mm for mm in spacings[0]])
    with pytest.raises(BadConfiguration, match="Coarser is not built in, but of the plug-in mine"):
        planned(fingerprint, dataset_json, parameters={"targetSpacingRule": "OfAnother"})


def test_a_field_that_an_extractor_would_add(tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    write(tmp_path, "mine", mine=CHANGED_RULES)
    load_plugins(tmp_path)
    with pytest.raises(BadConfiguration) as refused:
        planned(fingerprint, dataset_json, parameters={"targetSpacingRule": "Counted"})
    assert "Mend the plug-in; or, where 'counted_mm' is a field of the fingerprint, extract it with" in refused.value.hint
