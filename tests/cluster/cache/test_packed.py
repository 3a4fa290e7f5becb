"""What is packed comes back as it was."""

from __future__ import annotations

import pytest
from nnunet_operator.cluster.cache.packed import PackedManifests
from nnunet_operator.reconcile.view import Key
from support.apiclient import Manifest


def manifest(number: int) -> Manifest:
    status = {
        "dice": 0.1 * number,
        "text": 'Größe \u2028 \U0001f9e0 \\ "',
        "many": number * 10**20,
        "none": None,
        "list": [1.5, True],
    }
    return {"kind": "TrainingRun", "metadata": {"name": f"run-{number}"}, "status": status}


def key(number: int) -> Key:
    return Key("TrainingRun", "ns", f"run-{number}")


@pytest.mark.parametrize("at_work", [False, True])
def test_each_is_got_as_it_was_put_however_many_there_are(at_work: bool) -> None:
    kept = PackedManifests(most=3, most_at_work=4)
    for number in range(10):
        kept.put(key(number), manifest(number), at_work=at_work)
    for number in (*range(10), *reversed(range(10))):
        assert kept[key(number)] == manifest(number)
    assert len(kept) == 10
    assert set(kept) == {key(number) for number in range(10)}
    assert (len(kept._at_rest), len(kept._at_work)) == ((3, 4) if at_work else (3, 0))


def test_those_at_work_are_not_packed_for_the_sake_of_those_at_rest() -> None:
    kept = PackedManifests(most=2, most_at_work=5)
    busy = [manifest(number) for number in range(5)]
    for number, one in enumerate(busy):
        kept.put(key(number), one, at_work=True)
    for number in range(10, 30):
        kept.put(key(number), manifest(number), at_work=False)
    assert all(kept[key(number)] is one for number, one in enumerate(busy))
    kept.put(key(0), busy[0], at_work=False)
    for number in range(10, 12):
        assert kept[key(number)] == manifest(number)
    assert kept[key(0)] == busy[0]
    assert kept[key(0)] is not busy[0], "it was packed once it was at rest"


def test_a_newer_one_takes_the_place_of_a_packed_one_and_what_is_deleted_is_gone() -> None:
    kept = PackedManifests(most=1)
    for number in range(3):
        kept.put(key(number), manifest(number), at_work=number == 2)
    kept[key(0)] = manifest(7)
    assert kept[key(0)] == manifest(7)
    for number in range(3):
        del kept[key(number)]
        assert key(number) not in kept
        assert kept.get(key(number)) is None
    with pytest.raises(KeyError):
        kept[key(0)]
    assert len(kept) == len(kept._packed) == len(kept._at_rest) == len(kept._at_work) == 0


def test_what_comes_to_rest_makes_room_for_what_is_at_work() -> None:
    kept = PackedManifests(most=2, most_at_work=3)
    for number in range(3):
        kept.put(key(number), manifest(number), at_work=True)
    for number in range(3):
        kept.move(key(number), at_work=False)
    assert (list(kept._at_rest), list(kept._at_work)) == ([key(1), key(2)], []), "the oldest of those at rest is packed"
    kept.move(key(0), at_work=True)
    assert kept._packed[key(0)] is not None, "what is packed stays so until it is asked for"
    kept.move(key(1), at_work=True)
    assert (list(kept._at_rest), list(kept._at_work)) == ([key(2)], [key(1)])
    assert [kept[key(number)] for number in range(3)] == [manifest(number) for number in range(3)]
