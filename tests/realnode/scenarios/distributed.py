"""Two pods train one fold together (gloo): they find each other by DNS."""

from support.apiclient import wait_until

from ..cluster import Cluster, training


def run(cluster: Cluster) -> str:
    name = "two-pods"
    cluster.apply(training(name, epochs=3, workers={"nodes": 2, "gpusPerNode": 0}))

    def together() -> list[str]:
        found = [pod["status"].get("podIP") for pod in cluster.pods(name) if pod["status"].get("phase") == "Running"]
        return [str(address) for address in found] if len(found) == 2 and all(found) else []

    addresses = wait_until(together, timeout=120, what=lambda: f"two pods to run: {cluster.said('TrainingRun', name)}")
    assert len(set(addresses)) == 2
    container = cluster.pods(name)[0]["spec"]["containers"][0]
    (leader,) = [variable["value"] for variable in container["env"] if variable["name"] == "MASTER_ADDR"]
    assert not leader[0].isdigit(), leader
    cluster.wait_ready("TrainingRun", name, seconds=400)
    assert cluster.fold(name).get("attempt") == 0, cluster.fold(name)
    cluster.delete("TrainingRun", name)
    return f"{' and '.join(addresses)} met at {leader}"
