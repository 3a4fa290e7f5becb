"""A plug-in's ConfigMap: waited for, its preprocessing step and loss used in pods, and changed under a run."""

from typing import Any

import yaml
from support.apiclient import wait_until

from ..cluster import NAMESPACE, Cluster, quickstart, training

NAME = "of-our-own"
STEP = """
from typing import Annotated

from nnunet_trainer.extensions import Range, register


@register("preprocessingStep", "Halve")
def halve(images, case, *, times: Annotated[int, Range(1, 8)] = 1):
    images *= 0.5**times
"""
CALLED, GO_ON = "called", "go-on"
"""Files in /tmp of fold 0's pod: its loss makes the first and waits for the second, so that it trains while the plug-in changes."""
LOSS = f"""
import socket
import time
from pathlib import Path

from nnunet_trainer.extensions import call_built_in, register


@register("loss", "TwiceDiceCE")
def twice(context):
    once = call_built_in("loss", "DiceCE", context)

    def loss(logits, target):
        Path("/tmp/{CALLED}").touch()
        while "-f0-" in socket.gethostname() and not Path("/tmp/{GO_ON}").exists():
            time.sleep(0.1)
        return 2 * once(logits, target)

    return loss
"""


def config_map(comment: str = "") -> dict[str, Any]:
    data = {"step.py": STEP, "loss.py": comment + LOSS}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data}


def run(cluster: Cluster) -> str:
    documents = [document for file in quickstart() for document in yaml.safe_load_all(file.read_text()) if document]
    dataset, plans = (
        next(m for m in documents if (m["kind"], m["metadata"]["name"]) == (kind, "hippocampus")) for kind in ("Dataset", "Plans")
    )
    named = {"plugins": [{"configMapName": NAME}]}
    steps = ["Crop", {"name": "Halve", "times": 2}, "Normalize", "Resample"]
    own = {"plansName": "nnUNetPlans_own", "planner": {"parameters": {"preprocessingSteps": steps}}}
    cluster.apply(dataset)
    cluster.apply({**plans, "metadata": {"name": NAME}, "spec": plans["spec"] | own | named})

    def told(kind: str, reason: str) -> str:
        def found() -> str | None:
            condition = cluster.condition(kind, NAME)
            return str(condition.get("message")) if condition.get("reason") == reason else None

        return wait_until(found, timeout=240, what=lambda: f"Ready of {kind} {NAME} to say {reason}: {cluster.said(kind, NAME)}")

    waits = told("Plans", "WaitingForPlugin")
    assert not cluster.pods(NAME), waits
    cluster.apply(config_map())
    cluster.wait_ready("Plans", NAME, seconds=240)
    run = training(NAME, epochs=2, folds=["0", "1"], maxParallelFolds=1, plansRef={"name": NAME}, **named)
    run["spec"]["trainer"]["recipe"]["loss"] = {"name": "TwiceDiceCE"}
    cluster.apply(run)
    pod = cluster.wait_running(NAME)["metadata"]["name"]
    called = lambda: CALLED in cluster.kubectl("exec", pod, "--", "ls", "/tmp", check=False).split()  # noqa: E731
    wait_until(called, timeout=240, what="fold 0 to train")
    cluster.apply(config_map("# Another version.\n"))
    changed = wait_until(
        lambda: held_back(cluster), timeout=240, what=lambda: f"fold 1 to be held back: {cluster.said('TrainingRun', NAME)}"
    )
    cluster.kubectl("exec", pod, "--", "touch", f"/tmp/{GO_ON}")
    wait_until(lambda: cluster.fold(NAME)["state"] == "Succeeded", timeout=240, what="fold 0 to go on by its own copy")
    assert held_back(cluster)
    assert "job" not in cluster.object("TrainingRun", NAME)["status"]["folds"][1], cluster.said("TrainingRun", NAME)
    cluster.apply(config_map())
    healed = lambda: cluster.condition("TrainingRun", NAME, "Stalled")["status"] != "True"  # noqa: E731
    wait_until(healed, timeout=120, what="the run to go on with the plug-in that it began with")
    cluster.wait_ready("TrainingRun", NAME, seconds=240)
    for kind in ("TrainingRun", "Plans"):
        cluster.delete(kind, NAME)
    return f"{waits} | {changed}"


def held_back(cluster: Cluster) -> str | None:
    """Why fold 1 is not begun, when that is the plug-in."""
    _, fold = cluster.object("TrainingRun", NAME)["status"]["folds"]
    return str(fold["message"]) if fold.get("reason") == "PluginChanged" else None
