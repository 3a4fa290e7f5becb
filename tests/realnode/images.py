"""The images of the product and of the node: built by buildah, imported into containerd when they are new.

What a build or an import leaves behind is removed after it: images that lost their name to newer ones, containers of interrupted
builds. All of it lies in stores of this node's own; no other store of this machine is looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sized
from hashlib import sha256
from pathlib import Path

from support.controlplane import ROOT

from .cluster import BUSYBOX, IMAGES, TAG
from .node.containers import PAUSE, ctr, import_image, remove_untagged_images
from .node.layout import Layout

BUILD = Path(__file__).resolve().parent / "build_images" / "build.sh"
NAMES = {"operator": f"{IMAGES['operator']}:{TAG}", "trainer": f"{IMAGES['trainer']}:{TAG}", "pause": PAUSE, "busybox": BUSYBOX}
DEPENDENCIES = ("pyproject.toml", "constraints.txt", "images", "operator/Dockerfile", "trainer_image/Dockerfile")
"""What the stages that install the dependencies are made from."""
GB = 10**9
WHOLE_BUILD, BUILD_OF_CODE = 13 * GB, 5 * GB
"""Free bytes that a build, its import and the scenarios' own files take at most: of all, of what lies above the dependencies."""


def buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["buildah", *arguments], capture_output=True, text=True)


def digest_of_dependencies() -> str:
    """Of all files of `DEPENDENCIES`, and of what builds with them here."""
    places = [ROOT / name for name in DEPENDENCIES] + [BUILD.parent]
    files = [file for place in places for file in sorted([place] if place.is_file() else place.glob("*.*"))]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _count(found: Sized, what: str) -> str:
    return f"{len(found)} {what}{'s' if len(found) != 1 else ''}"


class Store:
    """buildah's images, beside the node's folder: they are as costly to lose as its programs.

    Args:
        layout: the node's.
        run: runs buildah with arguments.
        free: bytes that are free where a folder lies.
    """

    def __init__(
        self,
        layout: Layout,
        run: Callable[..., subprocess.CompletedProcess[str]] = buildah,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.layout, self._run = layout, run
        self.folder = layout.root.parent / f"{layout.root.name}-images"
        self._free = lambda: free(layout.root.parent)
        self._built = self.folder / "dependencies.sha256"

    def _buildah(self, *arguments: str) -> str:
        """Run buildah on this store.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        places = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"), "--storage-driver", "overlay"]
        done = self._run(*places, *arguments)
        if done.returncode:
            raise RuntimeError(f"buildah {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def lacking_space(self) -> str | None:
        """What to say when the disk is too full for a build, even without what earlier builds left; None when there is room."""
        same = self._built.exists() and self._built.read_text() == digest_of_dependencies()
        needed = BUILD_OF_CODE if same and (self.layout.images / "trainer.id").exists() else WHOLE_BUILD
        if self._free() >= needed:
            return None
        removed = self.remove_leftovers()
        if self._free() >= needed:
            return None
        free = f"{self._free() / GB:.1f} GB are free{f' ({removed})' if removed else ''}"
        return (
            f"{needed / GB:.0f} GB of free disk in {self.layout.root.parent}, and {free}. Free some, or name a folder elsewhere, "
            f"NNUNET_E2E_DIR=FOLDER make e2e. {self.folder} and {self.layout.images} hold the images of earlier runs: they can be "
            f"removed, and are then made from nothing"
        )

    def remove_leftovers(self) -> str:
        """Remove images without a name that none with a name is built on, and the containers of interrupted builds.

        Returns what was removed; nothing when there was nothing.
        """
        before = self._free()
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        # Containers first: they hold on to their images.
        containers = self._buildah("rm", "--all").split() if self._buildah("containers", "--all", "--quiet") else []
        images = self._buildah("rmi", "--prune").split()
        if not containers and not images:
            return ""
        counts = [_count(images, "untagged image")] if images else []
        counts += [f"{_count(containers, 'container')} of interrupted builds"] if containers else []
        return f"removed {' and '.join(counts)}: {max(self._free() - before, 0) / GB:.1f} GB"

    def build(self) -> str:
        """Build both; what did not change comes from buildah's cache. Returns their sizes, and what was removed.

        Raises:
            RuntimeError: with the end of what the build said.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [str(BUILD), str(self.folder), sys.executable, "operator", "trainer"], capture_output=True, text=True, env=os.environ
        )
        if done.returncode:
            free = f"{self._free() / GB:.1f} GB of disk are free"
            raise RuntimeError(f"{BUILD.name} ended with {done.returncode} ({free}):\n{(done.stdout + done.stderr)[-4000:]}")
        self._built.write_text(digest_of_dependencies())
        sizes = {name: self.size(name) for name in ("operator", "trainer")}
        base = self.size("localhost/python-base:1")
        above = ", ".join(f"{name} {size - base} MB above" for name, size in sizes.items())
        removed = self.remove_leftovers()
        return f"{above} a base of {base} MB" + (f"; {removed}" if removed else "")

    def size(self, name: str) -> int:
        """Of an image, in MB (10⁶ bytes)."""
        listed = self._buildah("images", "--format", "{{.Size}}", NAMES.get(name, name))
        number, unit = listed.split()
        return round(float(number) * {"KB": 1e-3, "MB": 1, "GB": 1e3}[unit])

    def load(self) -> str:
        """Import into containerd what it does not have, and remove there what lost its name to it."""
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
        removed = remove_untagged_images(self.layout)
        said = f"imported {', '.join(imported)}" if imported else "they were there"
        return said + (f"; removed {removed} untagged images" if removed else "")
