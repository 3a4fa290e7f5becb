"""What pip installs into an image: `requirements.txt` of one extra, and `constraints.txt` that prefers wheels at hand.

Usage: requirements.py EXTRA WHEELS   In a folder with pyproject.toml and constraints.txt. A distribution that lies in the folder
WHEELS is taken in that version, whatever constraints.txt says: so comes another torch into an image.
"""

import re
import sys
import tomllib
from pathlib import Path


def normalized(name: str) -> str:
    """PEP 503's spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(extra: str, wheels: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][extra]]
    Path("requirements.txt").write_text("\n".join(wanted) + "\n")
    # NAME-VERSION-….whl, as PEP 427 has it.
    preferred = {normalized(path.name.partition("-")[0]): path for path in sorted(Path(wheels).glob("*.whl"))}
    pins = [line for line in Path("constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    kept = [line for line in pins if normalized(line.partition("==")[0]) not in preferred]
    # By file: of two wheels of the same version pip would take the one whose name says more about the platform.
    chosen = [f"{name} @ {path.resolve().as_uri()}" for name, path in sorted(preferred.items())]
    Path("constraints.txt").write_text("\n".join(kept + chosen) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
