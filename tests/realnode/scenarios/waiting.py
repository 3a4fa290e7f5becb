"""A missing Secret and an image that cannot be pulled are told while the pod waits."""

from typing import Any

from support.apiclient import wait_until

from ..cluster import GROUP, NAMESPACE, Cluster

SECRET = "no-such-secret"
IMAGE = "localhost/no-such-image:1"


def dataset(name: str, source: dict[str, str], **spec: Any) -> dict[str, Any]:
    source = {"uri": "s3://nnunet/raw/Dataset004_Hippocampus", **source}
    own = {"name": "Dataset004_Hippocampus", "source": source, **spec}
    return {"apiVersion": GROUP, "kind": "Dataset", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": own}


def run(cluster: Cluster) -> str:
    cluster.apply(dataset("without-secret", {"secretName": SECRET}))
    cluster.apply(dataset("without-image", {}, template={"image": IMAGE}))
    said = {}
    for name, wanted in (("without-image", IMAGE), ("without-secret", SECRET)):

        def told(name: str = name, wanted: str = wanted) -> str | None:
            condition = cluster.condition("Dataset", name)
            message = str(condition.get("message", ""))
            return f"{condition.get('reason')}: {message}" if wanted in message else None

        what = lambda name=name: f"Ready of {name} to name what it lacks: {cluster.said('Dataset', name)}"  # noqa: E731
        said[name] = wait_until(told, timeout=150, what=what)
    why = cluster.nnunet("why", "dataset/without-secret")
    assert f"secret/{SECRET}: is not there" in why, why
    assert f"Create the Secret {SECRET}" in why, why
    assert IMAGE in cluster.nnunet("why", "dataset/without-image")
    # Once the Secret is there, the same pod starts and ends well: the Dataset has nothing to be ordered again for.
    cluster.apply(cluster.secret(SECRET))
    cluster.wait_ready("Dataset", "without-secret", seconds=240)
    for name in said:
        cluster.delete("Dataset", name)
    return " | ".join(said.values())
