"""helm install into a namespace that enforces Pod Security "restricted"; the operator's pod is Ready."""

from support.controlplane import ROOT

from ..cluster import CHART, NAMESPACE, RELEASE, Cluster


def run(cluster: Cluster) -> str:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    cluster.helm("install", RELEASE, str(CHART), *cluster.chart_values(), "--wait", "--timeout=180s")
    cluster.kubectl("create", "secret", "generic", "s3", *_literals(cluster))
    cluster.upload(ROOT / "examples" / "data", "raw")
    (pod,) = cluster.api.list("v1", "Pod", NAMESPACE, labels=f"app.kubernetes.io/instance={RELEASE}")
    version = cluster.kubectl("exec", pod["metadata"]["name"], "--", "nnunet-operator", "--version").strip()
    return f"{version} runs"


def _literals(cluster: Cluster) -> list[str]:
    return [f"--from-literal={key}={value}" for key, value in cluster.keys().items()]
