"""Folders that stand in for URIs."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.local.session.uri_map import UriMap, parse
from nnunet_trainer.contract.faults import BadUsage


def test_a_folder_stands_in_for_a_uri(tmp_path: Path) -> None:
    (tmp_path / "my images").mkdir()
    store = Store(tmp_path / "store")
    source = {"uri": "s3://b/raw/Dataset1", "endpoint": "http://e", "secretName": "s3", "layout": "MSD"}
    store.create({"kind": "Dataset", "metadata": {"name": "d"}, "spec": {"source": source}})
    store.create({"kind": "Dataset", "metadata": {"name": "other"}, "spec": {"source": {"uri": "s3://b/raw2/Dataset1"}}})
    UriMap(store, [parse(f"s3://b/raw={tmp_path / 'my images'}")])
    seen = UriMap(store)  # it is kept
    wanted = {"uri": f"file://{tmp_path}/my images/Dataset1", "layout": "MSD"}
    assert seen.get("Dataset", "default", "d")["spec"]["source"] == wanted
    assert seen.get("Dataset", "default", "other")["spec"]["source"] == {"uri": "s3://b/raw2/Dataset1"}
    assert store.get("Dataset", "default", "d")["spec"]["source"] == source, "what people wrote stays"
    for wrong in ("images", "s3://b/raw", f"s3://b/raw={tmp_path / 'nowhere'}"):
        with pytest.raises(BadUsage):
            parse(wrong)
