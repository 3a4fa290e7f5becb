from __future__ import annotations

import errno
import os
import shutil
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.artifacts import artifact, open_store
from nnunet_trainer.contract import keys, pod
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, ExitCode, StorageFault
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import PlannerChoice
from nnunet_trainer.dataset import parallel
from nnunet_trainer.preprocessing.storage import PreprocessedFolder
from nnunet_trainer.steps import preprocess

from .conftest import SMALL, TARGET, Chain, Prepared


@pytest.fixture
def planned(local: Chain) -> tuple[Chain, Report, Report]:
    read = local.dataset()
    return local, read, local.plan(read)


def stored(chain: Chain) -> set[str]:
    return {info.key.split("/", 3)[3] for info in chain.store.list("preprocessed/")}


def test_the_artifact_has_all_that_training_reads(prepared: Prepared, tmp_path: Path) -> None:
    location = prepared.chain.given(prepared.data, "preprocessed").location
    found = artifact.require(open_store(location), "preprocessed")
    names = set(found.files)
    assert {f"gt_segmentations/{c}.nii.gz" for c in _cases()} <= names
    assert {f"cases/{c}{s}" for c in _cases() for s in (".b2nd", "_seg.b2nd", ".pkl")} <= names
    assert names >= {"dataset.json", "dataset_fingerprint.json", "splits_final.json"}
    assert prepared.data.summary["sizeBytes"] == sum(f.size for f in found.files.values())
    found.fetch([n for n in names if n.startswith("cases/")], tmp_path)
    folder = PreprocessedFolder(tmp_path / "cases")
    assert folder.cases == _cases()
    case = folder.open("hippocampus_001")
    assert case.data.shape[1:] == case.seg.shape[1:]
    assert abs(float(np.mean(case.data[:]))) < 0.1  # z-scored


def _cases() -> list[str]:
    return [f"hippocampus_{n:03d}" for n in (1, 3, 8, 11, 19)]


def test_shards_in_any_order_make_one_artifact(planned: tuple[Chain, Report, Report], monkeypatch: pytest.MonkeyPatch) -> None:
    chain, read, plans = planned
    monkeypatch.setenv(pod.ENV_SHARD, "1")
    first = chain.preprocess(read, plans, shards=2)
    assert (first.summary["shardCases"], first.summary["cases"]) == (2, 5)
    assert keys.MANIFEST not in stored(chain)
    monkeypatch.setenv(pod.ENV_SHARD, "0")
    last = chain.preprocess(read, plans, shards=2)
    assert last.summary["shardCases"] == 3
    assert last.artifacts == first.artifacts
    assert keys.MANIFEST in stored(chain)
    assert chain.preprocess(read, plans, shards=2).summary["found"]


def test_a_killed_shard_goes_on_at_its_next_case(planned: tuple[Chain, Report, Report], monkeypatch: pytest.MonkeyPatch) -> None:
    chain, read, plans = planned
    real, worked = preprocess.preprocess_and_store, []

    def dies_at_the_third(name: str, *rest: Any) -> int:
        if len(worked) == 2:
            raise RuntimeError("killed")
        worked.append(name)
        return real(name, *rest)

    monkeypatch.setattr(preprocess, "preprocess_and_store", dies_at_the_third)
    with pytest.raises(RuntimeError, match="killed"):
        chain.preprocess(read, plans)
    kept = [n for n in stored(chain) if n.startswith("done/")]
    assert sorted(kept) == [f"done/{c}.json" for c in _cases()[:2]]
    assert keys.MANIFEST not in stored(chain)
    again: list[str] = []
    monkeypatch.setattr(preprocess, "preprocess_and_store", lambda name, *rest: again.append(name) or real(name, *rest))
    report = chain.preprocess(read, plans)
    assert again == _cases()[2:]
    assert report.summary["cases"] == 5
    assert chain.heard[-1].done == 5


def test_a_case_without_its_marker_is_made_again(planned: tuple[Chain, Report, Report]) -> None:
    """Its files may be those of a pod that died while it wrote them."""
    chain, read, plans = planned
    report = chain.preprocess(read, plans)
    store = open_store(chain.given(report, "preprocessed").location)
    store.delete("manifest.json")
    store.delete("done/hippocampus_008.json")
    whole = store.get("cases/hippocampus_008.b2nd")
    store.put("cases/hippocampus_008.b2nd", b"torn")
    again = chain.preprocess(read, plans)
    assert not again.summary["found"]
    assert len(store.get("cases/hippocampus_008.b2nd")) == len(whole)


def test_plans_that_preprocess_alike_share_the_data(prepared: Prepared) -> None:
    patch = {"configurations": {"3d_fullres": {**SMALL["configurations"]["3d_fullres"], "batch_size": 5}}}
    other = prepared.chain.plan(prepared.read, plans_name="bigger", patch=patch)
    report = prepared.chain.preprocess(prepared.read, other)
    assert report.summary["found"]
    assert report.artifacts == prepared.data.artifacts


def test_wrong_orders_are_refused(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfiguration, match="3d_fullres"):
        prepared.chain.preprocess(
            prepared.read, prepared.chain.plan(prepared.read, patch={"configurations": {"3d_fullres": {"spacing": []}}})
        )
    monkeypatch.setenv(pod.ENV_SHARD, "2")
    with pytest.raises(BadUsage, match="2 shards"):
        preprocess.own_shard(["a"], 2)


@pytest.mark.s3
def test_in_s3_only_the_shards_files_are_fetched(remote: Chain, monkeypatch: pytest.MonkeyPatch, pod_scratch: Path) -> None:
    read = remote.dataset()
    plans = remote.plan(read)
    staged: list[str] = []
    real = preprocess.Source.stage
    monkeypatch.setattr(preprocess.Source, "stage", lambda self, paths, *rest: staged.extend(paths) or real(self, paths, *rest))
    monkeypatch.setenv(pod.ENV_SHARD, "1")
    remote.preprocess(read, plans, shards=2)
    assert {Path(p).name[:15] for p in staged} == {"dataset.json", "hippocampus_003", "hippocampus_011"}
    monkeypatch.setenv(pod.ENV_SHARD, "0")
    report = remote.preprocess(read, plans, shards=2)
    assert (
        artifact.require(open_store(remote.given(report, "preprocessed").location), "preprocessed").manifest.summary["cases"] == 5
    )
    assert not (pod_scratch / "raw" / TARGET).exists()  # what was worked on leaves the disk


def content(chain: Chain, report: Report) -> dict[str, bytes]:
    """All files of the artifact but the manifest, which names who was last."""
    store = open_store(chain.given(report, "preprocessed").location)
    return {info.key: store.get(info.key) for info in store.list() if info.key != keys.MANIFEST}


def check_whole(chain: Chain, report: Report) -> None:
    """Every file that the manifest names is there with the content that it says."""
    found = artifact.require(open_store(chain.given(report, "preprocessed").location), "preprocessed")
    for name in found.files:
        found.read(name)
    assert {f"cases/{c}{s}" for c in _cases() for s in (".b2nd", "_seg.b2nd", ".pkl")} <= set(found.files)


def _work(chain: Chain, read: Report, plans: Report, scratch: Path, start: Any) -> None:
    os.environ[pod.ENV_SCRATCH] = str(scratch)
    parallel.cpu_limit = lambda: 1
    start.wait()
    chain.preprocess(read, plans)


def test_shards_of_the_same_index_at_once_do_no_harm(
    planned: tuple[Chain, Report, Report], prepared: Prepared, tmp_path: Path
) -> None:
    chain, read, plans = planned
    context = get_context("spawn")  # a fork would copy the locks of this process's threads
    start = context.Barrier(2)
    pods = [context.Process(target=_work, args=(chain, read, plans, tmp_path / f"scratch{n}", start)) for n in range(2)]
    for one in pods:
        one.start()
    for one in pods:
        one.join()
    assert [one.exitcode for one in pods] == [0, 0]
    report = chain.preprocess(read, plans)
    assert report.summary["found"]
    check_whole(chain, report)
    assert content(chain, report) == content(prepared.chain, prepared.data)


@pytest.mark.parametrize("which", range(1, 21, 3))
def test_a_storage_that_gets_full(planned: tuple[Chain, Report, Report], monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    """At any of its files: half of it is written, then there is no room."""
    chain, read, plans = planned
    copy, copied = shutil.copyfile, []

    def full(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) >= which:
            Path(target).write_bytes(Path(source).read_bytes()[: Path(source).stat().st_size // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("nnunet_trainer.artifacts.directory.shutil.copyfile", full)
        with pytest.raises(StorageFault, match="No space is left") as caught:
            chain.preprocess(read, plans)
    assert (caught.value.reason, caught.value.exit_code) == ("StorageFull", ExitCode.IO_ERROR)
    assert keys.MANIFEST not in stored(chain)
    for marker in [name for name in stored(chain) if name.startswith("done/")]:
        case = Path(marker).stem
        assert {f"cases/{case}{s}" for s in (".b2nd", "_seg.b2nd", ".pkl")} <= stored(chain)
    check_whole(chain, chain.preprocess(read, plans))


def test_another_object_that_asks_finds_the_same_data(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of another name, made by another planner and transferred from elsewhere: what decides the data is what counts."""
    monkeypatch.setattr(preprocess, "preprocess_and_store", lambda *_: pytest.fail("preprocessed again"))
    chain, read = prepared.chain, prepared.read
    residual = chain.plan(read, planner=PlannerChoice(name="nnUNetPlannerResEncM"), patch={})
    assert chain.preprocess(read, residual).artifacts == prepared.data.artifacts
    moved = chain.transfer(prepared.plans, read, read, name=TARGET)
    assert chain.preprocess(read, moved).artifacts == prepared.data.artifacts


def test_another_spacing_is_other_data(prepared: Prepared) -> None:
    patch = {"configurations": {"3d_fullres": {**SMALL["configurations"]["3d_fullres"], "spacing": [1.0, 1.0, 1.25]}}}
    plans = prepared.chain.plan(prepared.read, patch=patch)
    report = prepared.chain.preprocess(prepared.read, plans)
    assert not report.summary["found"]
    assert report.artifacts != prepared.data.artifacts


def test_data_of_another_format_are_not_taken(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version's key differs, so that an old version's data are neither read nor harmed."""
    before = content(prepared.chain, prepared.data)
    monkeypatch.setattr(keys, "PREPROCESSED_FORMAT", keys.PREPROCESSED_FORMAT + 1)
    report = prepared.chain.preprocess(prepared.read, prepared.plans)
    assert not report.summary["found"]
    assert report.artifacts != prepared.data.artifacts
    assert content(prepared.chain, prepared.data) == before
