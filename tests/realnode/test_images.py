"""The test node's images: what builds leave behind goes, what the next one needs stays, and a disk that is too full is told."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from realnode.images import BUILD, BUILD_OF_CODE, GB, WHOLE_BUILD, Store, digest_of_dependencies
from realnode.node.containers import untagged
from realnode.node.layout import Layout


@dataclass
class Buildah:
    """Answers as buildah does: an image that is another's parent, or that a container uses, is not removed by `rmi --prune`."""

    images: dict[str, str | None] = field(default_factory=dict)
    """Each with its parent."""
    tags: dict[str, str] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    image_bytes: int = 0
    room: int = 0

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.calls.append([*arguments])
        match arguments[6:]:
            case ("containers", "--all", "--quiet"):
                out = [*self.containers]
            case ("rm", "--all"):
                out = [*self.containers]
                self.containers.clear()
            case ("rmi", "--prune"):
                out = self._prune()
            case other:
                raise AssertionError(other)
        return subprocess.CompletedProcess([], 0, "\n".join(out), "")

    def _prune(self) -> list[str]:
        removed: list[str] = []
        while True:
            kept = {*self.tags.values(), *self.containers.values(), *self.images.values()}
            dangling = [image for image in self.images if image not in kept]
            if not dangling:
                return removed
            for image in dangling:
                del self.images[image]
                self.room += self.image_bytes
            removed += dangling


def store(folder: Path, buildah: Buildah) -> Store:
    return Store(Layout(folder / "e2e", folder / "programs"), run=buildah.run, free=lambda _: buildah.room)


CHAIN = {"base": None, "pip": "base", "stage": "pip", "copy": "base", "code": "copy"}
NEWER = {"pip2": "base", "stage2": "pip2", "copy2": "base", "code2": "copy2"}
TAGS = {"base:1": "base", "dependencies:e2e": "stage", "trainer:e2e": "code"}


@pytest.mark.parametrize(
    ("images", "tags", "containers", "kept", "said"),
    [
        (CHAIN, TAGS, {}, set(CHAIN), ""),
        (CHAIN, {}, {}, set(), "removed 5 untagged images: 5.0 GB"),
        (CHAIN | NEWER, TAGS, {}, set(CHAIN), "removed 4 untagged images: 4.0 GB"),
        (CHAIN, TAGS, {"half": "pip"}, set(CHAIN), "removed 1 container of interrupted builds: 0.0 GB"),
        (
            CHAIN | NEWER,
            TAGS | {"dependencies:e2e": "stage2", "trainer:e2e": "code2"},
            {"half": "code", "other": "pip"},
            {"base", *NEWER},
            "removed 4 untagged images and 2 containers of interrupted builds: 4.0 GB",
        ),
    ],
    ids=["all named", "none named", "names moved on", "only interrupted", "old ones held by interrupted builds"],
)
def test_what_has_no_name_goes_and_what_the_named_are_built_on_stays(
    tmp_path: Path, images: dict[str, str | None], tags: dict[str, str], containers: dict[str, str], kept: set[str], said: str
) -> None:
    buildah = Buildah(dict(images), dict(tags), dict(containers), image_bytes=GB)
    temporary = tmp_path / "e2e-images" / "tmp" / "half-written"
    temporary.mkdir(parents=True)
    assert store(tmp_path, buildah).remove_leftovers() == said
    assert set(buildah.images) == kept
    assert not buildah.containers
    assert not temporary.exists()


def test_no_store_but_its_own_is_looked_at(tmp_path: Path) -> None:
    buildah = Buildah(dict(CHAIN), {}, {"half": "pip"})
    assert store(tmp_path, buildah).lacking_space()
    own = tmp_path / "e2e-images"
    for call in buildah.calls:
        assert call[:4] == ["--root", str(own / "storage"), "--runroot", str(own / "run")]


SAME = digest_of_dependencies()


@pytest.mark.parametrize(
    ("built", "imported", "room", "leftovers", "needed"),
    [
        (None, False, WHOLE_BUILD, 0, None),
        (None, False, WHOLE_BUILD - 1, 0, WHOLE_BUILD),
        (None, False, WHOLE_BUILD - 3 * GB, 3, None),
        (SAME, False, WHOLE_BUILD - 1, 0, WHOLE_BUILD),
        ("of another constraints.txt", True, WHOLE_BUILD - 1, 0, WHOLE_BUILD),
        (SAME, True, BUILD_OF_CODE, 0, None),
        (SAME, True, BUILD_OF_CODE - 1, 0, BUILD_OF_CODE),
        (SAME, True, 0, 4, BUILD_OF_CODE),
        (SAME, True, 0, 5, None),
    ],
    ids=[
        "room",
        "no room",
        "room after",
        "nothing imported",
        "others built",
        "of code",
        "no room of code",
        "too little after",
        "enough after",
    ],
)
def test_a_disk_that_is_too_full_is_told_before_a_build(
    tmp_path: Path, built: str | None, imported: bool, room: int, leftovers: int, needed: int | None
) -> None:
    old: dict[str, str | None] = {f"old{number}": None for number in range(leftovers)}
    buildah = Buildah({"stage": None, **old}, {"dependencies:e2e": "stage"}, image_bytes=GB, room=room)
    (tmp_path / "e2e" / "images").mkdir(parents=True)
    (tmp_path / "e2e-images").mkdir()
    if built is not None:
        (tmp_path / "e2e-images" / "dependencies.sha256").write_text(built)
    if imported:
        (tmp_path / "e2e" / "images" / "trainer.id").write_text("1")
    lacking = store(tmp_path, buildah).lacking_space()
    if needed is None:
        assert lacking is None
        return
    assert lacking is not None
    assert lacking.startswith(f"{needed // GB} GB of free disk in {tmp_path}")
    assert f"{buildah.room / GB:.1f} GB are free" in lacking
    assert ("removed 4 untagged images: 4.0 GB" in lacking) == bool(leftovers)
    assert "NNUNET_E2E_DIR" in lacking
    assert str(tmp_path / "e2e-images") in lacking


HEADER = "REF                    TYPE                                                 DIGEST    SIZE      PLATFORMS   LABELS\n"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([("localhost/a:1", "sha256:m1"), ("sha256:c1", "sha256:m1")], []),
        ([("localhost/a:1", "sha256:m2"), ("sha256:c1", "sha256:m1"), ("sha256:c2", "sha256:m2")], ["sha256:c1"]),
        ([("localhost/a:1", "sha256:m1"), ("localhost/b:1", "sha256:m1"), ("sha256:c1", "sha256:m1")], []),
        ([("sha256:c1", "sha256:m1"), ("sha256:c2", "sha256:m2")], ["sha256:c1", "sha256:c2"]),
    ],
    ids=["none", "named", "the name moved on", "two names", "none named"],
)
def test_containerds_images_that_lost_their_name(rows: list[tuple[str, str]], expected: list[str]) -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    listing = HEADER + "".join(
        f"{name} {kind} {digest} 2.3 GiB linux/amd64 io.cri-containerd.image=managed\n" for name, digest in rows
    )
    assert untagged(listing) == expected


BUILDAH = """#!/bin/sh
echo "$TMPDIR $*" >> {folder}/calls
case "$*" in
  *FromImageID*) cat {folder}/base ;;
  *revision*) for word; do :; done; cat "{folder}/$(basename "$word")" 2> /dev/null ;;
  *" build "*)
    for word; do
      case "$word" in REVISION=*) revision=${{word#REVISION=}} ;; localhost/nnunet-*) image=$(basename "$word") ;; esac
    done
    echo "$revision" > "{folder}/$image" ;;
esac
"""
"""Remembers, as an image's label does, what it was made from."""


def test_a_build_names_the_stage_that_takes_minutes_and_is_left_out_where_all_is_as_it_was(tmp_path: Path) -> None:
    programs = {"buildah": BUILDAH.format(folder=tmp_path), "python": '#!/bin/sh\nmkdir "$2"\n'}
    for name, lines in programs.items():
        (tmp_path / name).write_text(lines)
        (tmp_path / name).chmod(0o755)
    own = tmp_path / "images"
    (own / "made" / "wheels-old").mkdir(parents=True)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def built(base: str) -> list[list[str]]:
        (tmp_path / "base").write_text(base)
        (tmp_path / "calls").unlink(missing_ok=True)
        subprocess.run([BUILD, own, tmp_path / "python", "operator", "trainer"], check=True, env=environment, timeout=120)
        said = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
        assert all(words[:5] == [f"{own}/tmp", "--root", f"{own}/storage", "--runroot", f"{own}/run"] for words in said)
        assert not [*(own / "tmp").iterdir()]
        return [words for words in said if "build" in words]

    first = built("a base")
    names = [words[words.index("-t") + 1] for words in first]
    assert names == [f"localhost/nnunet-{name}{stage}:e2e" for name in ("operator", "trainer") for stage in ("-dependencies", "")]
    assert ["--target" in words for words in first] == [True, False, True, False]
    assert len([*(own / "made").glob("wheels-*")]) == 1
    assert not built("a base")
    assert len(built("another base")) == len(first)
