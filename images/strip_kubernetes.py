"""Takes out of the installed `kubernetes` package what the operator never imports: 120 of its 125 MB.

Usage: strip_kubernetes.py   Run by the interpreter of the environment that is stripped.

The operator talks to the API server in plain JSON. It needs the asynchronous client's connection and its reading of kubeconfigs and
service accounts, but none of the generated classes, one for each kind and API group, which the packages' `__init__` import all.
"""

import importlib.util
import shutil
from pathlib import Path

KEPT = {
    "": ["aio"],
    "aio": ["client", "config", "utils"],
    "aio/client": ["api_client", "api_response", "configuration", "exceptions", "models", "rest"],
    "aio/client/models": [],
    "aio/utils": ["_retry_base", "retry"],
}
"""What stays of each package; `aio/config` stays whole."""
INIT = {
    "": "",
    "aio": "",
    "aio/client": "from .api_client import ApiClient as ApiClient\nfrom .configuration import Configuration as Configuration\n",
    "aio/client/models": "",
    "aio/utils": "",
}


def strip(package: Path) -> None:
    """Reduce the package in this folder.

    Raises:
        FileNotFoundError: the package has another shape than the one that this was written for.
    """
    version = next(line for line in (package / "__init__.py").read_text().splitlines() if line.startswith("__version__"))
    for folder, names in KEPT.items():
        place = package / folder
        for name in names:
            if not (place / name).is_dir() and not (place / f"{name}.py").is_file():
                raise FileNotFoundError(f"{place / name}: this version of kubernetes is laid out differently")
        for entry in list(place.iterdir()):
            if entry.is_dir() and entry.name not in names:
                shutil.rmtree(entry)
            elif entry.suffix == ".py" and entry.stem not in names:
                entry.unlink()
        (place / "__init__.py").write_text((f"{version}\n" if folder == "" else "") + INIT[folder])
    for test in package.rglob("*_test.py"):
        test.unlink()


if __name__ == "__main__":
    found = importlib.util.find_spec("kubernetes")
    assert found is not None
    assert found.origin is not None
    strip(Path(found.origin).parent)
