"""helm upgrade and helm rollback in the middle of a training, which goes on."""

from ..cluster import CHART, NAMESPACE, RELEASE, Cluster, training


def operator_pods(cluster: Cluster) -> set[str]:
    found = cluster.api.list("v1", "Pod", NAMESPACE, labels=f"app.kubernetes.io/instance={RELEASE}")
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def run(cluster: Cluster) -> str:
    name = "through-an-upgrade"
    cluster.apply(training(name, epochs=60))
    cluster.wait_epoch(name, 1)
    first = operator_pods(cluster)
    changed = [*cluster.chart_values(), "--set", "progressSeconds=5", "--set", "workers=4"]
    cluster.helm("upgrade", RELEASE, str(CHART), *changed, "--wait", "--timeout=180s")
    second = operator_pods(cluster)
    assert not first & second, (first, second)
    cluster.wait_epoch(name, int(cluster.fold(name)["epoch"]) + 1)
    cluster.helm("rollback", RELEASE, "1", "--wait", "--timeout=180s")
    assert not second & operator_pods(cluster)
    epoch = cluster.fold(name)["epoch"]
    cluster.wait_ready("TrainingRun", name, seconds=400)
    fold = cluster.fold(name)
    assert (fold["attempt"], fold["epoch"]) == (0, 60), fold
    cluster.delete("TrainingRun", name)
    return f"rolled back by epoch {epoch}, ended in its first attempt"
