"""Variables as a container sees them."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.local.machine.kubelet.environment import variables
from nnunet_operator.local.machine.kubelet.host import Host, NotYet

Manifest = dict[str, Any]

FILES = {("ConfigMap", "n", "settings"): {"MODE": b"fast"}, ("Secret", "n", "s3"): {"KEY": "schlüssel".encode()}}
HOST = Host(contents=lambda kind, namespace, name: FILES.get((kind, namespace, name)))


def seen(*entries: Manifest) -> dict[str, str]:
    metadata = {"name": "p", "namespace": "n", "labels": {"a/b": "blue"}, "annotations": {"index": "3"}}
    return variables({"metadata": metadata, "spec": {"containers": [{"env": list(entries)}]}}, HOST, "127.1.2.3")


def reference(field: str, **what: str) -> Manifest:
    return {"name": "X", "valueFrom": {field: what}}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"name": "X", "value": "plain"}, "plain"),
        ({"name": "X"}, ""),
        (reference("configMapKeyRef", name="settings", key="MODE"), "fast"),
        (reference("secretKeyRef", name="s3", key="KEY"), "schlüssel"),
        (reference("fieldRef", fieldPath="status.podIP"), "127.1.2.3"),
        (reference("fieldRef", fieldPath="metadata.name"), "p"),
        (reference("fieldRef", fieldPath="metadata.labels['a/b']"), "blue"),
        (reference("fieldRef", fieldPath="metadata.annotations['index']"), "3"),
        (reference("fieldRef", fieldPath="metadata.labels['none']"), ""),
    ],
)
def test_where_values_come_from(entry: Manifest, value: str) -> None:
    assert seen(entry) == {"X": value}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (reference("configMapKeyRef", name="none", key="MODE"), 'configmap "none" not found'),
        (
            reference("secretKeyRef", name="none", key="KEY"),
            'secret "none" not found (--secrets DIR holds one folder a Secret: DIR/none/KEY)',
        ),
        (reference("configMapKeyRef", name="settings", key="mode"), 'configmap "settings" has no key mode'),
        (reference("secretKeyRef", name="s3", key="key"), 'secret "s3" has no key key'),
        (reference("fieldRef", fieldPath="spec.nodeName"), "the field spec.nodeName is not known here"),
    ],
)
def test_what_is_missing_is_waited_for_and_said(entry: Manifest, message: str) -> None:
    with pytest.raises(NotYet) as raised:
        seen(entry)
    assert str(raised.value) == message


def test_references_to_earlier_variables_are_replaced() -> None:
    entries = [{"name": "A", "value": "a"}, {"name": "B", "value": "$(A)-$$(A)-$(C)-$A"}, {"name": "C", "value": "c"}]
    assert seen(*entries)["B"] == "a-$(A)-$(C)-$A"
    assert seen({"name": "A", "value": "1"}, {"name": "A", "value": "2"}) == {"A": "2"}, "of two of a name the last counts"
