"""Manifests as people write them in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_operator.local.object_store import manifest_files
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("s3://bucket/raw", "s3://bucket/raw"),
        ("pvc://claim/raw", "pvc://claim/raw"),
        ("file:///data/x", "file:///data/x"),
        ("file:./x", "file://{folder}/x"),
        ("file://./x", "file://{folder}/x"),
        ("../x y", "file://{parent}/x y"),
    ],
)
def test_paths_count_from_the_manifest(tmp_path: Path, uri: str, wanted: str) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    text = f"apiVersion: nnunet.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: d}}\nspec: {{source: {{uri: '{uri}'}}}}\n"
    (folder / "d.yaml").write_text(text)
    (manifest,) = manifest_files.read([str(folder)], "default")
    assert manifest["spec"]["source"]["uri"] == wanted.format(folder=folder, parent=tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("kind: Secret\napiVersion: v1\nmetadata: {name: s3}", BadConfiguration, "--secrets DIR"),
        ("[1, 2]", BadConfiguration, "without apiVersion and kind"),
        ("a: [", BadConfiguration, "d.yaml"),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {}", BadConfiguration, "a ConfigMap without metadata.name"),
        ("\n---\n".join(["kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}"] * 2), BadConfiguration, "given twice"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(error) as raised:
        manifest_files.read([str(tmp_path / "d.yaml")], "default")
    assert message in str(raised.value)


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"holds no \.yaml"):
        manifest_files.read([str(tmp_path)], "default")


def test_a_list_is_its_items(tmp_path: Path) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    (tmp_path / "l.json").write_text(str({"apiVersion": "v1", "kind": "List", "items": [item]}).replace("'", '"'))
    (found,) = manifest_files.read([str(tmp_path)], "here")
    assert found["metadata"] == {"name": "c", "namespace": "here"}
