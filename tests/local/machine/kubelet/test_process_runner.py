"""Addresses of pods."""

from __future__ import annotations

import random

from nnunet_operator.local.machine.kubelet import process_runner


def test_addresses_are_on_loopback_and_not_shared() -> None:
    generator = random.Random(1)
    taken: list[str] = []
    for _ in range(300):
        ip = process_runner.address(str(generator.random()), taken)
        first, second, *rest = map(int, ip.split("."))
        assert (first, second) == (127, 1)
        assert all(1 <= part <= 254 for part in rest)
        assert ip not in taken
        taken.append(ip)
    assert process_runner.address("same", []) != process_runner.address("same", [process_runner.address("same", [])])
