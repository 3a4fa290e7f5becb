"""A pretended kubelet: pods run, end and go as a test says, and no program is started."""

from __future__ import annotations

import json
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import report as reports
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.report import Artifact, Error, Report

from .apiclient import ApiClient, ApiError, Manifest

TRAINER = Path(__file__).parents[1] / "local" / "commands" / "pretend_trainer.py"
NOW = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Ending:
    """How a pod ends: an exit code, and its termination message."""

    code: int = 0
    message: str = ""

    @classmethod
    def of(cls, report: Report) -> Ending:
        """With a report, as a trainer ends."""
        return cls(report.error.code if report.error else 0, reports.encode(report))


Script = Callable[[Manifest, Manifest], Ending | None]
"""From a work order and its pod to the pod's end; None: it goes on running."""


class PretendKubelet:
    """Plays the kubelet for the pods of one namespace.

    Args:
        script: asked once for each running pod, and again as long as it says None.
        ip: the address that every pod gets, or a pod's.
        stopped: how a running pod that is deleted ends; None: it goes without a word.
    """

    def __init__(
        self,
        api: ApiClient,
        namespace: str,
        script: Script,
        *,
        ip: str | Callable[[Manifest], str] = "127.1.0.1",
        stopped: Ending | None = None,
    ) -> None:
        self._api, self._namespace, self._ip, self._stopped = api, namespace, ip, stopped
        self.script = script
        self.orders: dict[str, Manifest] = {}  # by pod name: what each pod that ever ran was to do
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._problem: BaseException | None = None

    def __enter__(self) -> PretendKubelet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        if self._problem is not None:
            raise self._problem

    def steps(self) -> list[str]:
        """The steps that were run, in order."""
        return [order["step"] for order in self.orders.values()]

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            try:
                for pod in self._api.list("v1", "Pod", self._namespace):
                    self._care_for(pod)
            except ApiError as error:
                # It changed meanwhile, or the API server cannot answer now: looked at again.
                if error.code < 500 and error.code not in (404, 409, 429):
                    self._problem = error
                    return
            except (OSError, HTTPException):
                continue  # the API server is away; so would a kubelet wait
            except BaseException as error:
                self._problem = error
                return

    def _care_for(self, pod: Manifest) -> None:
        phase = pod.get("status", {}).get("phase", "Pending")
        name = pod["metadata"]["name"]
        if pod["metadata"].get("deletionTimestamp"):
            if phase == "Running" and self._stopped is not None:
                self._end(pod, self._stopped, _now())
            self._api.delete(pod, grace=0)
        elif phase == "Pending" and pod["spec"].get("nodeName"):
            if (order := self._order(pod)) is None:
                return  # a pod does not start before what it mounts is there
            self.orders[name] = order
            # Deadlines count from it.
            running = {"running": {"startedAt": _now()}}
            ip = self._ip if isinstance(self._ip, str) else self._ip(pod)
            self._set(pod, {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}, running, True)
        elif phase == "Running" and (ending := self._ending(pod)) is not None:
            self._end(pod, ending, NOW)

    def _end(self, pod: Manifest, ending: Ending, at: str) -> None:
        state = {"terminated": {"exitCode": ending.code, "message": ending.message, "startedAt": NOW, "finishedAt": at}}
        self._set(pod, {"phase": "Failed" if ending.code else "Succeeded"}, state, False)

    def _ending(self, pod: Manifest) -> Ending | None:
        name = pod["metadata"]["name"]
        if name not in self.orders and (order := self._order(pod)) is not None:  # another kubelet started it
            self.orders[name] = order
        return self.script(self.orders[name], pod) if name in self.orders else None

    def _order(self, pod: Manifest) -> Manifest | None:
        volumes = pod["spec"].get("volumes", [])
        name = next((volume["configMap"]["name"] for volume in volumes if volume["name"] == "order"), None)
        if name is None:  # somebody else's
            return None
        found = self._api.get("v1", "ConfigMap", self._namespace, name)
        order: Manifest | None = json.loads(found["data"]["order.json"]) if found else None
        return order

    def _set(self, pod: Manifest, status: Manifest, state: Manifest, ready: bool) -> None:
        container = pod["spec"]["containers"][0]
        own = ("PodScheduled", "Initialized", "ContainersReady")
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": NOW} for kind in own]
        # Others' conditions stay, as with a real one: an eviction's DisruptionTarget.
        conditions += [one for one in (pod.get("status") or {}).get("conditions") or [] if one["type"] not in own]
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "state": state,
            }
        ]
        self._api.patch(pod, {"status": {**status, "conditions": conditions, "containerStatuses": containers}}, sub="status")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CONFIGURATION: dict[str, Any] = {
    "patchSize": [32, 48, 32],
    "batchSize": 2,
    "spacing": [1.0, 1.0, 1.0],
    "medianShape": [36, 50, 35],
    "estimatedGpuMemoryGB": 1.5,
    "networkDigest": "5" * 16,
    "preprocessable": True,
}


def succeed(order: Manifest, pod: Manifest) -> Ending:
    """The report of a step that went well, with numbers of the kind that a real one gives."""
    step, digest = order["step"], (order["step"][0].encode().hex() * 32)[:64]
    root = order["storage"]["uri"]
    if step == "dataset":
        artifact = Artifact(kind="dataset", uri=f"{root}/datasets/{order['name']}/{digest[:16]}", digest=digest)
        summary: dict[str, Any] = {
            "cases": 12, "channels": {"0": "MRI"}, "labels": {"background": 0, "Anterior": 1}, "fileEnding": ".nii.gz",
            "medianSpacing": [1.0, 1.0, 1.0], "medianShape": [36.0, 50.0, 35.0], "sizeBytes": 1_000_000, "reader": "SimpleITKIO",
        }  # fmt: skip
    elif step in ("plan", "transfer"):
        name = order.get("plansName") or "nnUNetPlans"
        artifact = Artifact(kind="plans", uri=f"{root}/plans/{order['datasetName']}/{digest[:16]}", digest=digest)
        summary = {
            "plansName": name, "datasetName": order["datasetName"], "planner": "ExperimentPlanner",
            "configurations": {"2d": CONFIGURATION, "3d_fullres": CONFIGURATION, **_patched(order)}, "warnings": [],
        }  # fmt: skip
        if step == "transfer":
            summary["compatibility"] = [{"field": "channels", "source": "MRI", "target": "MRI", "verdict": "Same"}]
    elif step == "preprocess":
        artifact = Artifact(kind="preprocessed", uri=f"{root}/preprocessed/{order['datasetName']}/{digest[:16]}", digest=digest)
        summary = {"configuration": order["configuration"], "cases": 12, "shardCases": 12, "sizeBytes": 5_000_000, "found": False}
    elif step == "delete_results":
        uri = f"{root}/runs/{order['namespace']}/{order['run']}"
        artifact = Artifact(kind="deletion", uri=uri, digest=order["owner"])
        summary = {"deleted": 7, "sizeBytes": 1_000_000, "kept": []}
    else:
        uri = f"{root}/runs/{order['namespace']}/{order['run']}/{digest[:16]}"
        artifact = Artifact(kind="run", uri=uri, digest=digest)
        summary = {
            "fold": order["fold"], "epochs": 3, "trainer": "nnUNetTrainer", "folderUri": f"{uri}/nnUNet_results",
            "checkpointUri": f"{uri}/checkpoint_final.pth", "checkpointSha256": "a" * 64, "bestUri": f"{uri}/checkpoint_best.pth",
            "trainLoss": -0.5, "valLoss": -0.4, "emaPseudoDice": 0.8, "validationDice": 0.81, "dicePerLabel": {"1": 0.81},
            "found": False, "seconds": 1.0,
        }  # fmt: skip
    return Ending.of(Report(step=step, artifacts=[artifact], summary=summary))


def _patched(order: Manifest) -> dict[str, Any]:
    """Configurations that a patch adds, of a dataset in five folds."""
    added = (order.get("patch") or {}).get("configurations") or {}
    stages = {name: given.get("previous_stage") for name, given in added.items()}
    of_a_cascade = {name: {"previousStage": stage, "previousStageFolds": 5} if stage else {} for name, stage in stages.items()}
    return {name: {**CONFIGURATION, **more} for name, more in of_a_cascade.items()}


def trainer_program(folder: Path) -> Path:
    """A program in a folder that stands for `nnunet-trainer` and pretends every step; NNUNET_TRAINER takes it."""
    program = folder / "trainer"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {TRAINER} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def fail(reason: str, message: str, *, code: int = ExitCode.BAD_DATA) -> Script:
    """A script in which every pod fails with a report."""
    return lambda order, pod: Ending.of(Report(step=order["step"], error=Error(code=int(code), reason=reason, message=message)))


def wait(order: Manifest, pod: Manifest) -> None:
    """A script in which every pod goes on running."""
