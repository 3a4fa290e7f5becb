"""kubectl apply of examples/quickstart, in any order: all four kinds Ready, results in the bucket, fetched by kubectl nnunet."""

import random
import tempfile
from pathlib import Path

import yaml
from support.apiclient import wait_until

from ..cluster import NAMESPACE, Cluster, quickstart


def run(cluster: Cluster) -> str:
    wanted = [document for file in quickstart() for document in yaml.safe_load_all(file.read_text()) if document]
    random.Random(7).shuffle(wanted)
    for manifest in wanted:
        cluster.apply(manifest)
    for manifest in sorted(wanted, key=lambda m: str(m["kind"])):
        cluster.wait_ready(manifest["kind"], manifest["metadata"]["name"], seconds=900)
    dice = {name: cluster.fold(name)["validationDice"] for name in ("finetune", "scratch")}
    assert all(0.5 < value <= 1 for value in dice.values()), dice
    for run_name in ("pretrain", "finetune", "scratch"):
        keys = cluster.keys_below(f"artifacts/runs/{NAMESPACE}/{run_name}/")
        for name in ("checkpoint_final.pth", "progress.png", "training_log"):
            assert any(name in key for key in keys), (name, keys)
    tree = cluster.nnunet("status")
    assert tree.count(" Ready ") >= len(wanted), tree
    with tempfile.TemporaryDirectory() as folder:
        cluster.nnunet("fetch", "finetune", folder)
        fetched = {path.name for path in Path(folder).rglob("*") if path.is_file()}
        assert {"checkpoint_final.pth", "summary.json", "plans.json", "dataset.json"} <= fetched, fetched
    assert "validation" in cluster.nnunet("plot", "finetune")
    wait_until(lambda: not cluster.api.list("batch/v1", "Job", NAMESPACE), what="the Jobs to go: their results are in the status")
    return ", ".join(f"{name} {value:.4f} Dice" for name, value in dice.items())
