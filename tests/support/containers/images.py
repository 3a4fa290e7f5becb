"""What the Dockerfiles say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ..controlplane import ROOT

DOCKERFILES = {"operator": ROOT / "operator" / "Dockerfile", "trainer": ROOT / "trainer_image" / "Dockerfile"}


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction's word and the rest of it."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in dockerfile.read_text().splitlines() if not line.startswith("#")))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def last_stage(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of the image itself."""
    found = instructions(dockerfile)
    return found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]


def environment(dockerfile: Path) -> dict[str, str]:
    """The variables that an image sets, on top of its base's PATH."""
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    for word, rest in last_stage(dockerfile):
        if word == "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                variables[name] = value.replace("$PATH", variables["PATH"])
    return variables
