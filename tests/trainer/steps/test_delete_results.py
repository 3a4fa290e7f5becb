"""`retention: Delete`: what a run wrote goes; what another object may have a share in, or nobody of ours wrote, stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.artifacts.writer import ArtifactWriter
from nnunet_trainer.contract import report, work_order
from nnunet_trainer.contract.faults import BadUsage, StorageFault
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import DeleteResultsOrder, Input, Location, TrainOrder
from nnunet_trainer.steps import delete_results, owners
from nnunet_trainer.steps.owners import UNKNOWN

DIGEST, OTHER_DIGEST = "0123456789abcdef", "fedcba9876543210"
MODEL = "nnUNet_results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"
IN_A_FOLD = (
    "checkpoint_final.pth", "checkpoint_best.pth", "training_log_2026_1_1_00_00_00.txt", "progress.png", "debug.json",
    "validation/hippocampus_001.nii.gz", "validation/summary.json", "validation_after_ep_0010/summary.json",
)  # fmt: skip
BESIDE_FOLDS = ("plans.json", "dataset.json", "dataset_fingerprint.json", "predicted_next_stage/3d_cascade/hippocampus_001.npz")
OF_ATTEMPTS = ("attempts/0/fold_0/checkpoint_00001_00001.pth", "attempts/1-5f0c/fold_0/training_log.txt")


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A storage of its own."""
    if request.param == "s3":
        location: Location = request.getfixturevalue("s3")
        return replace(location, uri=f"{location.uri}/{tmp_path.name}")
    return Location(uri=f"file://{tmp_path}/store")


def train_order(place: Location, owner: str = "uid-1", run: str = "mine", namespace: str = "default") -> TrainOrder:
    given = Input(location=place, digest="d")
    return TrainOrder(
        namespace=namespace, run=run, dataset_name="Dataset004_Hippocampus", preprocessed=given, plans=given,
        configuration="3d_fullres", fold="0", seed=1, storage=place, owner=owner,
    )  # fmt: skip


def trained(place: Location, owner: str = "uid-1", *, run: str = "mine", digest: str = DIGEST, finished: bool = True) -> str:
    """What a training leaves; its prefix."""
    store, prefix = open_store(place), f"runs/default/{run}/{digest}"
    owners.claim(store, prefix, train_order(place, owner, run))
    for name in (*BESIDE_FOLDS,):
        store.put(f"{prefix}/{MODEL}/{name}", b"x")
    for name in OF_ATTEMPTS:
        store.put(f"{prefix}/{name}", b"x")
    fold = f"{prefix}/{MODEL}/fold_0"
    writer = ArtifactWriter(store, fold, "run", "whole digest")
    for name in (*IN_A_FOLD, *(["curves/of/a/version/to/come.bin"] if finished else [])):
        writer.put_bytes(name, b"xx")
    if finished:
        writer.finish({})
    return prefix


def delete(place: Location, owner: str = "uid-1", run: str = "mine") -> Report:
    order = DeleteResultsOrder(namespace="default", run=run, owner=owner, storage=place)
    done = delete_results.carry_out(work_order.decode(work_order.encode(order)), lambda _: None)  # type: ignore[arg-type]
    assert report.decode(report.encode(done)) == done
    return done


def names(store: ObjectStore, prefix: str = "runs") -> list[str]:
    return [info.key for info in store.list(f"{prefix}/")]


def test_all_that_a_run_wrote_goes_and_nothing_else(place: Location) -> None:
    store = open_store(place)
    others = [
        "datasets/Dataset004_Hippocampus/0123456789abcdef/manifest.json",
        "plans/Dataset004_Hippocampus/0123456789abcdef/nnUNetPlans.json",
        "preprocessed/Dataset004_Hippocampus/0123456789abcdef/manifest.json",
        "reports/Dataset004_Hippocampus/0123456789abcdef/report.json",
        "runs/default/mine-too/0123456789abcdef/attempts/0/fold_0/checkpoint_00001_00001.pth",
        "runs/default/min/0123456789abcdef/attempts/0/fold_0/checkpoint_00001_00001.pth",
        "runs/other/mine/0123456789abcdef/attempts/0/fold_0/checkpoint_00001_00001.pth",
        "runs/default/mine/notes.txt",
        "runs/default/mine/notes/attempts/0/fold_0/a.pth",
    ]
    for key in others:
        store.put(key, b"x")
    prefix = trained(place)
    before = len(names(store, prefix))
    done = delete(place)
    assert sorted(info.key for info in store.list() if not info.key.startswith(".nnunet/")) == sorted(others)
    assert done.summary["deleted"] == before - 1, "all but the note of the owner"
    assert done.summary["sizeBytes"] > 0
    assert done.summary["kept"] == []
    entry = done.artifact("deletion")
    assert entry is not None
    assert entry.uri == store.uri("runs/default/mine")


@pytest.mark.parametrize("finished", [True, False])
def test_what_no_training_wrote_stays_and_is_named(place: Location, finished: bool) -> None:
    store, prefix = open_store(place), trained(place, finished=finished)
    strange = [
        "crossval_results_folds_0_1_2_3_4/postprocessing.pkl",
        "inference.txt",
        "fold_0/mine/segmentation.nii.gz",
        "fold_0x/checkpoint_final.pth",
        "predicted_next_stage/deep/er/x.npz",
    ]
    left = [f"{prefix}/{MODEL}/{name}" for name in strange]
    left += [f"{prefix}/notes.txt"] + ([] if finished else [f"{prefix}/{MODEL}/fold_0/curves/unlisted.bin"])
    for key in left:
        store.put(key, b"mine")
    done = delete(place)
    assert names(store) == sorted(left)
    (line,) = done.summary["kept"]
    assert line.startswith(f"{store.uri(prefix)}: no training wrote ")
    assert f"and {len(left) - 3} more" in line


def test_each_digest_that_the_run_had_goes(place: Location) -> None:
    store = open_store(place)
    trained(place)
    trained(place, digest=OTHER_DIGEST, finished=False)
    delete(place)
    assert names(store) == []


def test_what_another_object_has_a_share_in_stays_until_it_leaves_too(place: Location) -> None:
    store, prefix = open_store(place), trained(place, "uid-1")
    trained(place, "uid-2")  # the same run in another cluster
    before = names(store)
    done = delete(place, "uid-1")
    (line,) = done.summary["kept"]
    assert line == f"{store.uri(prefix)}: its results are those of TrainingRun default/mine with uid uid-2 too"
    assert done.summary["deleted"] == 0
    assert names(store) == [key for key in before if not key.endswith("owners/uid-1.json")]
    delete(place, "uid-2")
    assert names(store) == []


def test_what_an_earlier_object_retained_stays(place: Location) -> None:
    """It was deleted with `retention: Retain`, which says nothing to the storage: its note stays."""
    store = open_store(place)
    prefix = trained(place, "uid-of-the-first")
    owners.claim(store, prefix, train_order(place, "uid-of-the-second"))
    assert "uid-of-the-first" in delete(place, "uid-of-the-second").summary["kept"][0]
    assert len(names(store)) > len(IN_A_FOLD)


def test_a_run_that_found_nothing_of_its_own_deletes_nothing(place: Location) -> None:
    store = open_store(place)
    trained(place, "uid-1")
    before = names(store)
    done = delete(place, "uid-2")
    assert "noted as those of TrainingRun default/mine with uid uid-1" in done.summary["kept"][0]
    assert names(store) == before
    assert delete(place, run="never-began").summary == {"deleted": 0, "sizeBytes": 0, "kept": []}


def test_results_of_a_version_that_noted_no_owner_stay(place: Location) -> None:
    store, prefix = open_store(place), f"runs/default/mine/{DIGEST}"
    trained(place, owner="")
    before = names(store)
    assert not [key for key in before if "/owners/" in key]
    assert "a version before 0.2.0 wrote them" in delete(place).summary["kept"][0]
    owners.claim(store, prefix, train_order(place))  # this version goes on with them
    assert owners.of(store, prefix).uids == {"uid-1", UNKNOWN}
    assert "somebody who began them with a version before 0.2.0 too" in delete(place).summary["kept"][0]
    assert [key for key in names(store) if "/owners/" not in key] == before


@pytest.mark.parametrize("stop_at", [1, 5, 12])
def test_an_interruption_is_gone_on_from(place: Location, stop_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = trained(place)
    store = open_store(place)
    left = {"n": stop_at}
    real = type(store).delete

    def some(self: Any, key: str) -> None:
        if "/owners/" not in key:
            left["n"] -= 1
            if left["n"] < 0:
                raise StorageFault("StorageUnreachable", "away")
        real(self, key)

    monkeypatch.setattr(type(store), "delete", some)
    with pytest.raises(StorageFault):
        delete(place)
    assert owners.of(store, prefix) == owners.Owners(frozenset({"uid-1"}), frozenset()), "and whoever trains may begin"
    monkeypatch.setattr(type(store), "delete", real)
    delete(place)
    assert names(store) == []


def test_nobody_trains_where_results_are_being_deleted(place: Location) -> None:
    store, prefix = open_store(place), trained(place)
    order = DeleteResultsOrder(namespace="default", run="mine", owner="uid-1", storage=place)
    assert owners.announce_deletion(store, prefix, order) == frozenset()
    with pytest.raises(StorageFault) as refused:
        owners.claim(store, prefix, train_order(place, "uid-2"))
    assert refused.value.reason == "ResultsBeingDeleted"
    assert store.uri(f"{prefix}/owners/uid-1.deleting") in refused.value.hint
    assert owners.announce_deletion(store, prefix, order) == {"uid-2"}, "and who came is seen from then on"
    owners.end_deletion(store, prefix, order)
    owners.claim(store, prefix, train_order(place, "uid-2"))


@pytest.mark.parametrize("field", ["namespace", "run", "owner"])
@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a..b", "/", "a\n", "ä"])
def test_no_name_leads_elsewhere(field: str, name: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"namespace": "default", "run": "mine", "owner": "uid-1", field: name}
    order = DeleteResultsOrder(**given, storage=Location(uri=f"file://{tmp_path}"))
    with pytest.raises(BadUsage):
        delete_results.carry_out(order, lambda _: None)


@pytest.mark.parametrize("link", ["attempts/2", f"{MODEL}/fold_1", f"{MODEL}/predicted_next_stage/linked"])
def test_a_link_to_another_folder_is_not_followed(link: str, tmp_path: Path) -> None:
    place, victim = Location(uri=f"file://{tmp_path}/store"), tmp_path / "victim"
    victim.mkdir()
    (victim / "checkpoint_final.pth").write_bytes(b"x")
    prefix = trained(place)
    path = tmp_path / "store" / prefix / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim)
    kept = delete(place).summary["kept"]
    assert (victim / "checkpoint_final.pth").exists()
    assert link in kept[0]


def test_empty_folders_of_the_run_go(tmp_path: Path) -> None:
    trained(Location(uri=f"file://{tmp_path}"))
    trained(Location(uri=f"file://{tmp_path}"), run="other")
    delete(Location(uri=f"file://{tmp_path}"))
    assert [path.name for path in (tmp_path / "runs" / "default").iterdir()] == ["other"]


def test_an_order_that_does_not_say_whose_it_is_notes_nothing(place: Location) -> None:
    store = open_store(place)
    owners.claim(store, f"runs/default/mine/{DIGEST}", train_order(place, owner=""))
    assert names(store) == []


def test_the_folds_of_a_run_that_begin_at_once_are_one_owner(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other fold's note and first file come between the two questions."""
    store, prefix = open_store(place), f"runs/default/mine/{DIGEST}"
    real: Callable[..., bool] = owners._is_in_use

    def meanwhile(*arguments: Any) -> bool:
        monkeypatch.setattr(owners, "_is_in_use", real)
        trained(place)
        return real(*arguments)

    monkeypatch.setattr(owners, "_is_in_use", meanwhile)
    owners.claim(store, prefix, train_order(place))
    assert owners.of(store, prefix).uids == {"uid-1"}
