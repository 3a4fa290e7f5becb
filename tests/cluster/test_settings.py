"""Flags and environment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from nnunet_operator.api.resources import parse
from nnunet_operator.cluster import command, settings
from nnunet_operator.reconcile import locations
from nnunet_trainer.contract import catalogue
from nnunet_trainer.contract.faults import BadUsage
from nnunet_trainer.contract.work_order import Location


def load(*flags: str, **environment: str) -> settings.ClusterSettings:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return settings.load(parser.parse_args(flags), environment)


def test_outside_a_cluster_it_works_everywhere_alone_and_serves_nothing() -> None:
    found = load()
    assert (found.namespaces, found.leader_election, found.http, found.in_cluster) == ((), False, None, False)
    assert found.reconcile.storage is None


def test_the_default_storage_comes_from_the_environment() -> None:
    storage = load(
        NNUNET_STORAGE_URI="s3://bucket/prefix",
        NNUNET_STORAGE_ENDPOINT="https://minio.example",
        NNUNET_STORAGE_REGION="eu-central-1",
        NNUNET_STORAGE_SECRET="s3",
        NNUNET_STORAGE_PATH_STYLE="true",
        NNUNET_STORAGE_CA_CONFIG_MAP="ca",
    ).reconcile.storage
    assert storage is not None
    assert (storage.uri, storage.endpoint, storage.region) == ("s3://bucket/prefix", "https://minio.example", "eu-central-1")
    assert (storage.secret_name, storage.path_style, storage.ca_config_map) == ("s3", True, "ca")


def test_a_namespace_can_have_a_storage_of_its_own() -> None:
    given = {"team-a": {"uri": "s3://a/nnunet", "endpoint": "https://minio.example", "secretName": "a", "pathStyle": True}}
    found = load(NNUNET_STORAGE_URI="s3://all", NNUNET_STORAGE_NAMESPACES=json.dumps(given)).reconcile
    assert {namespace: storage.to_json() for namespace, storage in found.namespace_storage.items()} == given

    def place(namespace: str, **spec: object) -> str:
        metadata = {"name": "brain", "namespace": namespace}
        source = {"uri": "s3://raw/Dataset001_Brain"}
        dataset = {"name": "Dataset001_Brain", "source": source, **spec}
        stored = parse({"apiVersion": "nnunet.dev/v1alpha1", "kind": "Dataset", "metadata": metadata, "spec": dataset})
        where = locations.storage(stored, found)
        assert isinstance(where, Location)
        return where.uri

    assert place("team-a") == "s3://a/nnunet"
    assert place("team-b") == "s3://all"
    assert place("team-a", storage={"uri": "s3://own"}) == "s3://own"


def test_default_resources_of_pods_come_from_the_environment() -> None:
    assert load().reconcile.pod_resources is None
    resources = load(NNUNET_TRAINER_RESOURCES='{"requests": {"cpu": "500m"}}').reconcile.pod_resources
    assert resources is not None
    assert resources.to_json() == {"requests": {"cpu": "500m"}}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"NNUNET_STORAGE_SECRET": "s3"}, "NNUNET_STORAGE_URI"),
        ({"NNUNET_STORAGE_URI": "s3://b", "NNUNET_STORAGE_PATH_STYLE": "perhaps"}, "NNUNET_STORAGE_PATH_STYLE"),
        ({"NNUNET_STORAGE_URI": "s3://b", "NNUNET_STORAGE_ENDPOINT": "minio"}, "NNUNET_STORAGE_ENDPOINT"),
        ({"NNUNET_STORAGE_URI": "/data"}, "s3://bucket/prefix"),
        ({"NNUNET_PROGRESS_SECONDS": "often"}, "NNUNET_PROGRESS_SECONDS"),
        ({"NNUNET_PROGRESS_SECONDS": "nan"}, "NNUNET_PROGRESS_SECONDS"),
        ({"NNUNET_HTTP": "8080"}, "HOST:PORT"),
        ({"NNUNET_STORAGE_NAMESPACES": "team-a"}, "NNUNET_STORAGE_NAMESPACES is no JSON"),
        ({"NNUNET_STORAGE_NAMESPACES": '["team-a"]'}, "a JSON object was expected"),
        ({"NNUNET_STORAGE_NAMESPACES": '{"team-a": "s3://a"}'}, "NNUNET_STORAGE_NAMESPACES.team-a"),
        ({"NNUNET_STORAGE_NAMESPACES": '{"team-a": {"uri": "/data"}}'}, "NNUNET_STORAGE_NAMESPACES.team-a.uri"),
        ({"NNUNET_STORAGE_NAMESPACES": '{"team-a": {"uri": "s3://a", "url": "x"}}'}, "url is unknown"),
        (
            {"NNUNET_STORAGE_NAMESPACES": '{"team-a": {"uri": "s3://a", "endpoint": "x"}}'},
            "NNUNET_STORAGE_NAMESPACES.team-a.endpoint",
        ),
        ({"NNUNET_TRAINER_RESOURCES": '{"request": {"cpu": "1"}}'}, "request is unknown"),
        ({"NNUNET_TRAINER_RESOURCES": '{"requests": {"cpu": "much"}}'}, "NNUNET_TRAINER_RESOURCES.requests.cpu"),
    ],
)
def test_a_wrong_value_is_named(environment: dict[str, str], told: str) -> None:
    with pytest.raises(BadUsage) as refused:
        load(**environment)
    assert told in str(refused.value)


def test_flags_win_over_the_environment() -> None:
    assert load(NNUNET_NAMESPACES="a, b,").namespaces == ("a", "b")
    assert load("-n", "c", NNUNET_NAMESPACES="a,b").namespaces == ("c",)
    assert load("--http", "127.0.0.1:9", NNUNET_HTTP="0.0.0.0:1").http == ("127.0.0.1", 9)
    assert load("--leader-election").leader_election


def test_the_catalogue_of_another_trainer(tmp_path: Path) -> None:
    assert "nnUNetTrainer" in load().reconcile.catalogue.content["trainers"]
    content = dict(catalogue.packaged().content)
    own = tmp_path / "catalogue.json"
    own.write_text(json.dumps({**content, "trainers": {**content["trainers"], "mine": {"base": None, "changes": {}, "about": ""}}}))
    assert load(NNUNET_CATALOGUE=str(own)).reconcile.catalogue.trainers().known("mine")
    with pytest.raises(BadUsage, match="cannot be read"):
        load(NNUNET_CATALOGUE=str(tmp_path / "absent.json"))
