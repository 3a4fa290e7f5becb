"""The examples that people begin with: they name what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from nnunet_operator.api.resources import KINDS, parse
from nnunet_operator.reconcile.references import component_names
from nnunet_operator.reconcile.view import Settings

ROOT = Path(__file__).resolve().parents[3]
FILES = [path for folder in ("examples", "examples/quickstart") for path in sorted((ROOT / folder).glob("*.yaml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_name_is_known(path: Path) -> None:
    manifests = [document for document in yaml.safe_load_all(path.read_text()) if document and document["kind"] in KINDS]
    assert manifests
    for manifest in manifests:
        assert component_names.faults(parse(manifest), Settings()) is None
