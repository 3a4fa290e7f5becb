"""The chart's alerts and dashboard, by a real Prometheus over what the operator and a training really export."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from nnunet_operator.api.resources import parse
from nnunet_operator.manifests import names
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.supervision import server
from nnunet_trainer.supervision.current_progress import CurrentProgress
from support.apiclient import Manifest, wait_until
from support.controlplane import ControlPlane
from support.network_policies import matches
from support.operator import OperatorProcess
from support.ports import free_port
from support.pretend import Ending, PretendKubelet, fail, succeed
from support.third_party import chart
from support.third_party.chart import CHART, one, render
from support.third_party.prometheus import Prometheus, program

ALERTS = CHART / "files" / "alerts.yaml"
UNIT_TESTS = Path(__file__).with_name("alerts.test.yaml")
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
ALL = {"metrics": {name: {"create": True} for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")}}
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*", "$run": ".*"}
METRIC = re.compile(r"\b(?:nnunet|process)_[a-z_]+\b(?!\s*=)")


def expression(query: str) -> str:
    """As Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


# -- alerts --


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path / "alerts.yaml")
    shutil.copy(UNIT_TESTS, tmp_path)
    done = subprocess.run(
        [str(program("promtool")), "test", "rules", UNIT_TESTS.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    cases = [case for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    for loud in (True, False):
        assert {case["alertname"] for case in cases if bool(case["exp_alerts"]) is loud} == {rule["alert"] for rule in rules}
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}


# -- over real metrics --


def dataset(namespace: str, name: str) -> Manifest:
    spec = {"name": "Dataset001_Brain", "source": {"uri": "s3://nnunet/raw/Dataset001_Brain"}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "Dataset", "metadata": metadata, "spec": spec}


def one_of_two(order: Manifest, pod: Manifest) -> Ending | None:
    broken = pod["metadata"]["labels"][names.OWNER_NAME] == "broken"
    return fail("InvalidCases", "one case has no label")(order, pod) if broken else succeed(order, pod)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A training's metrics, at this address."""
    monkeypatch.setenv("NNUNET_PROGRESS_PORT", str(free_port()))
    state = CurrentProgress("train")
    state.hear(
        Progress(
            step="train", phase="training", done=3, total=10, epoch=3, epochs=10, train_loss=-0.5, val_loss=-0.4, pseudo_dice=0.7,
            ema_pseudo_dice=0.6, learning_rate=0.01, seconds_per_epoch=12.5, eta_seconds=90, updated_at=time.time(),
        )
    )  # fmt: skip
    with server.serve(state) as address:
        assert address is not None
        yield f"{address[0]}:{address[1]}"


@pytest.fixture
def working(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator, with a dataset that is Ready and one that is Stalled."""
    values = {"watchNamespaces": [namespace], "rbac": {"aggregate": False}, "storage": {"uri": "s3://nnunet"}}
    with (
        chart.operator(control_plane, namespace, values, tmp_path) as operator,
        PretendKubelet(control_plane.admin, namespace, one_of_two),
    ):
        for name in ("good", "broken"):
            control_plane.admin.apply(dataset(namespace, name))
        wait_until(
            lambda: operator.metric("nnunet_operator_objects", ready="True") and operator.metric("nnunet_operator_objects_stalled"),
            what=lambda: f"one Dataset to be Ready and one to be Stalled: {operator.log[-2000:]}",
        )
        yield operator


def families(texts: list[str]) -> dict[str, bool]:
    """All metrics that are declared, and whether each has a series: a counter with labels has none before it counts."""
    lines = [line for text in texts for line in text.splitlines()]
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    return {name: any(re.match(rf"{name}(_bucket)?[{{ ]", line) for line in lines) for name in declared}


def used_by(query: str) -> set[str]:
    """The metrics that an expression reads."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in METRIC.findall(query)}


@pytest.mark.controlplane
def test_queries_and_alerts_say_something_about_a_real_operator(
    working: OperatorProcess, training: str, namespace: str, tmp_path: Path
) -> None:
    given = {re.sub(r"\W", "_", label) for label in one(render(ALL), "PodMonitor")["spec"]["podTargetLabels"]}
    labels = {**{name: name.removeprefix("nnunet_dev_") for name in given}, "namespace": namespace, "pod": "run-0"}
    with urllib.request.urlopen(f"http://{training}/metrics", timeout=60) as answer:
        known = families([working.get("/metrics")[1], answer.read().decode()])
    targets = {f"127.0.0.1:{working.port}": {"namespace": namespace}, training: labels}
    with Prometheus(tmp_path / "prometheus", targets, ALERTS) as prometheus:
        for query in QUERIES:
            assert used_by(query) <= known.keys(), query
            prometheus.query(expression(query))
            if all(known[name] for name in used_by(query)):
                wait_until(lambda query=query: prometheus.query(expression(query)), what=f"an answer to {query}")
        (progress,) = wait_until(lambda: prometheus.query("nnunet_epoch / nnunet_epochs"), what="the training's progress")
        assert (progress["metric"]["nnunet_dev_owner_name"], progress["value"][1]) == ("owner_name", "0.3")
        for variable in DASHBOARD["templating"]["list"][1:]:
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]).groups()
            found = wait_until(lambda metric=metric: prometheus.query(expression(metric)), what=metric)
            assert all(label in series["metric"] for series in found)

        def states() -> dict[str, str]:
            return {rule["name"]: rule["state"] if rule["health"] == "ok" else rule["health"] for rule in prometheus.rules()}

        wanted = {rule["name"]: "inactive" for rule in prometheus.rules()} | {"NnunetObjectsStalled": "pending"}
        wait_until(lambda: states() == wanted, what=lambda: prometheus.rules())
        for rule in prometheus.rules():
            assert used_by(rule["query"]) <= known.keys(), rule["name"]


# -- what the Prometheus operator and Grafana's sidecar make of it --


def test_the_monitors_find_the_service_and_the_trainings_pods() -> None:
    made = render(ALL)
    assert matches(one(made, "ServiceMonitor")["spec"]["selector"], one(made, "Service")["metadata"]["labels"])
    ports = [port["name"] for port in one(made, "Service")["spec"]["ports"]]
    assert [endpoint["port"] for endpoint in one(made, "ServiceMonitor")["spec"]["endpoints"]] == ports
    spec = {"name": "Dataset001_Brain", "source": {"uri": "s3://b/x"}}
    metadata = {"name": "x", "namespace": "y", "uid": "3f2a1b9c-0000-4000-8000-000000000000"}
    owner = parse({"apiVersion": "nnunet.dev/v1alpha1", "kind": "Dataset", "metadata": metadata, "spec": spec})
    assert matches(one(made, "PodMonitor")["spec"]["selector"], names.labels(owner, "train", fold="0"))
    assert one(render({**ALL, "watchNamespaces": ["a"]}), "PodMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["a"]}


def test_the_dashboard_is_what_grafanas_sidecar_looks_for() -> None:
    config_map = one(render(ALL), "ConfigMap")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config_map["data"]["nnunet-operator.json"]) == DASHBOARD
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)
    assert one(render(ALL), "PrometheusRule")["spec"] == yaml.safe_load(ALERTS.read_text())
