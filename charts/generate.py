"""Writes what follows from the chart: the table of values in its README, and the manifests that kustomization.yaml installs.

    python charts/generate.py            # or: make chart

Needs Helm as a library (the extra `dev`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "nnunet-operator"
README = CHART / "README.md"
MANIFESTS = ROOT / "deploy" / "operator.yaml"
RELEASE, NAMESPACE = "nnunet-operator", "nnunet-system"
BEGIN, END = "<!-- values -->", "<!-- end of values -->"

Schema = dict[str, Any]


def values_table(schema: Schema, defaults: dict[str, Any]) -> str:
    """A Markdown table of all values: path, default, meaning."""
    lines = ["| Value | Default | Meaning |", "|---|---|---|"]
    for path, node, default in _values(schema, schema, defaults, ""):
        shown = f"`{json.dumps(default, ensure_ascii=False)}`" if default not in ("", None) else ""
        lines.append(f"| {path} | {shown} | {node['description']} |".replace("|  |", "| |"))
    return "\n".join(lines)


def _values(schema: Schema, node: Schema, default: Any, path: str) -> Iterator[tuple[str, Schema, Any]]:
    """Groups of values (no default of their own), and each value; `global` is Helm's own, and stands in the schema alone."""
    if "$ref" in node:
        node = {**schema["definitions"][node["$ref"].rsplit("/", 1)[1]], **node}
    parts = node.get("properties", {})
    if not isinstance(default, dict) or not default or set(default) - set(parts) or path.endswith("resources"):
        yield f"`{path}`", node, default
        return
    if path:
        yield f"**`{path}`**", node, None
    for name in default:
        yield from _values(schema, parts[name], default[name], f"{path}.{name}" if path else name)


def readme(text: str) -> str:
    """The chart's README with the table of today's values.

    Raises:
        ValueError: the marks between which the table stands are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README}: {BEGIN} and {END} were expected")
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    return f"{before}{BEGIN}\n{values_table(schema, defaults)}\n{END}{after}"


def manifests() -> str:
    """What the chart makes of its defaults, without the CRDs and without what only Helm needs."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render({"crds": {"install": False}}, name=RELEASE, namespace=NAMESPACE)
    texts = (text for path, text in sorted(files.items()) if not path.endswith("NOTES.txt"))
    found = [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    found.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}})
    for manifest in found:
        for labels in _labels(manifest):
            labels.pop("helm.sh/chart", None)
            labels.pop("app.kubernetes.io/managed-by", None)
    head = "# What the chart makes of its defaults. Generated (make chart): change the chart, or patch this by kustomize.\n"
    return head + yaml.safe_dump_all(found, sort_keys=False, width=120)


def _labels(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield manifest["metadata"].get("labels", {})
    if manifest["kind"] == "Deployment":
        yield manifest["spec"]["template"]["metadata"]["labels"]


def main() -> int:
    """Write both, and say what was written."""
    MANIFESTS.parent.mkdir(exist_ok=True)
    for file, text in ((README, readme(README.read_text())), (MANIFESTS, manifests())):
        file.write_text(text)
        print(file.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
