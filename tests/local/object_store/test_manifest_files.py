"""Manifests as files: encodings, what YAML takes a scalar for, names; one message with file and field."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.cli import main
from nnunet_operator.local.object_store import manifest_files
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.contract.yaml_text import reader

DATASET = (
    "apiVersion: nnunet.dev/v1alpha1\nkind: Dataset\nmetadata: {name: d}\nspec: {name: Dataset001_Ü, source: {uri: 's3://b/c'}}\n"
)


def read(tmp_path: Path, content: bytes | str, name: str = "d.yaml") -> list[dict[str, Any]]:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return manifest_files.read([str(tmp_path / name)], "default")


def test_utf_8_is_read_with_and_without_a_mark(tmp_path: Path) -> None:
    assert read(tmp_path, DATASET) == read(tmp_path, b"\xef\xbb\xbf" + DATASET.encode())


def test_standard_input_is_read_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + DATASET.encode()), encoding="ascii"))
    assert manifest_files.read(["-"], "default") == read(tmp_path, DATASET)


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        ("utf-16", "d.yaml is written in UTF-16 (little-endian); UTF-8 was expected."),
        ("utf-32", "d.yaml is written in UTF-32 (little-endian); UTF-8 was expected."),
        ("latin-1", "d.yaml, line 4, column 25: the byte 0xdc is not UTF-8"),
    ],
)
def test_another_encoding_is_refused(tmp_path: Path, codec: str, said: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        read(tmp_path, DATASET.encode(codec))
    assert said in raised.value.message
    assert "iconv" in raised.value.hint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: d}", "name: 1}", "metadata.name: Invalid value: 1: must be of type string, found integer"),
        ("name: d}", "name: 1e3}", "metadata.name: Invalid value: 1000: must be of type string"),
        ("name: d}", "name: on}", "metadata.name: Invalid value: true: must be of type string, found boolean"),
        ("name: d}", "name: [d]}", 'metadata.name: Invalid value: "array": must be of type string'),
        ("name: d}", "name: ../d}", 'metadata.name: Invalid value: "../d"'),
        ("name: d}", "name: ''}", "a Dataset without metadata.name"),
        ("name: d}", "name: }", "a Dataset without metadata.name"),
        ("name: d}", "name: d, namespace: 3}", "metadata.namespace: Invalid value: 3: must be of type string"),
        ("name: d}", "name: d, namespace: a/b}", 'metadata.namespace: Invalid value: "a/b"'),
        ("name: d}", "name: d, name: e}", "d.yaml, line 3, column 21: the key 'name' is given twice"),
        ("kind: Dataset", "kind: on", "d.yaml: a document without kind"),
        ("kind: Dataset", "", "a document without kind"),
        ("apiVersion: nnunet.dev/v1alpha1", "", "a Dataset without apiVersion"),
        ("apiVersion: nnunet.dev/v1alpha1\nkind: Dataset", "", "a document without apiVersion and kind"),
        ("nnunet.dev/v1alpha1", "1", "there is no Dataset of 1 here"),
        ("nnunet.dev/v1alpha1", "nnunet.dev/v1", "Did you mean kind: Dataset with apiVersion: nnunet.dev/v1alpha1?"),
        ("kind: Dataset", "kind: dataset", "Did you mean kind: Dataset with"),
        ("kind: Dataset", "kind: Datasets", "Did you mean kind: Dataset with"),
        ("kind: Dataset", "kind: Trainingrun", "Did you mean kind: TrainingRun with"),
        ("kind: Dataset", "kind: planTransfer", "Did you mean kind: PlanTransfer with"),
        (
            "kind: Dataset",
            "kind: Job",
            "Expected one of Dataset, Plans, PlanTransfer, TrainingRun (apiVersion: nnunet.dev/v1alpha1)",
        ),
        ("metadata: {name: d}", "metadata: d", "a Dataset without metadata.name"),
        ("metadata: {name: d}", "metadata: {name: d", "d.yaml, line 4, column "),
        ("spec:", "\tspec:", "d.yaml, line 4, column 1: "),
    ],
)
def test_a_mistake_names_file_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in DATASET
    with pytest.raises(BadConfiguration) as raised:
        read(tmp_path, DATASET.replace(old, new))
    assert said in str(raised.value)
    assert "d.yaml" in raised.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12:30", "d.yaml: a document without apiVersion and kind"),
        (DATASET + "---\n2026-11-28\n", "d.yaml, document 2: a document without apiVersion and kind"),
        ("kind: List\nitems: 3\n", "d.yaml: items: a list was expected, found 3."),
        ("kind: List\nitems: [3]\n", "d.yaml, items[0]: a document without apiVersion and kind"),
        ("kind: List\nitems: {a: b}\n", "d.yaml: items: a list was expected, found {'a': 'b'}."),
    ],
)
def test_what_is_no_manifest_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        read(tmp_path, text)
    assert said in raised.value.message


@pytest.mark.parametrize("text", ["", "\n", "---\n# nothing\n---\n", "~", "kind: List\nitems: []\n", "kind: List\nitems:\n"])
def test_a_file_without_a_manifest_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadUsage, match=r"There is no manifest in .*d\.yaml"):
        read(tmp_path, text)


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            DATASET.replace("name: d}", "name: d, labels: {version: 2}}"),
            "dataset.nnunet.dev/d: metadata.labels.version: Invalid value: 2",
        ),
        (DATASET.replace("name: d}", "name: d, annotations: {a: 1e-3}}"), "metadata.annotations.a: Invalid value: 0.001"),
        (DATASET.replace("name: d}", "name: d, label: {a: b}}"), 'unknown field "metadata.label"'),
        (DATASET.replace("spec: {", "spec: {rerun: 2, "), "spec.rerun: Invalid value: 2: must be of type string, found integer"),
        (
            DATASET.replace("spec: {", "spec: {rerun: yes, "),
            "spec.rerun: Invalid value: true: must be of type string",
        ),
        (CONFIG_MAP + "data: {a: 1}\n", "configmap/c: data.a: Invalid value: 1: must be of type string"),
        (CONFIG_MAP + "data: [a]\n", 'data: Invalid value: "array": must be of type object'),
        (CONFIG_MAP + "dats: {a: b}\n", 'unknown field "dats"'),
    ],
)
def test_what_the_api_server_refuses_is_refused_before_anything_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (tmp_path / "all.yaml").write_text(CONFIG_MAP.replace("name: c", "name: first") + "---\n" + text.replace("Ü", "U"))
    store = tmp_path / "store"
    assert main(["local", "apply", "-f", str(tmp_path / "all.yaml"), "--store", str(store), "--no-wait"]) == 78
    error = capsys.readouterr().err
    assert error.startswith("Invalid: Nothing was applied:\n")
    assert said in error
    assert "put it into quotes" in error or "found integer" not in error
    assert not list(store.glob("objects/*/*/*.json"))


def test_what_get_prints_can_be_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts that look like numbers, dates and truth values are texts again."""
    odd = {
        "a": "1e-3",
        "b": "12:30",
        "c": "2026-11-28",
        "d": "on",
        "e": "017",
        "f": "1_000",
        "g": "~",
        "h": "",
        "i": ".5",
        "j": "0o17",
    }
    text = (
        DATASET.replace("Ü", "U").replace("name: d}", f"name: d, annotations: {odd}}}").replace("spec: {", "spec: {rerun: 12:30, ")
    )
    (tmp_path / "d.yaml").write_text(text)
    words = ["--store", str(tmp_path / "store")]
    assert main(["local", "apply", "-f", str(tmp_path / "d.yaml"), *words, "--no-wait"]) == 0
    capsys.readouterr()
    assert main(["local", "get", "dataset", "d", "-o", "yaml", *words]) == 0
    printed = capsys.readouterr().out
    found = reader.one(printed, "printed")
    assert found["metadata"]["annotations"] == odd
    assert found["spec"]["rerun"] == "12:30"
    (tmp_path / "again.yaml").write_text(printed)
    assert main(["local", "apply", "-f", str(tmp_path / "again.yaml"), *words, "--no-wait"]) == 0
    assert capsys.readouterr().out.strip() == "dataset.nnunet.dev/d unchanged"


def test_json_may_be_indented_with_tabs(tmp_path: Path) -> None:
    text = (
        '{\n\t"apiVersion": "v1",\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "c"},\n\t"data": {"a": "\\ud83d\\ude00\\/"}\n}\n'
    )
    (found,) = read(tmp_path, text, "c.json")
    assert found["data"] == {"a": "😀/"}


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
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n" * 2, BadConfiguration, "put a line --- before it"),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: {{ .Values.name }}}", BadConfiguration, "helm template"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(error) as raised:
        manifest_files.read([str(tmp_path / "d.yaml")], "default")
    assert message in str(raised.value)


def test_an_object_that_is_given_twice_is_named_with_both_places(tmp_path: Path) -> None:
    text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(f"{text.replace('c}', 'd}')}\n---\n{text}")
    with pytest.raises(
        BadConfiguration, match=rf"ConfigMap c is given twice: {tmp_path}/a\.yaml and {tmp_path}/b\.yaml, document 2\."
    ):
        manifest_files.read([str(tmp_path)], "default")
    with pytest.raises(BadConfiguration, match="is given twice"):  # the same file, named by itself and by its folder
        manifest_files.read([str(tmp_path / "a.yaml")] * 2, "default")


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match=r"holds no \.yaml"):
        manifest_files.read([str(tmp_path)], "default")


def test_a_list_is_its_items(tmp_path: Path) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    (tmp_path / "l.json").write_text(str({"apiVersion": "v1", "kind": "List", "items": [item]}).replace("'", '"'))
    (found,) = manifest_files.read([str(tmp_path)], "here")
    assert found["metadata"] == {"name": "c", "namespace": "here"}
