"""`local delete` of a run with `retention: Delete`: its results go with it, by a process of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nnunet_operator.local.object_store.store import Store
from nnunet_operator.manifests import names

UID = "5f0c2b1e-0000-4000-8000-000000000001"
PREFIX = "artifacts/runs/default/run/0123456789abcdef"
FOLD = f"{PREFIX}/nnUNet_results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"


def place(folder: Path, *, retention: str = "Delete", owners: tuple[str, ...] = (UID,), **status: Any) -> Store:
    """A store with a finished run, and what it left."""
    store = Store(folder / "store")
    fold = {"name": "0", "state": "Succeeded", "attempt": 0}
    store.create(
        {
            "apiVersion": "nnunet.dev/v1alpha1",
            "kind": "TrainingRun",
            "metadata": {"name": "run", "namespace": "default"},
            "spec": {"plansRef": {"name": "plans"}, "folds": [0], "retention": retention},
            "status": {"observedGeneration": 1, "folds": [fold], **status},
        }
    )

    def hold(new: dict[str, Any]) -> None:
        new["metadata"]["uid"] = UID
        if retention == "Delete":
            new["metadata"]["finalizers"] = [names.RESULTS_FINALIZER]

    store.edit("TrainingRun", "default", "run", hold)
    files = [f"{FOLD}/checkpoint_final.pth", f"{PREFIX}/attempts/0/fold_0/checkpoint_00001_00001.pth"]
    files += [f"{PREFIX}/owners/{owner}.json" for owner in owners]
    for name in [*files, "artifacts/plans/Dataset004_Hippocampus/0123456789abcdef/nnUNetPlans.json"]:
        path = folder / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return store


def call(folder: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    command = [sys.executable, "-m", "nnunet_operator.cli", "local", *arguments, "--store", str(folder / "store")]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout


def left(folder: Path) -> list[str]:
    root = folder / "store" / "artifacts"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_its_results_go_and_nothing_else(tmp_path: Path) -> None:
    store = place(tmp_path)
    said = call(tmp_path, "delete", "trainingrun", "run")
    assert "trainingrun.nnunet.dev/run deleted" in said or "run deleted" in said
    assert f"2 files deleted below file://{tmp_path}/store/artifacts/runs/default/run" in said
    assert left(tmp_path) == ["plans/Dataset004_Hippocampus/0123456789abcdef/nnUNetPlans.json"]
    assert store.get("TrainingRun", "default", "run") is None
    assert [item["kind"] for item in store.everything()] == [], "nothing of it is left"


def test_what_another_has_a_share_in_stays_and_is_told(tmp_path: Path) -> None:
    store = place(tmp_path, owners=(UID, "another"))
    said = call(tmp_path, "delete", "trainingrun", "run")
    assert "its results are those of the object with uid another too" in said
    assert f"{FOLD.removeprefix('artifacts/')}/checkpoint_final.pth" in left(tmp_path)
    assert store.get("TrainingRun", "default", "run") is None


def test_a_run_that_retains_goes_at_once_and_its_results_stay(tmp_path: Path) -> None:
    store = place(tmp_path, retention="Retain")
    before = left(tmp_path)
    call(tmp_path, "delete", "trainingrun", "run")
    assert left(tmp_path) == before
    assert store.get("TrainingRun", "default", "run") is None


def test_a_deletion_that_fails_is_told_with_the_way_out(tmp_path: Path) -> None:
    store, trainer = place(tmp_path), tmp_path / "trainer"
    error = {"code": 78, "reason": "StorageAccessDenied", "message": "It may not be deleted.", "hint": ""}
    report = json.dumps({"step": "delete_results", "version": 1, "error": error})
    trainer.write_text(f"#!/bin/sh\necho '{report}' > \"$NNUNET_TERMINATION_LOG\"\nexit 78\n")
    trainer.chmod(0o755)
    said = call(tmp_path, "delete", "trainingrun", "run", code=78, NNUNET_TRAINER=str(trainer))
    assert "is not gone yet: " in said
    assert "It may not be deleted" in said
    assert "set spec.retention to Retain" in said
    assert store.get("TrainingRun", "default", "run") is not None
    store.edit("TrainingRun", "default", "run", lambda new: new["spec"].update(retention="Retain"))
    call(tmp_path, "delete", "trainingrun", "run")
    assert store.get("TrainingRun", "default", "run") is None
    assert f"{FOLD.removeprefix('artifacts/')}/checkpoint_final.pth" in left(tmp_path)


def test_other_work_of_the_store_is_not_begun(tmp_path: Path) -> None:
    store = place(tmp_path)
    spec = {"name": "Dataset004_Hippocampus", "source": {"uri": f"file://{tmp_path}/raw"}}
    store.create({
        "apiVersion": "nnunet.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": "data", "namespace": "default"}, "spec": spec,
    })  # fmt: skip
    call(tmp_path, "delete", "trainingrun", "run")
    assert store.get("TrainingRun", "default", "run") is None
    assert [pod["metadata"]["labels"][names.STEP] for pod in store.all("Pod")] in ([], ["dataset"])
    assert all(pod["status"].get("phase") == "Pending" for pod in store.all("Pod"))
