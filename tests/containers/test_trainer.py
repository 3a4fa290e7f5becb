"""The trainer's container as its pods run it: a read-only root, a user without a name, and the pod's own volumes alone.

The Job comes from `manifests`, the variables from it and from the Dockerfile. Every step ends well and leaves its report.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.api.resources import parse
from nnunet_operator.manifests.job import children
from nnunet_operator.manifests.job_parameters import JobParameters
from nnunet_trainer.contract import report, work_order
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import (
    DatasetOrder,
    Input,
    Location,
    PlanOrder,
    PreprocessOrder,
    TrainerChoice,
    TrainOrder,
    TransferOrder,
    WorkOrder,
)
from support.containers import container
from support.containers.container import NOBODY, Container
from support.containers.images import DOCKERFILES
from support.datasets import SOURCE, TARGET, copy_examples
from support.trainings import small_networks

STORE = Location(uri="pvc://claim/artifacts")
SMALL = {"batch_size": 2, "patch_size": [16, 16, 16], "architecture": small_networks.TWO_STAGES}
RECIPE = {"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1}
OTHER_USER = 1000660000
"""As OpenShift gives a namespace."""


class Pods:
    """Runs orders one after the other, each in a pod of its own, all with the same claim."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.claim = folder, folder / "claim"
        copy_examples(self.claim / "raw")
        # What fsGroup makes of a claim; a user namespace has no other user anyway.
        for path in [self.claim, *self.claim.rglob("*")]:
            if os.geteuid() == 0:
                os.chown(path, 0, NOBODY)
            path.chmod(0o2775 if path.is_dir() else 0o664)
        self._count = 0

    def pod(self, order: WorkOrder, **changes: Any) -> Container:
        self._count += 1
        run = parse(
            {
                "apiVersion": "nnunet.dev/v1alpha1",
                "kind": "TrainingRun",
                "metadata": {"name": "run", "namespace": "team", "uid": "3f2a1b9c-0000-4000-8000-000000000000"},
                "spec": {"plansRef": {"name": "plans"}, "folds": ["0"]},
            }
        )
        step = JobParameters(owner=run, name=f"step-{self._count}", order=order, labels={}, image="trainer:1", **changes)
        (frozen, *_), job = children(step)
        folder = self.folder / step.name
        (folder / "order").mkdir(parents=True)
        for name, text in frozen["data"].items():
            (folder / "order" / name).write_text(text)
        self.argv = [*job["spec"]["template"]["spec"]["containers"][0]["command"]]
        self.argv += job["spec"]["template"]["spec"]["containers"][0]["args"]
        given = {"order": folder / "order", "claim-0": self.claim}
        return container.of_pod(
            job["spec"]["template"], DOCKERFILES["trainer"], folder, given, status_podIP="127.0.0.1", metadata_name=step.name
        )

    def run(self, order: WorkOrder, change: Callable[[Container], Container] = lambda c: c, **changes: Any) -> tuple[int, Report]:
        made = change(self.pod(order, **changes))
        self.last = made.run(self.argv, {"OMP_NUM_THREADS": "1", "NNUNET_PROGRESS_PORT": "0"}, timeout=240)
        found = report.decode((self.folder / f"step-{self._count}" / "termination-log").read_text())
        assert found is not None, self.last.stderr
        return self.last.returncode, found

    def ends_well(self, order: WorkOrder, **changes: Any) -> Report:
        code, found = self.run(order, **changes)
        assert code == 0, self.last.stderr
        assert found.error is None
        # What a library cannot write where it wants to, it says: nothing of ours may want to write elsewhere.
        for complaint in ("Read-only file system", "Permission denied", "not a writable", "getpwuid", "temporary cache"):
            assert complaint not in self.last.stderr, self.last.stderr
        return found


def given(made: Report, kind: str) -> Input:
    artifact = made.artifact(kind)
    assert artifact is not None, made
    return Input(location=replace(STORE, uri=artifact.uri), digest=artifact.digest)


def raw(name: str) -> Location:
    return Location(uri=f"pvc://claim/raw/{name}")


@pytest.mark.e2e
def test_every_step_works_for_a_user_without_a_name(tmp_path: Path) -> None:
    pods = Pods(tmp_path)
    read = pods.ends_well(DatasetOrder(name=TARGET.name, source=raw(TARGET.name), storage=STORE))
    plan = PlanOrder(
        dataset_name=TARGET.name,
        dataset=given(read, "dataset"),
        source=raw(TARGET.name),
        storage=STORE,
        patch={"configurations": {"3d_fullres": SMALL}},
    )
    plans = pods.ends_well(plan)
    prepare = PreprocessOrder(
        dataset_name=TARGET.name,
        dataset=given(read, "dataset"),
        source=raw(TARGET.name),
        plans=given(plans, "plans"),
        configuration="3d_fullres",
        storage=STORE,
    )
    data = pods.ends_well(prepare)
    train = TrainOrder(
        namespace="team",
        run="run",
        dataset_name=TARGET.name,
        preprocessed=given(data, "preprocessed"),
        plans=given(plans, "plans"),
        configuration="3d_fullres",
        fold="0",
        seed=1,
        storage=STORE,
        trainer=TrainerChoice(name="tiny", base="nnUNetTrainer", recipe=RECIPE),
        gpus_per_node=0,
    )
    trained = pods.ends_well(train, shared_memory="1Gi")
    assert trained.summary["epochs"] == 1
    (results,) = (tmp_path / "claim" / "artifacts" / "runs").glob("**/nnUNet_results/**/fold_0")
    assert {"progress.png", "checkpoint_final.pth"} <= {path.name for path in results.iterdir()}
    assert list(results.glob("events.out.tfevents.*"))
    assert list(results.glob("validation/*.nii.gz"))

    other = pods.ends_well(DatasetOrder(name=SOURCE.name, source=raw(SOURCE.name), storage=STORE))
    move = TransferOrder(
        from_plans=given(plans, "plans"),
        from_dataset=given(read, "dataset"),
        dataset_name=SOURCE.name,
        dataset=given(other, "dataset"),
        source=raw(SOURCE.name),
        storage=STORE,
        plans_name="nnUNetPlans_moved",
    )
    assert pods.ends_well(move).artifact("plans") is not None


@pytest.mark.parametrize("home", ["the image's", None, "/", "/nowhere"])
@pytest.mark.parametrize("uid", [NOBODY, OTHER_USER])
def test_a_mistake_has_its_exit_code_and_report(tmp_path: Path, home: str | None, uid: int) -> None:
    """Whatever the user's number and home folder: a plan of a dataset that is not there is bad data."""

    def change(made: Container) -> Container:
        own = {name: value for name, value in made.environment.items() if name != "HOME"}
        variables = made.environment if home == "the image's" else own | ({"HOME": home} if home else {})
        return replace(made, environment=variables, uid=uid)

    order = PlanOrder(
        dataset_name=TARGET.name, dataset=Input(location=STORE, digest="0" * 64), source=raw(TARGET.name), storage=STORE
    )
    code, found = Pods(tmp_path).run(order, change)
    assert found.error is not None
    assert (code, found.error.code, found.step) == (65, 65, "plan"), found.error


def test_caches_of_compiled_kernels_lie_on_the_pods_own_disk(tmp_path: Path) -> None:
    """torch.compile runs on GPUs alone; here it is asked where it would write."""
    order = DatasetOrder(name=TARGET.name, source=raw(TARGET.name), storage=STORE)
    made = Pods(tmp_path).pod(order)
    homeless = {name: value for name, value in made.environment.items() if name != "HOME"}
    code = """
import getpass, os, tempfile, matplotlib
from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir
import triton.knobs, torch._dynamo.config
for place in (cache_dir(), triton_cache_dir(0), triton.knobs.cache.dir, matplotlib.get_cachedir(), tempfile.gettempdir()):
    os.makedirs(place, exist_ok=True)
    open(os.path.join(place, "probe"), "w").close()
    print(place)
try:
    print(getpass.getuser())
except (KeyError, OSError):
    print("no name")
"""
    done = replace(made, environment=homeless).run(["python", "-c", code])
    assert done.returncode == 0, done.stderr
    *places, name = done.stdout.split("\n")[:-1]
    assert name == "no name"
    assert places == ["/scratch/inductor", "/scratch/triton", "/scratch/triton", "/tmp/matplotlib", "/tmp"]


def test_nothing_else_can_be_written(tmp_path: Path) -> None:
    """The container of these tests is as strict as a pod."""
    order = DatasetOrder(name=TARGET.name, source=raw(TARGET.name), storage=STORE)
    made = Pods(tmp_path).pod(order, shared_memory="1Gi")
    places = [
        "/",
        "/etc",
        "/usr",
        "/etc/nnunet/order",
        "/dev",
        container.programs(),
        "/scratch",
        "/tmp",
        "/dev/shm",
        "/mnt/pvc/claim",
    ]
    done = made.run(["sh", "-c", 'for p in "$@"; do touch $p/probe 2>/dev/null && echo $p; done; id -u; exit 3', "sh", *places])
    assert done.stdout.split() == ["/scratch", "/tmp", "/dev/shm", "/mnt/pvc/claim", str(NOBODY)], done.stderr
    assert done.returncode == 3


def test_orders_are_read_from_the_mounted_config_map(tmp_path: Path) -> None:
    order = DatasetOrder(name=TARGET.name, source=raw(TARGET.name), storage=STORE)
    pods = Pods(tmp_path)
    done: subprocess.CompletedProcess[str] = pods.pod(order).run(["cat", pods.argv[-1]])
    assert work_order.decode(done.stdout) == order
