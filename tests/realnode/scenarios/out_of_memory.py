"""A container that is killed for memory is told as such."""

from support.apiclient import wait_until

from ..cluster import Cluster, training


def run(cluster: Cluster) -> str:
    name = "short-of-memory"
    resources = {"requests": {"memory": "64Mi"}, "limits": {"memory": "160Mi"}}
    cluster.apply(training(name, template={"resources": resources}, failurePolicy={"maxRestarts": 0}))

    def failed() -> str | None:
        stalled = cluster.condition("TrainingRun", name, "Stalled")
        return str(stalled["message"]) if stalled["status"] == "True" else None

    message = wait_until(failed, timeout=240, what=lambda: f"the run to fail: {cluster.said('TrainingRun', name)}")
    assert "more memory than its limit" in message, message
    assert "160" in message, message
    cluster.delete("TrainingRun", name)
    return message
