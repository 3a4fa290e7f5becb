"""Objects as trees: Dataset → Plans → PlanTransfer → TrainingRun, each below what it is made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..api.resources import KINDS
from ..controller.object_client import key_of
from ..manifests import ownership
from ..reconcile.view import Key, Manifest
from .printer_columns import lookup


@dataclass(slots=True)
class Node:
    """One object in its tree.

    Attributes:
        key: kind, namespace and name.
        manifest: None: it is referred to, and is not there.
        made: of a PlanTransfer, the Plans that it has made; it has no node of its own.
        notes: what else it refers to: `for dataset/source`, `from trainingrun/pretrain`.
    """

    key: Key
    manifest: Manifest | None = None
    made: Manifest | None = None
    notes: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """Itself and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def trees(manifests: Iterable[Manifest]) -> list[Node]:
    """The trees of all objects of the four kinds, each object once; roots are Datasets, and what is not there.

    An object of two parents (a PlanTransfer: plans and a dataset) stands below its plans, and notes the other.
    """
    by_key = {key_of(manifest): manifest for manifest in manifests}
    nodes: dict[Key, Node] = {}
    made = {key: transfer for key in by_key if (transfer := _maker(by_key, key)) is not None}
    for key in sorted(by_key, key=_order):
        if key not in made:
            nodes[key] = Node(key, by_key[key], notes=_notes(by_key[key]))
    for key, transfer in made.items():
        nodes[transfer].made = by_key[key]
    roots: list[Node] = []
    for key, node in list(nodes.items()):
        parent = _parent(by_key[key])
        if parent is None:
            roots.append(node)
            continue
        transfer = parent._replace(kind="PlanTransfer")  # its Plans may not be made yet
        parent = made.get(parent, transfer if parent.kind == "Plans" and parent not in by_key and transfer in by_key else parent)
        if parent not in nodes:
            nodes[parent] = Node(parent)
            roots.append(nodes[parent])
        nodes[parent].children.append(node)
    seen = {id(node) for root in roots for node in root.walk()}
    for node in nodes.values():  # references in a circle have no root
        if id(node) not in seen:
            _cut(node, nodes)
            roots.append(node)
            seen |= {id(each) for each in node.walk()}
    return sorted(roots, key=lambda node: _order(node.key))


def around(roots: Iterable[Node], wanted: set[Key]) -> list[Node]:
    """The trees without what neither leads to one of these objects nor comes from it."""
    kept = []
    for root in roots:
        if root.key in wanted or (root.made is not None and key_of(root.made) in wanted):
            kept.append(root)
        elif children := around(root.children, wanted):
            kept.append(Node(root.key, root.manifest, root.made, root.notes, children))
    return kept


def _maker(by_key: dict[Key, Manifest], key: Key) -> Key | None:
    """The PlanTransfer that has made a Plans, where it is there."""
    if key.kind != "Plans":
        return None
    transfer = key._replace(kind="PlanTransfer")
    return transfer if transfer in by_key and ownership.is_controlled_by(by_key[key], by_key[transfer]) else None


def _parent(manifest: Manifest) -> Key | None:
    paths = {
        "Plans": (("Plans", ".spec.transferFrom.plansRef.name"), ("Dataset", ".spec.datasetRef.name")),
        "PlanTransfer": (("Plans", ".spec.from.plansRef.name"),),
        "TrainingRun": (("Plans", ".spec.plansRef.name"),),
    }
    for kind, path in paths.get(manifest["kind"], ()):
        if isinstance(name := lookup(manifest, path), str):
            return Key(kind, manifest["metadata"]["namespace"], name)
    return None


def _notes(manifest: Manifest) -> list[str]:
    notes = []
    for path, text in (
        (".spec.to.datasetRef.name", "for dataset/{}"),
        (".spec.pretrained.runRef.name", "from trainingrun/{}"),
        (".spec.previousStage.runRef.name", "after trainingrun/{}"),
        (".spec.continues.runRef.name", "continues trainingrun/{}"),
    ):
        if isinstance(name := lookup(manifest, path), str):
            notes.append(text.format(name))
    return notes


def _cut(node: Node, nodes: dict[Key, Node]) -> None:
    """Take a node away from its parent."""
    for other in nodes.values():
        other.children = [child for child in other.children if child is not node]


def _order(key: Key) -> tuple[str, int, str]:
    return key.namespace, list(KINDS).index(key.kind), key.name
