"""helm uninstall in the middle of a training leaves users' objects; installed again, all goes on and nothing is trained twice."""

from support.apiclient import wait_until

from ..cluster import CHART, GROUP, KINDS, NAMESPACE, RELEASE, Cluster, training


def objects(cluster: Cluster) -> dict[str, str]:
    return {
        f"{kind}/{item['metadata']['name']}": str(item["metadata"]["uid"])
        for kind in KINDS
        for item in cluster.api.list(GROUP, kind, NAMESPACE)
    }


def run(cluster: Cluster) -> str:
    name = "left-alone"
    cluster.apply(training(name, epochs=20))
    cluster.wait_epoch(name, 1)
    before = objects(cluster)
    # Not all: a scenario that failed may have left something, which is no fault of this one.
    ready = [known.split("/") for known in before if cluster.condition(*known.split("/"))["status"] == "True"]
    jobs = {item["metadata"]["uid"] for item in cluster.api.list("batch/v1", "Job", NAMESPACE)}
    cluster.helm("uninstall", RELEASE, "--wait", "--timeout=120s")
    assert objects(cluster) == before
    wait_until(lambda: _ended(cluster, name), timeout=300, what=lambda: f"the pod to end without an operator: {cluster.pods(name)}")
    cluster.helm("install", RELEASE, str(CHART), *cluster.chart_values(), "--wait", "--timeout=180s")
    cluster.wait_ready("TrainingRun", name, seconds=120)
    assert cluster.fold(name)["attempt"] == 0
    assert objects(cluster) == before
    # Whoever was Ready is still: no step was ordered again.
    for kind, object_name in ready:
        cluster.wait_ready(kind, object_name, seconds=60)
    assert {item["metadata"]["uid"] for item in cluster.api.list("batch/v1", "Job", NAMESPACE)} <= jobs
    cluster.delete("TrainingRun", name)
    return f"{len(before)} objects stayed"


def _ended(cluster: Cluster, name: str) -> bool:
    return all(pod["status"].get("phase") == "Succeeded" for pod in cluster.pods(name))
