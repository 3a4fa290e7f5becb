"""The node crashes, its Node object stays: the run goes on from its checkpoint when the node is back."""

from support.apiclient import wait_until

from ..cluster import Cluster, training


def run(cluster: Cluster) -> str:
    name = "on-a-lost-node"
    cluster.apply(training(name, epochs=40, checkpoint={"everyEpochs": 1}))

    def saved() -> int:
        return int((cluster.fold(name).get("checkpoint") or {}).get("epoch") or 0)

    wait_until(lambda: saved() >= 2, timeout=240, what=lambda: f"a checkpoint: {cluster.fold(name)}")
    cluster.node.crash()
    before = saved()
    wait_until(lambda: not cluster.node.is_ready(), timeout=60, what="the node to be taken for lost")
    cluster.node.come_back()

    def resumed() -> int | None:
        fold = cluster.fold(name)
        return int(fold["resumedFromEpoch"]) if fold.get("attempt") and fold.get("resumedFromEpoch") is not None else None

    epoch = wait_until(resumed, timeout=300, what=lambda: f"a next attempt that resumes: {cluster.fold(name)}")
    assert epoch >= before, (epoch, before)
    cluster.wait_ready("TrainingRun", name, seconds=400)
    fold = cluster.fold(name)
    # The node's fault, and not the training's.
    assert (fold.get("disruptions"), fold.get("restarts", 0)) == (1, 0), fold
    cluster.delete("TrainingRun", name)
    return f"resumed from epoch {epoch} in attempt {fold['attempt'] + 1}"
