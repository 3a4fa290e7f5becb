"""The operator's container without a cluster: what it can be asked there, and what kopf is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nnunet_trainer.contract.faults import ExitCode
from support.containers import container
from support.containers.container import NOBODY, Container
from support.containers.images import DOCKERFILES
from support.third_party import chart

KOPF = """
import asyncio, kopf
from types import SimpleNamespace
from nnunet_operator.cluster import application, settings
from nnunet_operator.cluster.api.clock import ServerClock

seen = {}

async def spawn(**given):
    seen.update(given)
    raise SystemExit(0)

kopf.spawn_tasks = spawn
operator = application.Operator(settings.ClusterSettings(identity="pod-7"), api=SimpleNamespace(clock=ServerClock()))
try:
    asyncio.run(operator._watch([]))
except SystemExit:
    print(seen["identity"])
"""


def of_chart(folder: Path) -> Container:
    template = chart.one(chart.render({}), "Deployment")["spec"]["template"]
    return container.of_pod(
        template, DOCKERFILES["operator"], folder, {}, metadata_name="nnunet-operator-0", metadata_namespace="nnunet-system"
    )


@pytest.mark.parametrize(("uid", "home"), [(NOBODY, "/tmp"), (NOBODY, None), (1000660000, "/")])
def test_without_a_cluster_it_says_so(tmp_path: Path, uid: int, home: str | None) -> None:
    made = of_chart(tmp_path)
    variables = {name: value for name, value in made.environment.items() if name != "HOME"} | ({"HOME": home} if home else {})
    done = replace(made, environment=variables, uid=uid).run(["nnunet-operator", "run", "--log-format=json"])
    assert done.returncode == ExitCode.BAD_USAGE, done.stderr
    assert "NoCluster: No cluster can be reached with $KUBECONFIG or ~/.kube/config" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_answers(tmp_path: Path) -> None:
    made = of_chart(tmp_path)
    for argv in (["--version"], ["run", "--help"], ["crds", "-o", "/tmp/crds"]):
        done = made.run(["nnunet-operator", *argv])
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "volumes" / "tmp" / "crds").glob("*.yaml"))) == 4


def test_kopf_is_told_who_we_are(tmp_path: Path) -> None:
    """Its own guess needs the user's name."""
    done = of_chart(tmp_path).run(["python", "-c", KOPF])
    assert done.stdout.split() == ["pod-7"], done.stderr
