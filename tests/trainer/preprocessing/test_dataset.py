"""A whole dataset: shards, resuming, what stands beside, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadData, StorageFault
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.planning.plans.patch import merge
from nnunet_trainer.preprocessing import dataset as preprocessing
from nnunet_trainer.preprocessing import storage
from nnunet_trainer.preprocessing.case import read_and_preprocess, segmentation_from_logits
from nnunet_trainer.preprocessing.dataset import preprocess_dataset
from nnunet_trainer.preprocessing.storage import SUFFIXES, PreprocessedFolder
from support.containers.disk import NoDisk, enlarge, small_disk
from support.datasets import make_dataset, write_nifti
from support.trainings import small_networks

C = "3d_fullres"


@pytest.fixture
def raw(tmp_path: Path) -> RawDataset:
    return RawDataset.open(make_dataset(tmp_path / "Dataset001_A", cases=5, shape=(8, 16, 14), border=2))


@pytest.fixture
def plans(raw: RawDataset, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    return plan(extract(raw), raw.dataset_json, dataset_name=raw.name, reader=raw.reader, target_spacing=[1.7, 1.1, 0.9])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_shards_make_what_one_process_makes(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    preprocess_dataset(raw, plans, C, tmp_path / "whole", workers=2)
    for index in (1, 0):
        made = preprocess_dataset(raw, plans, C, tmp_path / "shards", cases=preprocessing.shard(list(raw.cases), index, 2))
        assert made == list(raw.cases)[index::2]
    assert content(tmp_path / "whole") == content(tmp_path / "shards")
    assert PreprocessedFolder(tmp_path / "whole").cases == list(raw.cases)


def _at_once(raw: RawDataset, plans: dict[str, Any], out: Path, start: Any) -> None:
    start.wait()
    preprocess_dataset(raw, plans, C, out)


def test_the_same_shard_twice_at_once(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    preprocess_dataset(raw, plans, C, tmp_path / "whole")
    context = get_context("spawn")  # a fork would copy the locks of this process's threads
    start = context.Barrier(3)
    both = [context.Process(target=_at_once, args=(raw, plans, tmp_path / "out", start)) for _ in range(3)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0, 0]
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not list((tmp_path / "out").glob(".partial-*"))


def test_finished_cases_are_kept(raw: RawDataset, plans: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    real = preprocessing.preprocess_and_store
    done: list[str] = []

    def killed_at_third(name: str, *rest: Any) -> int:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(name)
        return real(name, *rest)

    monkeypatch.setattr(preprocessing, "preprocess_and_store", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        preprocess_dataset(raw, plans, C, out)
    monkeypatch.undo()
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    assert len(before) == 6
    heard: list[tuple[int, int]] = []
    made = preprocess_dataset(raw, plans, C, out, progress=lambda a, b: heard.append((a, b)))
    assert made == list(raw.cases)[2:]
    assert heard == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert preprocess_dataset(raw, plans, C, out) == []


def test_a_disk_that_gets_full(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    preprocess_dataset(raw, plans, C, tmp_path / "whole")
    sizes = {case: sum((tmp_path / "whole" / (case + s)).stat().st_size for s in SUFFIXES) for case in raw.cases}
    room = sum(list(sizes.values())[:2]) * 5 // 4 // 1024 + 16
    try:
        with small_disk(tmp_path / "disk", room) as out:
            with pytest.raises(StorageFault, match="no space is left") as caught:
                preprocess_dataset(raw, plans, C, out)
            assert caught.value.reason == "NoSpace"
            kept = PreprocessedFolder(out).cases
            assert 0 < len(kept) < 5
            assert not list(out.glob(".partial-*"))
            enlarge(out, 100_000)
            assert preprocess_dataset(raw, plans, C, out) == [case for case in raw.cases if case not in kept]
            assert content(out) == content(tmp_path / "whole")
    except NoDisk as why:
        pytest.skip(f"no small disk can be mounted here: {why}")


def test_an_edited_image_is_preprocessed_again(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    preprocess_dataset(raw, plans, C, tmp_path / "out")
    edited = raw.cases["case_01"].images[0]
    later = (tmp_path / "out" / "case_01.pkl").stat().st_mtime + 5
    os.utime(edited, (later, later))
    assert preprocess_dataset(raw, plans, C, tmp_path / "out") == ["case_01"]


def test_a_mended_image_may_be_older(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    """Restored from a backup with its times, as `cp -p`, rsync and unzip do."""
    image, backup = raw.cases["case_01"].images[0], tmp_path / "backup"
    shutil.copy2(image, backup)
    shutil.copy2(raw.cases["case_02"].images[0], image)
    shutil.copy2(raw.cases["case_02"].label, raw.cases["case_01"].label)  # type: ignore[arg-type]
    os.utime(image, (1e9, 1e9))
    preprocess_dataset(raw, plans, C, tmp_path / "out")
    assert preprocess_dataset(raw, plans, C, tmp_path / "out") == []
    os.utime(backup, (1e9 - 1000, 1e9 - 1000))
    shutil.copy2(backup, image)
    with pytest.raises(BadData, match="Case case_01: The image has shape"):
        preprocess_dataset(raw, plans, C, tmp_path / "out")


def test_copies_with_their_times_are_found_again(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    preprocess_dataset(raw, plans, C, tmp_path / "out")
    copied = RawDataset.open(shutil.copytree(raw.folder, tmp_path / "elsewhere" / raw.name))
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert preprocess_dataset(copied, plans, C, tmp_path / "copy") == []
    shutil.rmtree(tmp_path / "copy/.nnunet/sources")
    assert preprocess_dataset(copied, plans, C, tmp_path / "copy") == []


def test_a_folder_of_other_plans_is_left_alone(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess_dataset(raw, plans, C, out)
    before = content(out)
    other = merge(plans, {"configurations": {C: {"spacing": [2.0, 2.0, 2.0]}}})
    with pytest.raises(BadData, match=r"holds data of other plans: spacing was .*, in these plans it is \[2\.0, 2\.0, 2\.0\]"):
        preprocess_dataset(raw, other, C, out)
    smaller_batch = merge(plans, {"configurations": {C: {"batch_size": 3}}})
    assert preprocess_dataset(raw, smaller_batch, C, out) == []  # the same data
    marker = out / storage.MARKER
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 0}))
    with pytest.raises(BadData, match="of format 0, this version reads and writes"):
        preprocess_dataset(raw, plans, C, out)
    with pytest.raises(BadData, match="of format 0"):
        PreprocessedFolder(out)  # training reads it so
    marker.write_text("{")
    with pytest.raises(BadData, match="cannot be read"):
        PreprocessedFolder(out)
    marker.unlink()
    with pytest.raises(BadData, match="not made here"):
        preprocess_dataset(raw, plans, C, out)
    assert content(out) == before


def test_a_case_that_cannot_be_worked_with_is_named(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    label = raw.cases["case_02"].label
    assert label is not None
    write_nifti(label, np.zeros((3, 4, 5), np.uint8), (1, 1, 1))
    with pytest.raises(BadData, match=r"Case case_02: The image has shape .*, its label 3×4×5"):
        preprocess_dataset(raw, plans, C, tmp_path / "out")
    with pytest.raises(BadData, match="Case case_02"):  # from a worker process as well
        preprocess_dataset(raw, plans, C, tmp_path / "other", workers=2)


@pytest.mark.parametrize("configuration", ["2d", C])
def test_the_way_back(raw: RawDataset, plans: dict[str, Any], configuration: str) -> None:
    from nnunet_trainer.dataset.labels import LabelManager
    from nnunet_trainer.dataset.readers import by_name

    read = Plans(plans)
    labels = LabelManager(raw.dataset_json)
    case = raw.cases["case_03"]
    assert case.label is not None
    _, seg, properties = read_and_preprocess(case, read, configuration, raw.dataset_json)
    logits = np.stack([np.where(np.maximum(seg[0], 0) == label, 5.0, -5.0) for label in labels.all_labels]).astype(np.float32)
    back = segmentation_from_logits(logits, properties, read, read.configuration(configuration), labels)
    original = by_name(raw.reader).read_seg(case.label)[0][0]
    assert back.shape == original.shape
    agree = 2 * ((back == 1) & (original == 1)).sum() / ((back == 1).sum() + (original == 1).sum())
    assert agree > 0.8  # resampled twice; a wrong axis or offset gives far less


@pytest.mark.reference
def test_the_way_back_as_the_wheel(raw: RawDataset, plans: dict[str, Any]) -> None:
    import torch
    from nnunet_trainer.dataset.labels import LabelManager
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    read, manager = Plans(plans), PlansManager(json.loads(json.dumps(plans)))
    labels = LabelManager(raw.dataset_json)
    for configuration in ("2d", C):
        data, _, properties = read_and_preprocess(raw.cases["case_00"], read, configuration, raw.dataset_json)
        logits = np.random.default_rng(0).normal(0, 1, (3, *data.shape[1:])).astype(np.float32)
        ours = segmentation_from_logits(logits, properties, read, read.configuration(configuration), labels)
        theirs = convert_predicted_logits_to_segmentation_with_correct_shape(
            torch.from_numpy(logits),
            manager,
            manager.get_configuration(configuration),
            manager.get_label_manager(raw.dataset_json),
            properties,
            num_threads_torch=1,
        )
        assert ours.dtype == theirs.dtype
        assert np.mean(ours != theirs) < 1e-4  # a tie of interpolated logits may fall either way


def test_command(raw: RawDataset, plans: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    out = tmp_path / "preprocessed" / raw.name
    call = ["preprocess", str(raw.folder), "--plans", str(tmp_path / "plans.json"), "--configuration", C, "-o", str(out)]
    assert cli.main([*call, "--workers", "1", "--shard", "1/2"]) == 0
    assert "2 cases preprocessed, 0 were there already" in capsys.readouterr().out
    assert cli.main([*call, "--workers", "2"]) == 0
    assert "3 cases preprocessed, 2 were there already" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert names == {"gt_segmentations", "dataset.json", "nnUNetPlans.json", "splits_final.json", f"nnUNetPlans_{C}"}
    assert {path.name for path in (out / "gt_segmentations").iterdir()} == {f"{case}.nii.gz" for case in raw.cases}
    assert json.loads((out / "nnUNetPlans.json").read_text()) == plans
    splits = json.loads((out / "splits_final.json").read_text())
    (out / "splits_final.json").write_text(json.dumps(splits[::-1]))
    assert cli.main([*call, "--workers", "1"]) == 0
    assert json.loads((out / "splits_final.json").read_text()) == splits[::-1]  # a person's own is kept
    said = capsys.readouterr().err
    assert "no dataset_fingerprint.json of these cases was found" in said
    assert "replaced" not in said
    (tmp_path / "dataset_fingerprint.json").write_text(json.dumps({"spacings": [[1, 1, 1]] * 4}))  # another dataset's
    assert cli.main([*call, "--workers", "1"]) == 0
    assert not (out / "dataset_fingerprint.json").exists()
    (tmp_path / "dataset_fingerprint.json").write_text(json.dumps({"spacings": [[1, 1, 1]] * 5}))
    (tmp_path / "plans.json").write_text(json.dumps(merge(plans, {"configurations": {"2d": {"batch_size": 3}}})))
    assert cli.main([*call, "--workers", "1"]) == 0
    assert len(json.loads((out / "dataset_fingerprint.json").read_text())["spacings"]) == 5
    assert "nnUNetPlans.json: replaced by another content" in capsys.readouterr().err


@pytest.mark.reference
def test_the_wheel_finds_our_folder(raw: RawDataset, plans: dict[str, Any], tmp_path: Path) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    preprocess_dataset(raw, plans, C, tmp_path / "out")
    kind = infer_dataset_class(str(tmp_path / "out"))
    assert sorted(kind.get_identifiers(str(tmp_path / "out"))) == list(raw.cases)


@pytest.mark.reference
def test_the_wheel_trains_on_our_folder(raw: RawDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All by the commands: what its trainer wants beside the cases is there."""
    import torch

    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    made, out = tmp_path / "made", tmp_path / "preprocessed" / raw.name
    fingerprint, plans_file = str(made / "dataset_fingerprint.json"), str(made / "nnUNetPlans.json")
    patch = json.dumps({"configurations": {C: small_networks.CONFIGURATION}})
    for call in (
        ["fingerprint", str(raw.folder), "-o", fingerprint, "--workers", "1"],
        ["plan", str(raw.folder), "--fingerprint", fingerprint, "--patch", patch, "-o", plans_file],
        ["preprocess", str(raw.folder), "--plans", plans_file, "-c", C, "-o", str(out), "--workers", "1"],
    ):
        assert cli.main(call) == 0
    for name, folder in (
        ("nnUNet_preprocessed", out.parent),
        ("nnUNet_results", tmp_path / "results"),
        ("nnUNet_raw", raw.folder.parent),
    ):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_compile", "f")
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from support.third_party.wheel import quiet

    with quiet():
        content = json.loads((out / "nnUNetPlans.json").read_text()) | {"continue_training": False}
        trainer = nnUNetTrainer(content, C, 0, json.loads((out / "dataset.json").read_text()), device=torch.device("cpu"))
        trainer.on_train_start()
        batch = next(trainer.dataloader_train)
        loss = trainer.train_step(batch)["loss"]
    assert tuple(batch["data"].shape) == (2, 1, 8, 16, 16)
    assert np.isfinite(loss)
    assert (tmp_path / "results" / raw.name / f"nnUNetTrainer__nnUNetPlans__{C}" / "dataset_fingerprint.json").exists()
    assert {path.name for path in (out / "gt_segmentations").iterdir()} == {f"{case}.nii.gz" for case in raw.cases}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--configuration", "3d"], 78, "no configuration named '3d'"),
        (["--configuration", C, "--shard", "2/2"], 64, "--shard is '2/2'"),
        (["--configuration", C, "--plans", "nowhere.json"], 78, "nowhere.json cannot be read"),
    ],
)
def test_command_refuses(
    raw: RawDataset,
    plans: dict[str, Any],
    tmp_path: Path,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    call = ["preprocess", str(raw.folder), "--plans", str(tmp_path / "plans.json"), "-o", str(tmp_path / "out"), *words]
    assert cli.main(call) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


KILLED = """
import os, signal, sys
from nnunet_trainer import cli
from nnunet_trainer.preprocessing import storage

replace, replaced = os.replace, []

def killed_at_the_second_file_of_the_third_case(source, target):
    if str(target).endswith(storage.SUFFIXES):
        replaced.append(target)
    if len(replaced) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

storage.os.replace = killed_at_the_second_file_of_the_third_case
sys.exit(cli.main(sys.argv[1:]))
"""


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    raw = RawDataset.open(make_dataset(tmp_path / "Dataset001_A", cases=4, shape=(20, 60, 60)))
    plans = plan(extract(raw, 2), raw.dataset_json, dataset_name=raw.name, reader=raw.reader)
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    out = tmp_path / "out"
    folder = out / f"nnUNetPlans_{C}"
    call = ["preprocess", str(raw.folder), "--plans", str(tmp_path / "plans.json"), "--configuration", C, "-o", str(out)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *call, "--workers", "1"], stdout=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = PreprocessedFolder(folder).cases
    assert len(kept) == 2
    assert list(folder.glob(".partial-*"))
    made = preprocess_dataset(raw, plans, C, folder)
    assert made == [case for case in raw.cases if case not in kept]
    preprocess_dataset(raw, plans, C, tmp_path / "whole")
    assert content(folder) == content(tmp_path / "whole")
