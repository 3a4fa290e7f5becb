"""The images of the product and of the node: built by buildah, imported into containerd when they are new."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .cluster import BUSYBOX, IMAGES, TAG
from .node.containers import PAUSE, ctr, import_image
from .node.layout import Layout

BUILD = Path(__file__).resolve().parent / "build_images" / "build.sh"
NAMES = {"operator": f"{IMAGES['operator']}:{TAG}", "trainer": f"{IMAGES['trainer']}:{TAG}", "pause": PAUSE, "busybox": BUSYBOX}


class Store:
    """buildah's images, beside the node's folder: they are as costly to lose as its programs."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.folder = layout.root.parent / f"{layout.root.name}-images"

    def _buildah(self, *arguments: str) -> str:
        places = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"), "--storage-driver", "overlay"]
        return subprocess.run(["buildah", *places, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def build(self) -> str:
        """Build both; what did not change comes from buildah's cache. Returns their sizes.

        Raises:
            RuntimeError: with the end of what the build said.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [str(BUILD), str(self.folder), sys.executable, "operator", "trainer"], capture_output=True, text=True, env=os.environ
        )
        if done.returncode:
            raise RuntimeError(f"{BUILD.name} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
        sizes = {name: self.size(name) for name in ("operator", "trainer")}
        base = self.size("localhost/python-base:1")
        above = ", ".join(f"{name} {size - base} MB above" for name, size in sizes.items())
        return f"{above} a base of {base} MB"

    def size(self, name: str) -> int:
        """Of an image, in MB (10⁶ bytes)."""
        listed = self._buildah("images", "--format", "{{.Size}}", NAMES.get(name, name))
        number, unit = listed.split()
        return round(float(number) * {"KB": 1e-3, "MB": 1, "GB": 1e3}[unit])

    def load(self) -> str:
        """Import into containerd what it does not have, and forget images that nothing names any more."""
        imported = []
        for name, reference in NAMES.items():
            number = self._buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", reference)
            stamp = self.layout.images / f"{name}.id"
            there = ctr(self.layout, "images", "ls", "-q").stdout.split()
            if reference in there and stamp.exists() and stamp.read_text() == number:
                continue
            archive = self.folder / f"{name}.tar"
            archive.unlink(missing_ok=True)
            try:
                self._buildah("push", "-q", reference, f"docker-archive:{archive}:{reference}")
                import_image(self.layout, archive)
            finally:
                archive.unlink(missing_ok=True)
            stamp.write_text(number)
            imported.append(name)
        return f"imported {', '.join(imported)}" if imported else "they were there"
