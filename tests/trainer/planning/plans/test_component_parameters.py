"""Normalization schemes and resampling functions with parameters: declared once, checked, held whole in the plans, and used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.cli import main
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import preprocess_image
from support.plugins import isolated, write

from ..conftest import DATASET_JSON, FINGERPRINT

PLUGIN = """
    from typing import Annotated
    import numpy as np
    from nnunet_trainer.extensions import Range, register
    from nnunet_trainer.planning.planner_presets import derive

    @register("normalization", "Percentile")
    def percentile(image, seg, use_mask, properties, *, lower: Annotated[float, Range(0, 50)] = 0.5, up_to: float):
        '''One percentile is 0, and another value is 1.'''
        image -= np.percentile(image, lower)
        image /= up_to

    @register("normalization", "Bare")
    def bare(image, seg, use_mask, properties):
        '''Without parameters.'''

    @register("resampling", "Blocks")
    def blocks(data, new_shape, current_spacing, new_spacing, is_seg=False, *, offset: Annotated[int, Range(0, 3)] = 1, times: int):
        places = [np.minimum(np.arange(n) * o // n + offset, o - 1) for n, o in zip(new_shape, data.shape[1:])]
        return times * data[np.ix_(range(len(data)), *places)]

    @register("planner", "Mine")
    def mine():
        rule = {"name": "SameForAll", "scheme": {"name": "Percentile", "upTo": 5}}
        return derive("ExperimentPlanner", plans_name="mine", normalization_rule=rule, resampling={"name": "Blocks", "times": 2})

    @register("normalizationRule", "Written")
    def written(dataset):
        return [{"name": "Percentile", "upTo": 3.0, "lower": 2}]
"""


@pytest.fixture(autouse=True)
def loaded(tmp_path: Path) -> Iterator[Path]:
    folder = write(tmp_path, "own", own=PLUGIN)
    with isolated():
        load_plugins(folder)
        yield folder


def planned(**options: Any) -> dict[str, Any]:
    made = plan(FINGERPRINT, DATASET_JSON, dataset_name="Dataset001_A", reader="SimpleITKIO", **options)
    return made["configurations"]["3d_fullres"]


def scheme(given: Any) -> dict[str, Any]:
    return {"parameters": {"normalizationRule": {"name": "SameForAll", "scheme": given}}}


@pytest.mark.parametrize(
    ("options", "held"),
    [
        (scheme({"name": "Percentile", "upTo": 2}), {"name": "Percentile", "lower": 0.5, "upTo": 2.0}),
        (scheme({"name": "Percentile", "upTo": 2, "lower": 10}), {"name": "Percentile", "lower": 10.0, "upTo": 2.0}),
        ({"parameters": {"normalizationRule": "Written"}}, {"name": "Percentile", "lower": 2.0, "upTo": 3.0}),
        ({"planner": "Mine"}, {"name": "Percentile", "lower": 0.5, "upTo": 5}),
        (
            {"patch": {"configurations": {"3d_fullres": {"normalization_schemes": [{"name": "Percentile", "upTo": 4}]}}}},
            {"name": "Percentile", "lower": 0.5, "upTo": 4},
        ),
        (scheme("Bare"), "Bare"),
        (scheme({"name": "Bare"}), "Bare"),
        (scheme({"name": "ZScoreNormalization"}), "ZScoreNormalization"),
        ({}, "CTNormalization"),
    ],
)
def test_plans_hold_a_scheme_with_all_its_parameters(options: dict[str, Any], held: Any) -> None:
    assert planned(**options)["normalization_schemes"] == [held]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Percentile", "Percentile needs upTo"),
        (
            {"name": "Percentile", "upTo": 1, "lower": 51},
            "scheme.lower: 51 is out of range; a number between 0 and 50",
        ),
        ({"name": "Percentile", "upTo": 1, "uper": 51}, "Percentile has no such parameter"),
        ({"name": "Percentil", "upTo": 1}, "Did you mean Percentile"),
        ({"name": "ZScoreNormalization", "lower": 1}, "ZScoreNormalization has no such parameter"),
        (3, "a name or an object with a name was expected, found 3"),
    ],
)
def test_a_wrong_parameter_is_refused_where_it_is_planned(given: Any, said: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        planned(**scheme(given))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"normalization_schemes": ["Percentile"]}, "normalization_schemes[0]: Percentile needs upTo"),
        ({"normalization_schemes": [{"name": "Percentile", "upTo": "a"}]}, "normalization_schemes[0].upTo: a number was expected"),
        ({"normalization_schemes": [{"upTo": 1}]}, "normalization_schemes names None, expected one of CTNormalization"),
        (
            {"resampling_fn_seg": "Blocks", "resampling_fn_seg_kwargs": {}},
            "seg_kwargs.times is missing: Blocks needs it",
        ),
        (
            {"resampling_fn_data": "Blocks", "resampling_fn_data_kwargs": {"times": 1, "offset": 4}},
            "resampling_fn_data_kwargs.offset: 4 is out of range; an integer between 0 and 3 was expected",
        ),
        ({"resampling_fn_data_kwargs": {"order": 6}}, "resampling_fn_data_kwargs.order: 6 is out of range"),
        (
            {"resampling_fn_seg_kwargs": {"order_z": "a"}},
            "seg_kwargs.order_z: an integer between 0 and 5 was expected",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_in_plans(patch: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        planned(patch={"configurations": {"3d_fullres": patch}})
    assert said in str(caught.value)


def test_resampling_takes_parameters() -> None:
    with_own = planned(parameters={"resampling": {"name": "Blocks", "times": 3}})
    assert with_own["resampling_fn_data"] == "Blocks"
    assert with_own["resampling_fn_seg_kwargs"] == {"is_seg": True, "offset": 1, "times": 3}
    nnunets = planned(parameters={"resampling": {"name": "resample_data_or_seg_to_shape", "separateZAnisotropyThreshold": 2}})
    plain = planned()
    assert nnunets["resampling_fn_data_kwargs"] == {**plain["resampling_fn_data_kwargs"], "separate_z_anisotropy_threshold": 2.0}
    assert planned(parameters={"resampling": "resample_data_or_seg_to_shape"}) == plain
    with pytest.raises(BadConfiguration, match="Blocks needs times"):
        planned(parameters={"resampling": "Blocks"})


def test_what_is_planned_is_done() -> None:
    made = plan(FINGERPRINT, DATASET_JSON, dataset_name="Dataset001_A", reader="SimpleITKIO", planner="Mine")
    plans = Plans(made)
    images = np.arange(8 * 9 * 10, dtype=np.float32).reshape(1, 8, 9, 10) + 1
    spacing = [2 * s for s in made["configurations"]["3d_fullres"]["spacing"]]
    data = preprocess_image(images.copy(), {"spacing": spacing}, plans, "3d_fullres", DATASET_JSON)[0]
    expected = (images - np.percentile(images, 0.5)) / 5
    assert data.shape[1:] == (16, 18, 20)
    assert data.max() == pytest.approx(2 * expected.max())
    assert data[0, 0, 0, 0] == pytest.approx(2 * expected[0, 1, 1, 1])


def test_explained_told_and_part_of_the_datas_address(loaded: Path) -> None:
    notes: list[str] = []
    options = {"dataset_name": "Dataset001_A", "reader": "SimpleITKIO"}
    made = plan(FINGERPRINT, DATASET_JSON, **options, **scheme({"name": "Percentile", "upTo": 2}), notes=notes)
    assert any(line.startswith("normalization Percentile (upTo 2.0); nonzero mask") for line in notes)
    assert any("it has no normalization Percentile (of the plug-in own)" in line for line in notes)
    assert "normalization Percentile" in made["plugins"][0]["components"]
    other = plan(FINGERPRINT, DATASET_JSON, **options, **scheme({"name": "Percentile", "upTo": 3}))
    fields = [Plans(each).configuration("3d_fullres").preprocessing_fields() for each in (made, other)]
    assert fields[0] != fields[1]
    assert json.dumps(fields[0]["normalization_schemes"]) == '[{"name": "Percentile", "lower": 0.5, "upTo": 2.0}]'


def test_components_show_them(loaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["components", "normalization", "--plugins", str(loaded)]) == 0
    said = capsys.readouterr().out
    assert "Percentile: One percentile is 0, and another value is 1." in said
    assert "lower: a number between 0 and 50, default 0.5" in said
    assert "upTo: a number, needed" in said
