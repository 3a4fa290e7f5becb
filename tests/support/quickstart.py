"""The quickstart's own manifests, with fewer iterations than people have: nothing else of them is changed."""

from __future__ import annotations

import re

from .controlplane import ROOT

FOLDER = ROOT / "examples" / "quickstart"


def manifests(*, epochs: int, iterations: int) -> dict[str, str]:
    """The texts of its files, by name.

    Args:
        epochs: of each training; there they are 10.
        iterations: of each epoch; there they are 25.
    """
    numbers = {"epochs": epochs, "iterationsPerEpoch": iterations, "validationIterations": 1}
    found = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        text = file.read_text()
        for field, number in numbers.items():
            text = re.sub(rf"\b{field}: \d+", f"{field}: {number}", text)
        found[file.name] = text
    return found
