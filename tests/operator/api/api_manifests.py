"""Manifests that must be accepted, refused, or refused as a change. Each goes through both engines."""

from __future__ import annotations

import copy
from typing import Any

Manifest = dict[str, Any]

VERSION = "nnunet.dev/v1alpha1"


def manifest(kind: str, spec: Manifest, name: str = "x") -> Manifest:
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def dataset(name: str = "x", **spec: Any) -> Manifest:
    base = {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://b/raw/Dataset004_Hippocampus"}}
    return manifest("Dataset", {**base, **spec}, name)


def plans(name: str = "x", **spec: Any) -> Manifest:
    return manifest("Plans", {"datasetRef": {"name": "hippocampus"}, **spec}, name)


def transfer(name: str = "x", **spec: Any) -> Manifest:
    base = {
        "from": {"plansRef": {"name": "hippocampus"}},
        "to": {"datasetRef": {"name": "source"}},
        "plansName": "nnUNetPlans_hippocampus",
    }
    return manifest("PlanTransfer", {**base, **spec}, name)


def run(name: str = "x", **spec: Any) -> Manifest:
    return manifest("TrainingRun", {"plansRef": {"name": "hippocampus"}, "folds": ["0"], **spec}, name)


def without(made: Manifest, field: str) -> Manifest:
    made = copy.deepcopy(made)
    del made["spec"][field]
    return made


S3 = {"uri": "s3://bucket/nnunet"}
CONTINUES = {"runRef": {"name": "base"}, "additionalEpochs": 500, "schedule": "Stretch"}
PATCH = {"configurations": {"3d_fullres": {"batch_size": 4, "median_image_size_in_voxels": None}}}

GOOD: dict[str, Manifest] = {
    "dataset": dataset(),
    "dataset-msd": dataset(
        source={"uri": "s3://b/Task04", "layout": "MSD", "endpoint": "http://127.0.0.1:8333", "secretName": "s3"}
    ),
    "dataset-pvc": dataset(source={"uri": "pvc://claim/raw/Dataset004_Hippocampus"}),
    "dataset-odd-names": dataset(source={"uri": "s3://b/a#b?c%20d e+f&g/dätä~$'\\"}),
    "dataset-file": dataset(source={"uri": "file:///data/Dataset004_Hippocampus"}, storage={"uri": "file:///store"}),
    "dataset-id-of-four-digits": dataset(name="x") | {"spec": {"name": "Dataset1004_Many", "source": {"uri": "s3://b/x"}}},
    "dataset-all": dataset(
        storage={**S3, "endpoint": "https://s3:9000", "region": "eu", "pathStyle": True, "secretName": "s", "caConfigMap": "ca"},
        fingerprint={"extractor": "Mine"},
        splits={"groupBy": "^(.*)_[0-9]+$"},
        rerun="2",
        failurePolicy={"maxRestarts": 0},
    ),
    "plans": plans(),
    "plans-planner": plans(
        planner={
            "name": "nnUNetPlannerResEncM",
            "gpuMemoryGB": 8,
            "targetSpacing": [1, 1, 0.5],
            "parameters": {"a": {"b": [1, None]}},
            "perConfiguration": {"2d": {"gpuMemoryGB": 4.5}},
        }
    ),
    "plans-calibrated": plans(planner={"calibrate": True, "resources": {"limits": {"nvidia.com/gpu": 1}}}),
    "plans-preprocessing-integers": plans(preprocessing={"resources": {"requests": {"cpu": 4, "memory": 0}}}),
    "plans-patch": plans(
        patch=PATCH, plansName="nnUNetPlans_small", preprocessing={"configurations": ["2d", "3d_fullres"], "shards": 4}
    ),
    "plans-transferred": plans(transferFrom={"plansRef": {"name": "hippocampus"}}, plansName="nnUNetPlans_hippocampus"),
    "transfer": transfer(),
    "transfer-all": transfer(
        normalization="Recompute",
        intensityProperties="Recompute",
        onMismatch="Fail",
        patch=PATCH,
        preprocessing={"configurations": ["2d"], "resources": {"requests": {"cpu": "500m", "memory": "1.5Gi"}}},
    ),
    "run": run(),
    "run-of-40-characters": run("r" + "-x" * 19 + "y"),
    "run-all": run(folds=["all"]),
    "run-all-skip": run(folds=["all"], validation="Skip"),
    "run-five": run(folds=["0", "1", "2", "3", "4"], maxParallelFolds=2, validation="Run", seed=12345, deterministic=True),
    "run-folds-integers": run(folds=[0, 1, 2, 3, 4]),
    "run-folds-mixed": run(folds=[0, "1", 99]),
    "run-pretrained-fold-integer": run(pretrained={"runRef": {"name": "pretrain", "fold": 0}}),
    "run-checkpoint": run(checkpoint={"everyEpochs": 2, "everyMinutes": 5, "keep": 1}),
    "run-checkpoint-fraction": run(checkpoint={"everyMinutes": "0.5"}),
    "run-quantities-integers": run(
        template={
            "resources": {"requests": {"cpu": 4, "memory": 34359738368}, "limits": {"nvidia.com/gpu": 1, "cpu": "4.5"}},
            "scratch": {"size": 107374182400},
            "sharedMemory": {"size": 8589934592},
        }
    ),
    "run-recipe": run(trainer={"name": "Mine", "base": "nnUNetTrainer", "recipe": {"epochs": 2, "loss": {"name": "Dice"}}}),
    "run-pretrained-run": run(pretrained={"runRef": {"name": "pretrain", "fold": "all"}, "checkpoint": "best"}),
    "run-pretrained-uri": run(pretrained={"uri": "s3://b/checkpoint_final.pth", "secretName": "s3"}),
    "run-pretrained-policies": run(
        pretrained={"runRef": {"name": "a"}, "inputChannels": "Repeat", "heads": "MatchByLabel", "mismatched": "Skip"}
    ),
    "run-continues": run(continues=CONTINUES),
    "run-cpu": run(workers={"gpusPerNode": 0}),
    "run-amd": run(workers={"nodes": 2, "gpusPerNode": 8, "gpuResourceName": "amd.com/gpu"}),
    "run-dra": run(
        workers={"gpuResourceClaim": "gpu"},
        template={
            "resourceClaims": [
                {"name": "gpu", "resourceClaimTemplateName": "one-h100", "request": "gpu"},
                {"name": "nic", "resourceClaimName": "rdma"},
            ]
        },
    ),
    "run-placement": run(
        queueName="gpus",
        managedBy="kueue.x-k8s.io/multikueue",
        template={
            "jobLabels": {"kueue.x-k8s.io/priority-class": "high", "team": ""},
            "jobAnnotations": {"example.com/cost-centre": "a b"},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2},
                {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}},
            ],
            "schedulerName": "bin-packing",
            "datasetCache": {"claimName": "datasets"},
        },
    ),
    "dataset-queue": dataset(queueName="cpus", managedBy="example.com/a%20b", template={"jobLabels": {"team": "a"}}),
    "plans-suspended": plans(suspend=True, queueName="q" * 63),
    "transfer-suspended": transfer(suspend=True, queueName="cpus", managedBy="kueue.x-k8s.io/multikueue"),
    "run-editable": run(
        suspend=True, rerun="a", retention="Retain", queueName="gpu", activeDeadlineSeconds=60, ttlSecondsAfterFinished=0
    ),
    "run-retention-delete": run(retention="Delete"),
    "run-plugins": run(plugins=[{"configMapName": "my-losses"}, {"configMapName": "my-norms"}]),
    "dataset-plugins": dataset(plugins=[{"configMapName": "mine"}], fingerprint={"extractor": "Mine", "parameters": {"factor": 2}}),
    "plans-plugins": plans(
        plugins=[{"configMapName": "mine"}], planner={"name": "Mine", "parameters": {"pooling": {"name": "Late"}}}
    ),
    "transfer-plugins": transfer(plugins=[{"configMapName": "mine"}]),
    "run-template": run(
        template={
            "image": "registry.example/nnunet-trainer@sha256:" + "0" * 64,
            "imagePullPolicy": "Always",
            "imagePullSecrets": [{"name": "pull"}],
            "serviceAccountName": "trainer",
            "runtimeClassName": "nvidia",
            "resources": {"requests": {"cpu": "8", "memory": "32Gi"}, "limits": {"memory": "32Gi", "example.com/fpga": "1"}},
            "scratch": {"size": "100Gi", "storageClassName": "fast"},
            "sharedMemory": {"size": "8Gi"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "low",
            "security": {"runAsUser": 1000, "fsGroup": 1000},
            "terminationGracePeriodSeconds": 300,
            "labels": {"team": "a"},
            "annotations": {"note": "x"},
            "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        }
    ),
}

# name: (manifest, field, a part of the message); the message is checked where it is ours (a CEL rule's).
BAD: dict[str, tuple[Manifest, str, str]] = {
    "name-too-long": (run("r" * 41), "metadata.name", "40 characters at most"),
    "name-begins-with-digit": (run("4x"), "metadata.name", "must begin with a letter"),
    "name-with-dot": (run("a.b"), "metadata.name", "must begin with a letter"),
    "unknown-field": (run(fold=["0"]), 'unknown field "spec.fold"', ""),
    "unknown-field-deep": (run(template={"resources": {"request": {}}}), 'unknown field "spec.template.resources.request"', ""),
    "unknown-field-in-list": (run(template={"env": [{"nam": "A"}]}), 'unknown field "spec.template.env[0].nam"', ""),
    "template-index": (
        run(template={"env": [{"name": "JOB_COMPLETION_INDEX", "value": "0"}]}),
        "spec.template.env[0].name",
        "are the operator's",
    ),
    "template-rank": (
        run(template={"env": [{"name": "A"}, {"name": "WORLD_SIZE", "value": "8"}]}),
        "spec.template.env[1].name",
        "are the operator's",
    ),
    "template-cache": (
        dataset(template={"env": [{"name": "MPLCONFIGDIR", "value": "/"}]}),
        "spec.template.env[0].name",
        "are the operator's",
    ),
    "label-of-ours": (run(template={"labels": {"nnunet.dev/attempt": "7"}}), "spec.template.labels", "not a template's to set"),
    "label-of-jobs": (
        run(template={"labels": {"batch.kubernetes.io/job-completion-index": "0"}}),
        "spec.template.labels",
        "not a template's",
    ),
    "label-of-jobs-before": (plans(template={"labels": {"job-name": "x"}}), "spec.template.labels", "not a template's to set"),
    "label-manager": (
        dataset(template={"labels": {"app.kubernetes.io/managed-by": "x"}}),
        "spec.template.labels",
        "not a template's",
    ),
    "annotation-of-ours": (
        run(template={"annotations": {"nnunet.dev/storage-uri": "s3://x"}}),
        "spec.template.annotations",
        "not a template's",
    ),
    "no-pod-spec": (run(template={"hostNetwork": True}), 'unknown field "spec.template.hostNetwork"', ""),
    "dataset-without-name": (without(dataset(), "name"), "spec.name", ""),
    "dataset-without-source": (without(dataset(), "source"), "spec.source", ""),
    "dataset-task-name": (dataset() | {"spec": {**dataset()["spec"], "name": "Task004_Hippocampus"}}, "spec.name", ""),
    "dataset-name-climbs": (dataset() | {"spec": {**dataset()["spec"], "name": "Dataset004_../../x"}}, "spec.name", ""),
    "source-scheme": (dataset(source={"uri": "http://x/y"}), "spec.source.uri", "must begin with s3://"),
    "source-bucket": (dataset(source={"uri": "s3://b#old/x"}), "spec.source.uri", "must name a bucket after s3://"),
    "source-claim": (dataset(source={"uri": "pvc://../x"}), "spec.source.uri", "must name a claim after pvc://"),
    "source-host": (dataset(source={"uri": "file://host/x"}), "spec.source.uri", "must name an absolute folder"),
    "source-dots": (dataset(source={"uri": "s3://b/raw/../x"}), "spec.source.uri", "must not leave its root"),
    "source-slashes": (dataset(source={"uri": "s3://b//raw"}), "spec.source.uri", "must have no '//'"),
    "source-newline": (dataset(source={"uri": "s3://b/raw\n"}), "spec.source.uri", "must hold no control characters"),
    "source-layout": (dataset(source={"uri": "s3://x", "layout": "BIDS"}), "spec.source.layout", ""),
    "source-endpoint": (dataset(source={"uri": "s3://x", "endpoint": "s3.local"}), "spec.source.endpoint", ""),
    "storage-scheme": (dataset(storage={"uri": "/data"}), "spec.storage.uri", "must begin with s3://"),
    "storage-without-uri": (dataset(storage={"secretName": "s"}), "spec.storage.uri", ""),
    "secret-name": (dataset(storage={**S3, "secretName": "../other"}), "spec.storage.secretName", ""),
    "group-by-too-long": (dataset(splits={"groupBy": "a" * 257}), "spec.splits.groupBy", ""),
    "planner-and-transfer": (
        plans(planner={"name": "P"}, transferFrom={"plansRef": {"name": "x"}}),
        "spec",
        "planner and transferFrom exclude each other",
    ),
    "planner-memory": (plans(planner={"gpuMemoryGB": 0}), "spec.planner.gpuMemoryGB", ""),
    "planner-memory-text": (plans(planner={"gpuMemoryGB": "8"}), "spec.planner.gpuMemoryGB", ""),
    "planner-spacing": (plans(planner={"targetSpacing": [1]}), "spec.planner.targetSpacing", ""),
    "planner-spacing-negative": (plans(planner={"targetSpacing": [1, 1, -1]}), "spec.planner.targetSpacing[2]", ""),
    "per-configuration": (
        plans(planner={"perConfiguration": {"2d": {"gpuMemoryGB": -1}}}),
        "spec.planner.perConfiguration.2d.gpuMemoryGB",
        "",
    ),
    "patch-not-an-object": (plans(patch=[1]), "spec.patch", ""),
    "plans-name-separator": (plans(plansName="a__b"), "spec.plansName", "must not contain '__'"),
    "plans-name-slash": (plans(plansName="a/b"), "spec.plansName", ""),
    "no-configurations": (plans(preprocessing={"configurations": []}), "spec.preprocessing.configurations", ""),
    "configuration-twice": (plans(preprocessing={"configurations": ["2d", "2d"]}), "spec.preprocessing.configurations[1]", ""),
    "configuration-separator": (
        plans(preprocessing={"configurations": ["2d", "a__b"]}),
        "spec.preprocessing.configurations",
        "must not contain '__'",
    ),
    "shards": (plans(preprocessing={"shards": 0}), "spec.preprocessing.shards", ""),
    "quantity": (
        plans(preprocessing={"resources": {"requests": {"memory": "16 GB"}}}),
        "spec.preprocessing.resources.requests.memory",
        "",
    ),
    "transfer-without-to": (without(transfer(), "to"), "spec.to", ""),
    "transfer-without-name": (without(transfer(), "plansName"), "spec.plansName", ""),
    "transfer-direction": (transfer(**{"from": {"datasetRef": {"name": "x"}}}), 'unknown field "spec.from.datasetRef"', ""),
    "transfer-mismatch": (transfer(onMismatch="Ignore"), "spec.onMismatch", ""),
    "run-without-folds": (without(run(), "folds"), "spec.folds", ""),
    "run-no-folds": (run(folds=[]), "spec.folds", ""),
    "fold-word": (run(folds=["first"]), "spec.folds[0]", ""),
    "fold-newline": (run(folds=["0\n"]), "spec.folds[0]", ""),
    "fold-leading-zero": (run(folds=["01"]), "spec.folds[0]", ""),
    "fold-twice": (run(folds=["0", "1", "0"]), "spec.folds[2]", ""),
    "fold-all-and-others": (run(folds=["all", "0"]), "spec.folds", "fold all stands alone"),
    "fold-all-validated": (run(folds=["all"], validation="Run"), "spec.validation", "no cases left to validate on"),
    "recipe-without-base": (run(trainer={"name": "Mine", "recipe": {"epochs": 5}}), "spec.trainer.base", "a recipe needs a base"),
    "base-without-recipe": (run(trainer={"name": "Mine", "base": "nnUNetTrainer"}), "spec.trainer.recipe", "a base needs a recipe"),
    "recipe-old-name": (
        run(trainer={"name": "nnUNetTrainer", "base": "nnUNetTrainer", "recipe": {"epochs": 5}}),
        "spec.trainer.name",
        "must be a new name",
    ),
    "recipe-default-name": (
        run(trainer={"base": "nnUNetTrainer", "recipe": {"epochs": 5}}),
        "spec.trainer.name",
        "must be a new name",
    ),
    "trainer-separator": (run(trainer={"name": "a__b"}), "spec.trainer.name", "must not contain '__'"),
    "trainer-climbs": (run(trainer={"name": "../x"}), "spec.trainer.name", ""),
    "pretrained-nothing": (run(pretrained={}), "spec.pretrained", "exactly one of runRef and uri"),
    "pretrained-both": (
        run(pretrained={"runRef": {"name": "a"}, "uri": "s3://b/c.pth"}),
        "spec.pretrained",
        "exactly one of runRef and uri",
    ),
    "pretrained-scheme": (run(pretrained={"uri": "https://x/y.pth"}), "spec.pretrained.uri", "must begin with s3://"),
    "pretrained-slashes": (run(pretrained={"uri": "s3://b//c.pth"}), "spec.pretrained.uri", "must have no '//'"),
    "pretrained-checkpoint-of-uri": (
        run(pretrained={"uri": "s3://b/c.pth", "checkpoint": "best"}),
        "spec.pretrained.checkpoint",
        "goes with runRef",
    ),
    "pretrained-input-channels": (
        run(pretrained={"uri": "s3://b/c", "inputChannels": "Double"}),
        "spec.pretrained.inputChannels",
        "",
    ),
    "pretrained-heads": (run(pretrained={"uri": "s3://b/c", "heads": "Keep"}), "spec.pretrained.heads", ""),
    "pretrained-mismatched": (run(pretrained={"uri": "s3://b/c", "mismatched": "Warn"}), "spec.pretrained.mismatched", ""),
    "pretrained-sha": (run(pretrained={"uri": "s3://b/c.pth", "sha256": "12"}), "spec.pretrained.sha256", ""),
    "continues-and-pretrained": (
        run(continues=CONTINUES, pretrained={"uri": "s3://b/c.pth"}),
        "spec",
        "continues and pretrained exclude each other",
    ),
    "continues-no-schedule": (
        run(continues={key: value for key, value in CONTINUES.items() if key != "schedule"}),
        "spec.continues.schedule",
        "",
    ),
    "continues-schedule": (run(continues={**CONTINUES, "schedule": "poly"}), "spec.continues.schedule", ""),
    "continues-no-epochs": (
        run(continues={key: value for key, value in CONTINUES.items() if key != "additionalEpochs"}),
        "spec.continues.additionalEpochs",
        "",
    ),
    "continues-none": (run(continues={**CONTINUES, "additionalEpochs": 0}), "spec.continues.additionalEpochs", ""),
    "continues-no-run": (
        run(continues={key: value for key, value in CONTINUES.items() if key != "runRef"}),
        "spec.continues.runRef",
        "",
    ),
    "continues-fold": (
        run(continues={**CONTINUES, "runRef": {"name": "a", "fold": 0}}),
        'unknown field "spec.continues.runRef.fold"',
        "",
    ),
    "workers-nodes": (run(workers={"nodes": 0}), "spec.workers.nodes", ""),
    "workers-fraction": (run(workers={"gpusPerNode": 0.5}), "spec.workers.gpusPerNode", ""),
    "gpu-resource": (run(workers={"gpuResourceName": "gpu"}), "spec.workers.gpuResourceName", ""),
    "checkpoint-minutes-negative": (run(checkpoint={"everyMinutes": -1}), "spec.checkpoint.everyMinutes", ""),
    "checkpoint-minutes-none": (run(checkpoint={"everyMinutes": "0.0"}), "spec.checkpoint.everyMinutes", ""),
    "checkpoint-minutes-word": (run(checkpoint={"everyMinutes": "10m"}), "spec.checkpoint.everyMinutes", ""),
    "checkpoint-minutes-fraction": (run(checkpoint={"everyMinutes": 0.5}), "spec.checkpoint.everyMinutes", ""),
    "checkpoint-minutes-many": (run(checkpoint={"everyMinutes": "100000.5"}), "spec.checkpoint.everyMinutes", ""),
    "folds-none": (run(folds=[]), "spec.folds", ""),
    "folds-negative": (run(folds=[-1]), "spec.folds[0]", ""),
    "folds-hundred": (run(folds=[0, 100]), "spec.folds[1]", ""),
    "folds-fraction": (run(folds=[0.5]), "spec.folds[0]", ""),
    "folds-truth": (run(folds=[True]), "spec.folds[0]", ""),
    "folds-word": (run(folds=["zero"]), "spec.folds[0]", ""),
    "folds-twice": (run(folds=[0, 0]), "spec.folds[1]", ""),
    "folds-twice-otherwise-spelled": (run(folds=[0, "0"]), "spec.folds", "must name each fold once"),
    "folds-all-and-another": (run(folds=["all", 0]), "spec.folds", "fold all stands alone"),
    "cpu-fraction": (run(template={"resources": {"requests": {"cpu": 0.5}}}), "spec.template.resources.requests.cpu", ""),
    "cpu-negative": (run(template={"resources": {"requests": {"cpu": -1}}}), "spec.template.resources.requests.cpu", ""),
    "cpu-truth": (run(template={"resources": {"limits": {"cpu": True}}}), "spec.template.resources.limits.cpu", ""),
    "cpu-list": (run(template={"resources": {"limits": {"cpu": [4]}}}), "spec.template.resources.limits.cpu", ""),
    "memory-word": (run(template={"sharedMemory": {"size": "8 GB"}}), "spec.template.sharedMemory.size", ""),
    "checkpoint-minutes": (run(checkpoint={"everyMinutes": 0}), "spec.checkpoint.everyMinutes", ""),
    "queue-too-long-for-a-label-dataset": (dataset(queueName="q" * 64), "spec.queueName", ""),
    "queue-too-long-for-a-label-plans": (plans(queueName="q" * 64), "spec.queueName", ""),
    "queue-too-long-for-a-label-transfer": (transfer(queueName="q" * 64), "spec.queueName", ""),
    "queue-too-long-for-a-label-run": (run(queueName="q" * 64), "spec.queueName", ""),
    "suspend-text": (run(suspend="yes"), "spec.suspend", ""),
    "seed-negative": (run(seed=-1), "spec.seed", ""),
    "retention-word": (run(retention="Forever"), "spec.retention", ""),
    "rerun-number": (run(rerun=2), "spec.rerun", ""),
    "restarts": (run(failurePolicy={"maxRestarts": 101}), "spec.failurePolicy.maxRestarts", ""),
    "env-of-the-operator": (
        run(template={"env": [{"name": "NNUNET_SECRETS", "value": "/"}]}),
        "spec.template.env[0].name",
        "the operator's",
    ),
    "env-twice": (run(template={"env": [{"name": "A"}, {"name": "A"}]}), "spec.template.env[1]", ""),
    "env-value-twice": (
        run(template={"env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        "spec.template.env[0]",
        "not both",
    ),
    "env-from-nowhere": (
        run(template={"env": [{"name": "A", "valueFrom": {}}]}),
        "spec.template.env[0].valueFrom",
        "exactly one of",
    ),
    "scratch-without-size": (run(template={"scratch": {"storageClassName": "fast"}}), "spec.template.scratch.size", "needs a size"),
    "run-as-root": (run(template={"security": {"runAsUser": 0}}), "spec.template.security.runAsUser", ""),
    **{
        f"annotation {key}": (run(template={"annotations": {key: "unconfined"}}), "spec.template.annotations", "are the operator's")
        for key in (
            "container.apparmor.security.beta.kubernetes.io/trainer",
            "container.seccomp.security.alpha.kubernetes.io/trainer",
            "seccomp.security.alpha.kubernetes.io/pod",
        )
    },
    "label": (run(template={"labels": {"team": "a b"}}), "spec.template.labels.team", ""),
    **{
        f"reserved-{field}-{key.rpartition('/')[2]}": (
            run(template={field: {key: "x"}}),
            f"spec.template.{field}",
            "not a template's to set",
        )
        for field in ("labels", "annotations", "jobLabels", "jobAnnotations")
        for key in ("nnunet.dev/owner-uid", "app.kubernetes.io/managed-by")
    },
    "queue-by-label": (
        dataset(template={"jobLabels": {"kueue.x-k8s.io/queue-name": "gpus"}}),
        "spec.template.jobLabels",
        "kueue.x-k8s.io/queue-name",
    ),
    "managed-by": (plans(managedBy="multikueue"), "spec.managedBy", ""),
    "claim-of-two": (
        run(template={"resourceClaims": [{"name": "a", "resourceClaimName": "b", "resourceClaimTemplateName": "c"}]}),
        "spec.template.resourceClaims[0]",
        "exactly one of resourceClaimName",
    ),
    "claim-of-none": (run(template={"resourceClaims": [{"name": "a"}]}), "spec.template.resourceClaims[0]", "exactly one of"),
    "claim-of-nobody": (
        run(workers={"gpuResourceClaim": "gpu"}),
        "spec.workers.gpuResourceClaim",
        "one of template.resourceClaims",
    ),
    "claim-of-another": (
        run(workers={"gpuResourceClaim": "gpu"}, template={"resourceClaims": [{"name": "nic", "resourceClaimName": "a"}]}),
        "spec.workers.gpuResourceClaim",
        "one of template.resourceClaims",
    ),
    "spread-domains": (
        run(
            template={
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}
                ]
            }
        ),
        "spec.template.topologySpreadConstraints[0].minDomains",
        "goes with whenUnsatisfiable",
    ),
    "cache-of-nothing": (run(template={"datasetCache": {}}), "spec.template.datasetCache.claimName", ""),
    "suspend-dataset": (dataset(suspend=True), 'unknown field "spec.suspend"', ""),
    "node-selector": (run(template={"nodeSelector": {"pool": "-"}}), "spec.template.nodeSelector.pool", ""),
    "toleration": (run(template={"tolerations": [{"operator": "Maybe"}]}), "spec.template.tolerations[0].operator", ""),
}

_PRETRAINED = {"uri": "s3://b/c.pth"}

# name: (before, after, field and part of the message of the refusal; None: accepted)
CHANGES: dict[str, tuple[Manifest, Manifest, tuple[str, str] | None]] = {
    "dataset-name": (
        dataset(),
        dataset() | {"spec": {**dataset()["spec"], "name": "Dataset005_X"}},
        ("spec.name", "cannot change"),
    ),
    "dataset-uri": (dataset(), dataset(source={"uri": "s3://other"}), ("spec.source.uri", "set spec.rerun")),
    "dataset-secret": (dataset(), dataset(source={**dataset()["spec"]["source"], "secretName": "new"}), None),
    "dataset-layout": (
        dataset(),
        dataset(source={**dataset()["spec"]["source"], "layout": "MSD"}),
        ("spec.source.layout", "cannot change"),
    ),
    "dataset-splits-added": (dataset(), dataset(splits={"groupBy": "a"}), ("spec.splits", "cannot change")),
    "dataset-extractor": (dataset(), dataset(fingerprint={"extractor": "Other"}), ("spec.fingerprint", "cannot change")),
    "dataset-rerun": (dataset(), dataset(rerun="2"), None),
    "storage-uri": (dataset(storage=S3), dataset(storage={"uri": "s3://other"}), ("spec.storage.uri", "cannot change")),
    "storage-removed": (dataset(storage=S3), dataset(), ("spec.storage", "cannot be taken away")),
    "storage-added": (dataset(), dataset(storage=S3), None),
    "storage-secret": (dataset(storage=S3), dataset(storage={**S3, "secretName": "new"}), None),
    "plans-dataset": (plans(), plans(datasetRef={"name": "other"}), ("spec.datasetRef", "cannot change")),
    "plans-planner": (plans(planner={"gpuMemoryGB": 8}), plans(planner={"gpuMemoryGB": 9}), ("spec.planner", "cannot change")),
    "plans-planner-same": (plans(planner={"gpuMemoryGB": 8}), plans(planner={"gpuMemoryGB": 8.0}), None),
    "plans-planner-added": (plans(), plans(planner={}), ("spec.planner", "cannot change")),
    "plans-patch": (plans(patch={"a": {"b": 1}}), plans(patch={"a": {"b": 2}}), ("spec.patch", "cannot change")),
    "plans-patch-added": (plans(), plans(patch={}), ("spec.patch", "cannot change")),
    "plans-patch-same": (plans(patch=PATCH), plans(patch=PATCH, rerun="1"), None),
    "plans-name": (plans(plansName="a"), plans(), ("spec.plansName", "cannot change")),
    "plans-to-transfer": (plans(), plans(transferFrom={"plansRef": {"name": "a"}}), ("spec.transferFrom", "added or removed")),
    "plans-transfer-of": (
        plans(transferFrom={"plansRef": {"name": "a"}}),
        plans(transferFrom={"plansRef": {"name": "b"}}),
        ("spec.transferFrom.plansRef", "cannot change"),
    ),
    "plans-transfer-mismatch": (
        plans(transferFrom={"plansRef": {"name": "a"}}),
        plans(transferFrom={"plansRef": {"name": "a"}, "onMismatch": "Fail"}),
        None,
    ),
    "configuration-added": (
        plans(preprocessing={"configurations": ["2d"]}),
        plans(preprocessing={"configurations": ["3d_fullres", "2d"], "shards": 9}),
        None,
    ),
    "configuration-removed": (
        plans(preprocessing={"configurations": ["2d", "3d_fullres"]}),
        plans(preprocessing={"configurations": ["2d"]}),
        ("spec.preprocessing.configurations", "can be added to, not taken from"),
    ),
    "preprocessing-removed": (
        plans(preprocessing={"configurations": ["2d"]}),
        plans(),
        ("spec.preprocessing.configurations", "can be added to, not taken from"),
    ),
    "transfer-from": (transfer(), transfer(**{"from": {"plansRef": {"name": "b"}}}), ("spec.from", "cannot change")),
    "transfer-to": (transfer(), transfer(to={"datasetRef": {"name": "b"}}), ("spec.to", "cannot change")),
    "transfer-normalization": (transfer(), transfer(normalization="Recompute"), ("spec.normalization", "cannot change")),
    "transfer-mismatch": (transfer(), transfer(onMismatch="Fail"), None),
    "run-plans": (run(), run(plansRef={"name": "b"}), ("spec.plansRef", "cannot change")),
    "run-configuration": (run(), run(configuration="2d"), ("spec.configuration", "cannot change")),
    "run-folds-added": (run(), run(folds=["0", "1"]), None),
    "run-folds-added-in-front": (run(folds=["2"]), run(folds=["0", "1", "2"]), None),
    "run-folds-otherwise-spelled": (run(), run(folds=[0]), None),
    "run-folds-added-otherwise-spelled": (run(folds=["0"]), run(folds=[1, 0]), None),
    "run-folds-taken-away": (run(folds=["0", "1"]), run(folds=["1"]), ("spec.folds", "can be added to, not taken from")),
    "run-folds-changed": (run(folds=[0, 1]), run(folds=[0, 2, 3]), ("spec.folds", "can be added to, not taken from")),
    "run-folds-to-all": (run(), run(folds=["all"]), ("spec.folds", "can be added to, not taken from")),
    "run-folds-and-all": (run(folds=["all"]), run(folds=[0]), ("spec.folds", "can be added to, not taken from")),
    "run-retention": (run(retention="Delete"), run(), None),
    "run-trainer": (run(), run(trainer={"name": "Other"}), ("spec.trainer", "cannot change")),
    "run-seed": (run(), run(seed=1), ("spec.seed", "cannot change")),
    "run-deterministic": (run(), run(deterministic=True), ("spec.deterministic", "cannot change")),
    "run-validation": (run(), run(validation="Skip"), ("spec.validation", "cannot change")),
    "run-plugins": (run(plugins=[{"configMapName": "a"}]), run(), ("spec.plugins", "cannot change")),
    "dataset-plugins": (dataset(), dataset(plugins=[{"configMapName": "a"}]), ("spec.plugins", "cannot change")),
    "plans-plugins": (plans(plugins=[{"configMapName": "a"}]), plans(), ("spec.plugins", "cannot change")),
    "transfer-plugins": (transfer(plugins=[{"configMapName": "a"}]), transfer(), ("spec.plugins", "cannot change")),
    "run-pretrained-added": (run(), run(pretrained=_PRETRAINED), ("spec.pretrained", "added or removed")),
    "run-pretrained-uri": (
        run(pretrained=_PRETRAINED),
        run(pretrained={"uri": "s3://b/d"}),
        ("spec.pretrained.uri", "cannot change"),
    ),
    "run-pretrained-fold": (
        run(pretrained={"runRef": {"name": "a"}}),
        run(pretrained={"runRef": {"name": "a", "fold": "0"}}),
        ("spec.pretrained.runRef", "cannot change"),
    ),
    "run-pretrained-fold-otherwise-spelled": (
        run(pretrained={"runRef": {"name": "a", "fold": "0"}}),
        run(pretrained={"runRef": {"name": "a", "fold": 0}}),
        None,
    ),
    "run-continues-added": (run(), run(continues=CONTINUES), ("spec.continues", "cannot")),
    "run-continues-removed": (run(continues=CONTINUES), run(), ("spec.continues", "cannot")),
    "run-continues-epochs": (
        run(continues=CONTINUES),
        run(continues={**CONTINUES, "additionalEpochs": 501}),
        ("spec.continues", "cannot change"),
    ),
    "run-continues-schedule": (
        run(continues=CONTINUES),
        run(continues={**CONTINUES, "schedule": "Restart"}),
        ("spec.continues", "cannot change"),
    ),
    "run-pretrained-name": (
        run(pretrained={"runRef": {"name": "a"}}),
        run(pretrained={"runRef": {"name": "b"}}),
        ("spec.pretrained.runRef", "cannot change"),
    ),
    **{
        f"run-pretrained-{field.lower()}": (
            run(pretrained=_PRETRAINED),
            run(pretrained={**_PRETRAINED, field: value}),
            (f"spec.pretrained.{field}", "cannot change"),
        )
        for field, value in (("inputChannels", "Repeat"), ("heads", "MatchByLabel"), ("mismatched", "Skip"))
    },
    "run-pretrained-secret": (run(pretrained=_PRETRAINED), run(pretrained={**_PRETRAINED, "secretName": "s"}), None),
    "run-editable": (run(), GOOD["run-editable"], None),
    "run-template": (run(), GOOD["run-template"], None),
    "run-placement": (run(), GOOD["run-placement"], None),
    "plans-suspended": (plans(), GOOD["plans-suspended"], None),
    "run-workers": (run(), run(workers={"nodes": 2}, checkpoint={"keep": 5}, maxParallelFolds=1), None),
    "run-failure-policy": (run(), run(failurePolicy={"maxRestarts": 9, "preRunningDeadlineSeconds": 60}), None),
}
