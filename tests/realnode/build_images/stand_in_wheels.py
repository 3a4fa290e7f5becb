"""Wheels in the place of CUDA and triton (4 GB), so that the trainer's image can be built and run where there is no GPU.

Usage: stand_in_wheels.py OUT   Run by an interpreter that has torch and its CUDA libraries. Needs gcc and binutils.

torch is linked against CUDA and loads it at import. Each library is replaced by one with the same name, the same versions and those
symbols that torch asks for; a function of it returns 100, CUDA's code for "no device". The wheels have the names and versions that
torch requires, so pip is content.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import torch

NO_CUDA = re.compile(r"(nvidia|cuda)-(?!toolkit)|triton$")
"""cuda-toolkit is but a list of the others, and is asked for with extras."""
SOURCE = """
static long none(void) { return 100; }
static const char *text(void) { return "a library that stands in for CUDA"; }
"""
TEXTS = re.compile(r"Get(Error|Status)(String|Name|Enum)|GetLastErrorString|_status_error")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def needed(library: Path) -> set[str]:
    """The libraries that one asks for."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-dW", str(library))))


def symbols(library: Path, *, defined: bool) -> list[tuple[str, str, str]]:
    """Name, version and type of the dynamic symbols that a library defines, or asks for."""
    found = []
    for line in output("readelf", "--dyn-syms", "-W", str(library)).splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit() or (fields[6] != "UND") != defined or fields[4] == "LOCAL":
            continue
        name, _, version = fields[7].partition("@")
        found.append((name, version.lstrip("@"), fields[3]))
    return found


def stand_in(real: Path, asked: set[str], out: Path) -> None:
    """Link a library that has the real one's name and, of its symbols, those that are asked for."""
    wanted = [symbol for symbol in symbols(real, defined=True) if symbol[0] in asked]
    code, versions = [SOURCE], {}
    for name, version, kind in wanted:
        versions.setdefault(version, []).append(name)
        if kind == "OBJECT":
            code.append(f"char {name}[4096];")
        elif TEXTS.search(name):
            code.append(f'const char *{name}(void) __attribute__((alias("text")));')
        else:
            code.append(f'long {name}(void) __attribute__((alias("none")));')
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder) / "library.c", Path(folder) / "versions"
        source.write_text("\n".join(code) + "\n")
        nodes = [f"{version} {{ global: {'; '.join(names)}; }};" for version, names in versions.items() if version]
        script.write_text("\n".join(nodes) + "\n")
        versioned = [f"-Wl,--version-script={script}"] if nodes else []
        flags = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-w", f"-Wl,-soname,{real.name}", *versioned]
        output("gcc", *flags, "-o", str(out), str(source))


def libraries(out: Path) -> list[Path]:
    """A stand-in for each library of `nvidia/` that torch or one of its libraries is linked against."""
    site = Path(torch.__file__).parent.parent
    own = sorted((site / "torch" / "lib").glob("*.so*")) + sorted((site / "torch").glob("_C*.so"))
    asked = {name for library in own for name, _, _ in symbols(library, defined=False)}
    names = set().union(*map(needed, own))
    made = []
    for real in sorted((site / "nvidia").glob("*/lib/*.so*")):
        if real.name in names:
            stand_in(real, asked, out / real.name)
            made.append(out / real.name)
    return made


def wheel(out: Path, name: str, version: str, files: dict[str, Path]) -> None:
    """Write a wheel with these files (PEP 427)."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: stands in for the real one\n"
    texts = {
        f"{stem}.dist-info/METADATA": about,
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents = {
        **{path: text.encode() for path, text in texts.items()},
        **{path: file.read_bytes() for path, file in files.items()},
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
    with zipfile.ZipFile(out / f"{stem}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**contents, f"{stem}.dist-info/RECORD": f"{record}{stem}.dist-info/RECORD,,\n".encode()}.items():
            # A fixed date: the same wheel twice is the same file, and the image's layer is found in the cache.
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version for d in metadata.distributions()}
    with tempfile.TemporaryDirectory() as folder:
        # All in one folder of torch's RPATH.
        made = {f"nvidia/cu13/lib/{path.name}": path for path in libraries(Path(folder))}
        for name, version in sorted(found.items()):
            if NO_CUDA.match(name):
                wheel(out, name, version, made if name == "nvidia-cuda-runtime" else {})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
