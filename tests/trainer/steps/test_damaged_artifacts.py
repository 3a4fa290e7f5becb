"""An artifact whose files are damaged or gone is not taken for whole: its step makes it again, as the message says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import artifact
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps import preprocess
from support.damages import empty, gone, halve
from support.datasets import copy_examples

from .conftest import Chain, Prepared, make_quick

pytestmark = pytest.mark.xdist_group("damaged-artifacts")  # its chain is made once, not by each worker

DAMAGES = pytest.mark.parametrize("damage", [halve, empty, gone])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prepared, Report]]:
    folder = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(pod.ENV_SCRATCH, str(folder / "scratch"))
        make_quick(patch)
        chain = Chain(Location(uri=f"file://{folder}/store"), copy_examples(folder / "raw"))
        read = chain.dataset()
        plans = chain.plan(read)
        data = chain.preprocess(read, plans)
        fold = chain.train(chain.train_order(data, plans, validation="Run"))
        yield Prepared(chain, read, plans, data), fold


@pytest.fixture
def prepared(made: tuple[Prepared, Report], pod_scratch: Path) -> Prepared:
    return made[0]


def folder_of(report: Report, kind: str) -> Path:
    found = report.artifact(kind)
    assert found is not None
    return Path(found.uri.removeprefix("file://"))


def contents(folder: Path) -> dict[str, bytes]:
    """All that an artifact holds; its manifest also says which shard wrote it."""
    names = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json" and "done" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


@DAMAGES
@pytest.mark.parametrize(
    "file", ["cases/hippocampus_003.b2nd", "cases/hippocampus_003.pkl", "gt_segmentations/hippocampus_003.nii.gz"]
)
def test_preprocessed_cases(prepared: Prepared, file: str, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    chain, folder = prepared.chain, folder_of(prepared.data, "preprocessed")
    before = contents(folder)
    damage(folder / file)
    with pytest.raises(BadData) as caught:
        chain.train(chain.train_order(prepared.data, prepared.plans, fold="1"))
    assert "hippocampus_003" in caught.value.message
    real, worked = preprocess.preprocess_and_store, []
    monkeypatch.setattr(preprocess, "preprocess_and_store", lambda name, *rest: worked.append(name) or real(name, *rest))
    again = chain.preprocess(prepared.read, prepared.plans)
    assert worked == ["hippocampus_003"], "what was whole is found again"
    assert again.artifacts == prepared.data.artifacts
    assert contents(folder) == before
    assert chain.preprocess(prepared.read, prepared.plans).summary["found"]


@pytest.mark.parametrize("file", ["manifest.json", "done/hippocampus_008.json", "dataset.json"])
def test_what_stands_beside_the_cases(prepared: Prepared, file: str) -> None:
    folder = folder_of(prepared.data, "preprocessed")
    before = contents(folder)
    gone(folder / file)
    chain = prepared.chain
    found = chain.preprocess(prepared.read, prepared.plans).summary["found"]
    assert found == file.startswith("done/"), "markers are of no more use to a whole artifact"
    assert contents(folder) == before


def test_other_shards_wait_for_the_damaged_case(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, folder = prepared.chain, folder_of(prepared.data, "preprocessed")
    before = contents(folder)
    empty(folder / "cases/hippocampus_003_seg.b2nd")
    for index, whole in (("0", False), ("1", True)):
        monkeypatch.setenv(pod.ENV_SHARD, index)
        chain.preprocess(prepared.read, prepared.plans, shards=2)
        assert (folder / "manifest.json").exists() == whole
    assert contents(folder) == before


@DAMAGES
def test_a_dataset_and_plans(prepared: Prepared, damage: Callable[[Path], None]) -> None:
    chain = prepared.chain
    dataset, plans = folder_of(prepared.read, "dataset"), folder_of(prepared.plans, "plans")
    before = contents(dataset), contents(plans)
    damage(dataset / "dataset_fingerprint.json")
    damage(plans / "nnUNetPlans.json")
    with pytest.raises(BadData) as caught:
        chain.train(chain.train_order(prepared.data, prepared.plans, fold="1"))
    assert "nnUNetPlans.json" in caught.value.message or "does not exist" in caught.value.message
    assert chain.dataset().artifacts == prepared.read.artifacts
    assert chain.plan(prepared.read).artifacts == prepared.plans.artifacts
    assert (contents(dataset), contents(plans)) == before


def test_voxels_that_were_changed_in_place(prepared: Prepared) -> None:
    chain, folder = prepared.chain, folder_of(prepared.data, "preprocessed")
    before = contents(folder)
    for path in (folder / "cases").glob("*1.b2nd"):
        content = path.read_bytes()
        path.write_bytes(content[:300] + bytes(byte ^ 0x5A for byte in content[300:-300]) + content[-300:])
    with pytest.raises(BadData) as caught:
        chain.train(chain.train_order(prepared.data, prepared.plans, fold="1"))
    assert caught.value.message.startswith(f"file://{folder}/cases: case hippocampus_0"), "not the copy in scratch"
    assert caught.value.hint.startswith("Delete that case's files there, then ")
    for path in (folder / "cases").glob("*1.b2nd"):
        path.unlink()
    chain.preprocess(prepared.read, prepared.plans)
    assert contents(folder) == before


@pytest.mark.parametrize("damage", [halve, gone])
def test_a_fold_without_its_checkpoint_is_trained_again(
    made: tuple[Prepared, Report], prepared: Prepared, damage: Callable[[Path], None]
) -> None:
    chain, fold = prepared.chain, made[1]
    folder = Path(fold.summary["folderUri"].removeprefix("file://"))
    order = chain.train_order(prepared.data, prepared.plans, validation="Run")
    assert chain.train(order).summary["found"]
    damage(folder / "checkpoint_final.pth")
    again = chain.train(order)
    assert not again.summary["found"]
    assert again.summary["epochs"] == 2
    assert chain.train(order).summary["found"]
    whole = artifact.find(chain.store, folder.as_posix().removeprefix(chain.storage.uri.removeprefix("file://") + "/"))
    assert whole is not None
    assert artifact.damaged(whole) == []


@pytest.mark.parametrize("damage", [halve, gone])
def test_a_damaged_validation_is_repeated_without_training(
    made: tuple[Prepared, Report], prepared: Prepared, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, fold = prepared.chain, made[1]
    folder = Path(fold.summary["folderUri"].removeprefix("file://"))
    segmentation = next((folder / "validation").glob("*.nii.gz"))
    before = segmentation.read_bytes()
    damage(segmentation)
    monkeypatch.setattr("nnunet_trainer.training.loop.fold_training.train_epoch", lambda *_: pytest.fail("it is trained already"))
    order = chain.train_order(prepared.data, prepared.plans, validation="Run")
    assert chain.train(order).summary["validationDice"] == fold.summary["validationDice"]
    assert segmentation.read_bytes() == before
    assert chain.train(order).summary["found"]


def test_what_is_only_looked_at_may_go(made: tuple[Prepared, Report], prepared: Prepared) -> None:
    chain, fold = prepared.chain, made[1]
    folder = Path(fold.summary["folderUri"].removeprefix("file://"))
    kept = folder / "progress.png"
    content = kept.read_bytes()
    gone(kept)
    assert chain.train(chain.train_order(prepared.data, prepared.plans, validation="Run")).summary["found"]
    kept.write_bytes(content)
