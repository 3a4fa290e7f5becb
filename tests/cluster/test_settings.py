"""Flags and environment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from nnunet_operator.cluster import command, settings
from nnunet_trainer.contract import catalogue
from nnunet_trainer.contract.faults import BadUsage


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
