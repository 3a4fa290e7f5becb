"""Kubeconfigs that cannot be used end in one message, and those that can in a connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.cluster.api import kubeconfig
from nnunet_trainer.contract.faults import BadUsage

WHOLE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Config", "current-context": "plain",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "x"}}],
    "contexts": [
        {"name": "plain", "context": {"cluster": "c", "user": "u"}},
        {"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "lab"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("context", [None, "plain"])
@pytest.mark.parametrize(
    "text",
    ["", "a: [", "text", "[]", "contexts: null", "\x00", json.dumps(WHOLE | {"contexts": None})],
    ids=["empty", "no YAML", "a text", "a list", "no clusters", "binary", "no contexts"],
)
async def test_what_is_no_kubeconfig(tmp_path: Path, text: str, context: str | None) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(BadUsage, match="No cluster can be reached with"):
        await kubeconfig.connect(file, context)


@pytest.mark.parametrize(("context", "namespace"), [(None, None), ("plain", None), ("lab", "lab")])
async def test_a_namespace_is_the_contexts_where_it_has_one(tmp_path: Path, context: str | None, namespace: str | None) -> None:
    file = tmp_path / "config"
    file.write_text(json.dumps(WHOLE))
    api = await kubeconfig.connect(file, context)
    await api.close()
    assert api.context_namespace == namespace
    assert kubeconfig.contexts(file) == ["plain", "lab"]
    with pytest.raises(BadUsage, match="There is no context named 'lad'"):
        await kubeconfig.connect(file, "lad")
