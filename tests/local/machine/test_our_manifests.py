"""The machine understands all that our manifests say: an attempt with everything in it becomes processes here."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nnunet_operator.api.resources import parse
from nnunet_operator.api.template import TemplateSpec
from nnunet_operator.local.machine import job_controller
from nnunet_operator.local.machine.kubelet.host import Host
from nnunet_operator.local.machine.kubelet.launch import prepare
from nnunet_operator.manifests import names
from nnunet_operator.manifests.job import children
from nnunet_operator.manifests.job_parameters import JobParameters
from nnunet_trainer.contract import work_order
from nnunet_trainer.contract.work_order import Input, Location, TrainOrder

Manifest = dict[str, Any]

TEMPLATE = {
    "labels": {"team": "a"},
    "annotations": {"note": "b"},
    "env": [
        {"name": "MODE", "value": "fast"},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "MODE"}}},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "tracker", "key": "TOKEN"}}},
    ],
    "resources": {"requests": {"cpu": "2500m", "memory": "1Gi"}},
    "scratch": {"size": "10Gi", "storageClassName": "fast"},
    "sharedMemory": {"size": "1Gi"},
    "terminationGracePeriodSeconds": 60,
}


def attempt() -> tuple[list[Manifest], Manifest]:
    metadata = {"name": "run", "namespace": "team", "uid": "3f2a1b9c-0000-4000-8000-000000000000"}
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"]}
    owner = parse({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": metadata, "spec": spec})
    order = TrainOrder(
        namespace="team",
        run="run",
        dataset_name="Dataset004_Hippocampus",
        preprocessed=Input(location=Location(uri="pvc://fast/preprocessed"), digest="x"),
        plans=Input(location=Location(uri="s3://b/plans", secret_name="s3", ca_config_map="our-ca"), digest="p"),
        configuration="3d_fullres",
        fold="0",
        seed=1,
        storage=Location(uri="s3://b", secret_name="s3-too"),
    )
    parameters = JobParameters(
        owner=owner,
        name=names.job(owner, "f0", 2),
        order=order,
        labels=names.labels(owner, "train", fold="0", attempt=2),
        image="trainer:1",
        template=TemplateSpec.model_validate(TEMPLATE),
        gpus=2,
        pods=2,
        rendezvous=True,
        queue_name="gpus",
        plugins=("losses",),
    )
    return children(parameters)


def test_an_attempt_with_everything_in_it_becomes_processes(tmp_path: Path) -> None:
    (frozen, _service), job = attempt()
    files = {name: {"KEY": name.encode()} for name in ("s3", "s3-too", "our-ca", "losses")}
    files |= {"settings": {"MODE": b"slow"}, "tracker": {"TOKEN": b"t"}}
    files[frozen["metadata"]["name"]] = {key: value.encode() for key, value in frozen["data"].items()}
    (tmp_path / "claims" / "fast").mkdir(parents=True)
    host = Host(contents=lambda _kind, _namespace, name: files.get(name), claims=tmp_path / "claims")

    job["metadata"]["uid"] = "u"
    pods = job_controller.sync(job, [], datetime(2026, 11, 1, tzinfo=UTC)).create
    assert len(pods) == 2
    assert pods[0]["metadata"]["labels"].items() >= {"team": "a", "nnunet.dev/attempt": "2"}.items()
    for index, pod in enumerate(pods):
        folder = tmp_path / f"pod-{index}"
        launch = prepare(pod, folder, host, ip="127.1.0.1", gpus=["3", "5"])
        run, order_file = launch["argv"][1:]
        assert run == "run"
        assert work_order.decode(Path(order_file).read_text()).step == "train"
        env = launch["env"]
        assert (env["MODE"], env["FROM_MAP"], env["FROM_SECRET"]) == ("fast", "slow", "t")
        assert (env["JOB_COMPLETION_INDEX"], env["POD_IP"], env["POD_NAME"]) == (str(index), "127.1.0.1", pod["metadata"]["name"])
        assert (env["OMP_NUM_THREADS"], env["CUDA_VISIBLE_DEVICES"]) == ("2", "3,5")
        for variable, below in (("NNUNET_SECRETS", "s3/KEY"), ("NNUNET_CA", "our-ca/KEY"), ("NNUNET_PLUGINS", "losses/KEY")):
            assert (Path(env[variable]) / below).read_text() == below.split("/")[0]
        assert (Path(env["NNUNET_PVC"]) / "fast").is_dir()
        for variable in ("NNUNET_SCRATCH", "NNUNET_TERMINATION_LOG", "TRITON_CACHE_DIR", "MPLCONFIGDIR"):
            assert Path(env[variable]).is_relative_to(folder), f"{variable} names a folder of the container"
        Path(env["NNUNET_SCRATCH"], "x").touch()
