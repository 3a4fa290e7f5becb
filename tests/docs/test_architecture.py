"""docs/architecture.md says what is there: every room with its own words, every file and name that it points to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PACKAGES = ("operator/nnunet_operator", "trainer_image/nnunet_trainer", "kubectl_plugin/kubectl_nnunet")
HEAD = "| room | what lives there |\n|---|---|"
DOCUMENTS = ("docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md")


def rooms(package: str) -> Iterator[str]:
    """The table's rows: each folder below a package, with the first paragraph of its `__init__.py`."""
    for file in sorted((ROOT / package).rglob("__init__.py"), key=lambda file: file.parent.parts):
        if file.parent == ROOT / package:
            continue
        said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "?"
        yield f"| `{file.parent.relative_to(ROOT / package)}/` | {' '.join(said.split(chr(10) * 2)[0].split())} |"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_named_with_its_own_words(package: str) -> None:
    wanted = "\n".join(rooms(package))
    assert "| ? |" not in wanted, "a room says in its __init__.py what lives there"
    assert f"<!-- rooms: {package} -->\n{HEAD}\n{wanted}\n" in TEXT, f"the table of {package} is:\n{wanted}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_is_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:operator|trainer_image|tests|benchmarks|docs)/[\w./-]+)`", text)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [path for path in linked if not ((ROOT / document).parent / path).exists()] == []


def test_every_name_is_in_the_file_that_is_said_to_hold_it() -> None:
    pairs = re.findall(r"`(\w+)`\s+(?:in|\()\s*`([\w/]+\.py)`", TEXT)
    assert len(pairs) >= 12
    for name, path in pairs:
        defined = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))) if hasattr(node, "name")}
        assert name in defined, f"{name} is not in {path}"


def test_what_can_be_made_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    said = set(re.findall(r"make ([a-z][a-z0-9-]*)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert [target for target in sorted(said) if not re.search(rf"^{target}:", makefile, re.M)] == []
