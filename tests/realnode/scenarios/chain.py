"""A chain of Dataset, Plans and TrainingRun from the quickstart ends Ready, results in the bucket."""

import yaml

from ..cluster import NAMESPACE, Cluster, quickstart, training


def run(cluster: Cluster) -> str:
    documents = [document for file in quickstart() for document in yaml.safe_load_all(file.read_text()) if document]
    chain = [m for m in documents if m["kind"] in ("Dataset", "Plans") and m["metadata"]["name"] == "hippocampus"]
    for manifest in reversed([*chain, training("smoke", epochs=2, validation="Run")]):
        cluster.apply(manifest)
    cluster.wait_ready("TrainingRun", "smoke", seconds=400)
    keys = cluster.keys_below(f"artifacts/runs/{NAMESPACE}/smoke/")
    for name in ("checkpoint_final.pth", "validation/summary.json"):
        assert any(name in key for key in keys), (name, keys)
    return f"{len(keys)} files of the run"
