"""JSON is read no deeper than can be borne, and otherwise as it is."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nnunet_operator.api.base import DEEPEST as DEEPEST_FIELD
from nnunet_operator.cluster.api import json_depth
from nnunet_operator.cluster.api.json_depth import DEEPEST, loads, shallow
from nnunet_operator.cluster.watch.kopf_session import _WholeLines
from nnunet_operator.cluster.watch.own_writes import OwnWrites


def nested(depth: int, opening: str = '{"a":', closing: str = "}", inside: str = "1") -> bytes:
    return (opening * depth + inside + closing * depth).encode()


def depth_of(data: Any) -> int:
    depth = 0
    while data not in (1, None, []):
        data, depth = (data["a"] if isinstance(data, dict) else data[-1]), depth + 1
    return depth


@pytest.mark.parametrize("depth", [1, DEEPEST - 1, DEEPEST])
def test_what_can_be_borne_is_left_as_it_is(depth: int) -> None:
    for text in (nested(depth), nested(depth, "[", "]"), nested(depth // 2, '[{"a":', "}]")):
        assert shallow(text) is text


@pytest.mark.parametrize("depth", [DEEPEST + 1, 500, 10_000])
@pytest.mark.parametrize(
    ("opening", "closing", "levels"), [('{"a":', "}", 1), ("[", "]", 1), ('{"]":"{","a":[', "]}", 2), ("[1,[2],", ",[3]]", 1)]
)
def test_what_is_deeper_is_left_out(depth: int, opening: str, closing: str, levels: int) -> None:
    read = loads(nested(depth // levels + 1, opening, closing))
    text = json.dumps(read)
    assert "null" in text
    outside, deepest = 0, 0
    for character in text.replace('"]"', "").replace('"{"', ""):
        outside += (character in "[{") - (character in "]}")
        deepest = max(deepest, outside)
    assert deepest == DEEPEST


def test_only_the_deep_part_is_left_out() -> None:
    deep = nested(9000).decode()
    read = loads(f'{{"items":[{{"a":{deep},"b":"}}]"}},{{"c":["\\"[",{deep}]}}],"d":"\\\\"}}'.encode())
    assert (read["items"][0]["b"], read["items"][1]["c"][0], read["d"]) == ("}]", '"[', "\\")
    assert depth_of(read["items"][0]["a"]) == DEEPEST - 3


def test_brackets_in_texts_count_for_nothing() -> None:
    random.seed(3)
    for _ in range(300):
        data = {
            "".join(random.choices('[]{}"\\,a', k=20)): ["".join(random.choices('[]{}"\\,ü', k=200)), 1.5, None] for _ in range(5)
        }
        text = json.dumps(data, ensure_ascii=False).encode()
        assert shallow(text) is text
        assert loads(text) == data


def test_a_field_of_any_shape_is_refused_before_anything_of_it_is_left_out() -> None:
    # list, items, object, spec, planner, perConfiguration, a configuration, parameters
    assert DEEPEST_FIELD + 8 < json_depth.DEEPEST


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_lines_of_a_watch_stay_whole(size: int) -> None:
    lines = [b'{"type":"ADDED","object":{"n":%d}}' % i for i in range(20)]
    lines[7] = b'{"type":"ADDED","object":{"spec":' + nested(3000) + b"}}"
    whole = b"\n".join(lines) + b"\n" + b'{"last":1}'

    class Answer:
        connection = None

        @property
        def content(self) -> Answer:
            return self

        async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
            for begin in range(0, len(whole), size):
                yield whole[begin : begin + size]

    blocks = [block async for block in _WholeLines(Answer(), OwnWrites()).iter_chunked(size)]  # type: ignore[arg-type]
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    read = [json.loads(line) for line in b"".join(blocks).splitlines()]
    assert [event["object"].get("n") for event in read[:-1]] == [*range(7), None, *range(8, 20)]
    assert read[-1] == {"last": 1}
    assert depth_of(read[7]["object"]["spec"]) == DEEPEST - 2
