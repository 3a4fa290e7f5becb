"""A plug-in's ConfigMap on a real API server: missing, there, changed under a run, put back."""

from __future__ import annotations

from support.apiclient import Manifest, wait_until
from support.controlplane import ControlPlane
from support.pretend import Ending, PretendKubelet, succeed

from .conftest import API_VERSION, StartOperator, condition, dataset, plans, training_run


def config_map(namespace: str, text: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "losses", "namespace": namespace}, "data": {"a.py": text}}


def test_a_run_is_trained_by_one_plugin_whatever_becomes_of_its_config_map(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api, trained = control_plane.admin, set[str]()
    start_operator()

    def script(order: Manifest, pod: Manifest) -> Ending | None:
        return succeed(order, pod) if order["step"] != "train" or order["fold"] in trained else None

    def ready() -> tuple[str, str]:
        """How the run stands, looked at now: ConfigMaps are not watched."""
        run = api.get(API_VERSION, "TrainingRun", namespace, "run")
        assert run is not None
        looks = str(int((run["metadata"].get("annotations") or {}).get("looks", 0)) + 1)
        api.patch(run, {"metadata": {"annotations": {"looks": looks}}})
        found = condition(run)
        return found.get("reason", ""), found.get("message", "")

    def until(reason: str) -> str:
        wait_until(lambda: ready()[0] == reason, what=lambda: f"{reason}, it is {ready()}")
        return ready()[1]

    with PretendKubelet(api, namespace, script) as kubelet:
        for made in (dataset(namespace), plans(namespace)):
            api.apply(made)
        more = {"plugins": [{"configMapName": "losses"}], "folds": ["0", "1"], "maxParallelFolds": 1}
        api.apply(training_run(namespace, **more))
        assert f"waits for the ConfigMap losses of spec.plugins: namespace {namespace} has none" in until("WaitingForPlugin")
        assert "train" not in kubelet.steps(), "no GPU is taken"
        api.apply(config_map(namespace, "weight = 1"))
        until("Training")
        api.apply(config_map(namespace, "weight = 2"))
        trained.add("0")
        assert "the ConfigMap losses of spec.plugins was changed since this run began" in until("PluginChanged")
        trained.add("1")
        api.apply(config_map(namespace, "weight = 1"))
        until("Completed")
    digests = [order["pluginDigests"]["losses"] for order in kubelet.orders.values() if order["step"] == "train"]
    assert len(digests) == 2
    assert len(set(digests)) == 1
