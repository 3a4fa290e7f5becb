"""Code blocks of the documentation's pages, which tests run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .controlplane import ROOT
from .datasets import copy_examples
from .third_party.kubectl import BUILD

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")
"""The first line of a block that is to be a file."""
NEXT = "--- next block ---"


def all_blocks(page: str) -> list[tuple[str, str]]:
    """Language and content of each block of a page of docs/, in order."""
    return FENCE.findall((ROOT / "docs" / page).read_text())


def blocks(page: str, language: str) -> list[str]:
    """The content of those in one language."""
    return [body for found, body in all_blocks(page) if found == language]


def checkout(folder: Path) -> Path:
    """A folder with the repository's example data in it, five cases of each dataset."""
    copy_examples(folder / "examples" / "data")
    return folder


def carried_out(page: str, folder: Path) -> dict[int, str]:
    """Do what a page says: one shell runs its commands, and writes blocks that begin with a file's name there.

    Args:
        page: of docs/.
        folder: a `checkout`.

    Returns:
        What the commands have printed, by the block's place among all blocks of the page.
    """
    script, places = ["exec 2>&1"], []
    for place, (language, body) in enumerate(all_blocks(page)):
        if language == "bash":
            script += [f"echo '{NEXT}'", body]
            places.append(place)
        elif language in ("python", "yaml") and (file := FILE.match(body)):
            script.append(f"mkdir -p $(dirname {file[1]}); cat > {file[1]} <<'END OF THE BLOCK'\n{body}END OF THE BLOCK")
    kubectl = subprocess.run([str(BUILD), "--print"], check=True, capture_output=True, text=True).stdout.strip()
    programs = f"{Path(sys.executable).parent}:{Path(kubectl).parent}"
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    _, *printed = done.stdout.split(NEXT)
    return dict(zip(places, printed, strict=True))


def check_shown(page: str, printed: dict[int, str]) -> int:
    """That the commands before each block of text print its lines, whatever the numbers are; how many such blocks there are."""
    shown = [(place, body) for place, (language, body) in enumerate(all_blocks(page)) if language == "text"]
    for place, body in shown:
        before = plain(printed[max(p for p in printed if p < place)])
        for line in body.splitlines():
            assert plain(line) in before, f"{page}: {line}\n{printed[max(p for p in printed if p < place)]}"
    return len(shown)


def plain(text: str) -> str:
    """One space between words, N for each number: times, Dice and digests are others every time."""
    return " ".join(re.sub(r"\d+(\.\d+)?(e-\d+)?", "N", text).split())
