"""The JSON value of one document's parse events: anchors, merge keys and keys as go.yaml.in/yaml/v2 (`decode.go`) takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from . import scalars
from .decoding import fault

DEEPEST = 100
"""Levels of nesting; no manifest or recipe comes near it, and Python's own stack ends at some more."""


@dataclass
class Node:
    """A scalar, a sequence, a mapping (keys and values in turns), or an alias of one of them."""

    kind: str
    mark: Any
    anchor: str | None = None
    tag: str = ""
    text: str = ""
    plain: bool = False
    children: list[Node] = field(default_factory=list)


class Construction:
    """Makes the value of one document; every message names the file and the place.

    Args:
        where: how messages call the file.
        first_line: how many lines of the file come before the document.
    """

    def __init__(self, where: str, first_line: int) -> None:
        self._where = where
        self._first_line = first_line
        self._anchors: dict[str, Node] = {}
        self._aliases: set[int] = set()
        self._depth = 0
        self._made = 0
        self._made_of_aliases = 0

    def value(self, events: Iterator[Any]) -> Any:
        """The value of the one document of a stream of PyYAML's events; None of an empty one.

        Raises:
            BadConfiguration: an unknown anchor, a key given twice, a merge of what is no mapping, what JSON cannot hold.
        """
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._fault(event, "another document begins here, without a line of three dashes (---).")
                version = getattr(event, "version", None)
                if version not in (None, (1, 1)):
                    raise self._fault(event, f"YAML {version[0]}.{version[1]} is asked for; kubectl reads YAML 1.1.")
                root = self._node(next(events), events, 0)
        return None if root is None else self._value(root)

    def _fault(self, node: Any, what: str, hint: str = "") -> Exception:
        mark = node.mark if isinstance(node, Node) else node.start_mark
        return fault(self._where, self._first_line + mark.line + 1, mark.column + 1, what, hint)

    def _node(self, event: Any, events: Iterator[Any], depth: int, flow: bool = False) -> Node:
        if depth > DEEPEST:
            raise self._fault(event, f"it is nested more than {DEEPEST} levels deep.")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._fault(event, f"*{event.anchor} refers to an anchor &{event.anchor} that is not above it.")
            return Node("alias", event.start_mark, children=[self._anchors[event.anchor]], text=event.anchor)
        kind = {yaml.ScalarEvent: "scalar", yaml.SequenceStartEvent: "sequence"}.get(type(event), "mapping")
        node = Node(kind, event.start_mark, event.anchor, event.tag or "")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if kind == "scalar":
            node.text, node.plain = event.value, event.implicit[0]
            if flow and event.implicit[0] and not event.style and "?" in node.text:
                raise self._fault(event, f"{node.text!r}: kubectl reads no ? inside of [] or {{}}.", "Put the text into quotes.")
            return node
        flow = flow or bool(event.flow_style)
        while not isinstance(item := next(events), yaml.SequenceEndEvent | yaml.MappingEndEvent):
            node.children.append(self._node(item, events, depth + 1, flow))
        return node

    @contextmanager
    def _deeper(self, node: Node) -> Iterator[None]:
        """One level further down; through aliases a few lines can be very deep."""
        self._depth += 1
        if self._depth > 2 * DEEPEST:
            raise self._fault(node, "it is nested too deeply, through its aliases.")
        yield
        self._depth -= 1

    def _count(self) -> None:
        """A few lines of aliases of aliases can stand for gigabytes."""
        self._made += 1
        self._made_of_aliases += bool(self._aliases)
        allowed = 0.99 - 0.89 * min(max((self._made - 400_000) / 3_600_000, 0), 1)
        if self._made > 1000 and self._made_of_aliases > 100 and self._made_of_aliases / self._made > allowed:
            raise fault(self._where, self._first_line + 1, 1, "it consists of too many aliases of aliases.")

    def _value(self, node: Node) -> Any:
        self._count()
        if node.kind == "scalar":
            value = self._scalar(node)
            try:
                return scalars.json_number(value) if isinstance(value, float) else value
            except scalars.Unreadable as error:
                raise self._fault(node, f"{node.text}: {error}", f'Write "{node.text}" if it is meant as text.') from error
        if node.kind == "alias":
            with self._followed(node) as target:
                return self._value(target)
        made: dict[str, Any] = {}
        with self._deeper(node):
            if node.kind == "sequence":
                return [self._value(child) for child in node.children]
            self._fill(node, made)
        return made

    @contextmanager
    def _followed(self, alias: Node) -> Iterator[Node]:
        """The target of an alias, while it is made: it may not come to itself."""
        target = alias.children[0]
        if id(target) in self._aliases:
            raise self._fault(alias, f"*{alias.text} contains itself.")
        self._aliases.add(id(target))
        yield target
        self._aliases.discard(id(target))

    def _scalar(self, node: Node) -> Any:
        if any("\ud800" <= character <= "\udfff" for character in node.text):
            raise self._fault(node, "half of a surrogate pair is no character.", "Write \\U0001F600 instead of \\ud83d\\ude00.")
        try:
            return scalars.resolved(node.text, node.tag, node.plain)
        except scalars.Unreadable as error:
            raise self._fault(node, str(error)) from error

    def _fill(self, node: Node, made: dict[str, Any]) -> None:
        """A mapping's keys into an object. What comes later wins, be it a key or a merge (`<<`), as in kubectl."""
        own: dict[str, Node] = {}
        for i in range(0, len(node.children), 2):
            name, value = node.children[i : i + 2]
            if _is_merge(name):
                self._merge(value, made)
                continue
            key = self._key(name)
            if key in own:
                line = self._first_line + own[key].mark.line + 1
                document = ", or put a line --- before it where another document begins" if name.mark.column == 0 else ""
                hint = f"Leave one of them out{document}."
                raise self._fault(name, f"the key {key!r} is given twice; it is in line {line} already.", hint)
            own[key] = name
            made[key] = self._value(value)

    def _key(self, node: Node) -> str:
        target = node.children[0] if node.kind == "alias" else node
        if target.kind != "scalar":
            template = (
                "{{ … }} is for templates: fill it in (helm template), or put it into quotes." if target.kind == "mapping" else ""
            )
            raise self._fault(node, f"a {target.kind} cannot be a key.", template)
        self._count()
        try:
            return scalars.key(self._scalar(target))
        except scalars.Unreadable as error:
            raise self._fault(node, str(error), "Put it into quotes if it is meant as text.") from error

    def _merge(self, node: Node, made: dict[str, Any]) -> None:
        # Of several mappings the first one wins.
        for part in reversed(node.children) if node.kind == "sequence" else [node]:
            self._count()
            if part.kind == "mapping":
                self._fill(part, made)
            elif part.kind == "alias" and part.children[0].kind == "mapping":
                with self._followed(part) as target, self._deeper(part):
                    self._fill(target, made)
            else:
                raise self._fault(part, "a merge (<<) needs a mapping or a list of mappings.")


def _is_merge(node: Node) -> bool:
    return node.kind == "scalar" and node.text == scalars.MERGE and (node.plain or node.tag == f"{scalars.TAG}merge")
