"""What the commands of the local shell tell of objects: what to do next, and why plans are as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.local.commands import describe
from nnunet_operator.local.commands.output import closing_table
from nnunet_operator.local.object_store.store import Store
from support.objects import dataset, plans, run
from support.world import MemoryWorld

UNKNOWN_LOSS = {"name": "nnUNetTrainer", "recipe": {"loss": "DiceC"}}


def ended(world: MemoryWorld) -> str:
    """The last word of a call."""
    world.settle()
    manifests = [manifest for key, manifest in world.objects.items() if key.kind in ("Dataset", "Plans", "TrainingRun")]
    return closing_table.closing(manifests, " --store other")


@pytest.mark.parametrize("kind", ["TrainingRun", "Plans", "Dataset"])
def test_who_is_refused_for_good_hears_how_to_begin_anew(kind: str) -> None:
    world = MemoryWorld()
    wrong = {
        "TrainingRun": run(trainer=UNKNOWN_LOSS),
        "Plans": plans(planner={"name": "ExperimentPlaner"}),
        "Dataset": dataset(fingerprint={"extractor": "HistogramLandmark"}),
    }
    world.put(wrong[kind])
    said, name = ended(world), wrong[kind]["metadata"]["name"]
    assert f"local delete {kind.lower()}/{name} --store other  # then apply it with the right name or value" in said


def test_who_waits_or_may_try_again_hears_nothing_of_deleting() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans())
    world.put(run())
    world.settle()
    world.fail(world.job(step="dataset"), 65)
    said = ended(world)
    assert "local describe dataset data --store other" in said
    assert "local delete" not in said


def test_who_has_begun_with_a_plugin_that_was_changed_hears_nothing_of_deleting() -> None:
    """Its results are there; the ConfigMap is put back."""
    world = MemoryWorld()
    for each in (dataset(), plans(), run(plugins=[{"configMapName": "mine"}])):
        world.put(each)
    world.plugins = {"mine": "a" * 64}
    for step in ("dataset", "plan", "preprocess"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    job = world.job(step="train")
    world.run(job)
    world.say(job, epoch=3, epochs=10)
    world.settle()
    world.plugins = {"mine": "b" * 64}
    world.disrupt(job)
    world.wait(minutes=1)
    said = ended(world)
    assert "trainingrun/run: PluginChanged" in said
    assert "local delete" not in said


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ({"notes": ["3d_fullres: patch 40×56×40.", "x" * 300]}, ["Notes of the planner:\n  3d_fullres: patch 40×56×40."]),
        ({"notes": []}, []),
        ({"notes": "none"}, []),
        ([], []),
        ({}, []),
        (None, []),
    ],
    ids=["notes", "no notes", "no list", "no report of ours", "an older one", "not there"],
)
def test_plans_are_described_with_the_planners_notes(tmp_path: Path, report: Any, told: list[str]) -> None:
    file = tmp_path / "report.json"
    if report is not None:
        file.write_text(json.dumps(report))
    world = MemoryWorld()
    manifest = world.put(plans())
    manifest["status"] = {"report": f"file://{file}"}
    said = describe.described(manifest, Store(tmp_path / "store"))
    assert ("Notes of the planner" in said) == bool(told)
    assert all(line in said for line in told)
