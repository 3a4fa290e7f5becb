"""A chain of Dataset, Plans and TrainingRun ends Ready: results in the bucket, a log of JSON lines, resources by default."""

import json

import yaml

from ..cluster import NAMESPACE, Cluster, quickstart, training


def run(cluster: Cluster) -> str:
    documents = [document for file in quickstart() for document in yaml.safe_load_all(file.read_text()) if document]
    chain = [m for m in documents if m["kind"] in ("Dataset", "Plans") and m["metadata"]["name"] == "hippocampus"]
    for manifest in reversed([*chain, training("smoke", epochs=6, validation="Run")]):
        cluster.apply(manifest)
    pod = cluster.wait_running("smoke", seconds=400)
    assert pod["status"]["qosClass"] == "Burstable", pod["status"]
    with cluster.followed_log(pod["metadata"]["name"]) as whole_log:
        cluster.wait_ready("TrainingRun", "smoke", seconds=400)
        lines = whole_log().splitlines()
    assert lines
    for line in lines:
        json.loads(line)
    keys = cluster.keys_below(f"artifacts/runs/{NAMESPACE}/smoke/")
    for name in ("checkpoint_final.pth", "validation/summary.json"):
        assert any(name in key for key in keys), (name, keys)
    return f"{len(keys)} files of the run, {len(lines)} lines of its log are JSON"
