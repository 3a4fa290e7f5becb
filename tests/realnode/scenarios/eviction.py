"""An evicted pod gets SIGTERM and writes a checkpoint; the next attempt goes on from it."""

from support.apiclient import wait_until

from ..cluster import NAMESPACE, Cluster, training


def run(cluster: Cluster) -> str:
    name = "evicted"
    # No periodic checkpoint: what the next attempt starts from can only be the one of the SIGTERM.
    cluster.apply(training(name, epochs=40, checkpoint={"everyEpochs": 1000, "everyMinutes": 1000}))
    cluster.wait_epoch(name, 3)
    pod = cluster.wait_running(name)["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    cluster.api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", eviction)

    def resumed() -> int | None:
        fold = cluster.fold(name)
        return int(fold["resumedFromEpoch"]) if fold.get("attempt") == 1 and fold.get("resumedFromEpoch") is not None else None

    epoch = wait_until(resumed, timeout=240, what=lambda: f"a second attempt that resumes: {cluster.fold(name)}")
    assert epoch >= 3, epoch
    cluster.wait_ready("TrainingRun", name, seconds=400)
    fold = cluster.fold(name)
    assert (fold["attempt"], fold.get("disruptions"), fold.get("restarts", 0)) == (1, 1, 0), fold
    assert fold["epoch"] == 40, fold
    cluster.delete("TrainingRun", name)
    return f"resumed from epoch {epoch}"
