"""docs/metrics.md names every metric of the operator, with its labels and its own words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nnunet_operator.cluster.monitoring import metrics
from prometheus_client import metrics as prometheus

TEXT = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
HEAD = "| metric | type | labels | what it is |\n|---|---|---|---|"


def rows() -> Iterator[str]:
    """The table's rows, from the metrics themselves."""
    found = [value for value in vars(metrics).values() if isinstance(value, prometheus.MetricWrapperBase)]
    for metric in sorted(found, key=lambda metric: metric._name):
        name = f"{metric._name}_total" if metric._type == "counter" else metric._name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        yield f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |"


def test_every_metric_is_named_with_its_own_words() -> None:
    wanted = "\n".join(rows())
    assert f"<!-- metrics -->\n{HEAD}\n{wanted}\n" in TEXT, f"the table is:\n{HEAD}\n{wanted}"
