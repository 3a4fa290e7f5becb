"""The software bill of materials of an image, from what is installed in it: CycloneDX 1.6 as JSON.

Usage: sbom.py NAME OUT   Run by the interpreter of the environment that is described. Python's distributions come from their
metadata, the base's packages from dpkg's own list where there is one.
"""

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG = Path("/var/lib/dpkg/status")


def python_component(found: metadata.Distribution) -> dict[str, Any]:
    """One distribution; a licence only as its author wrote it, since free texts are no SPDX expressions."""
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    purl = f"pkg:pypi/{name}@{quote(found.version, safe='')}"
    component: dict[str, Any] = {"type": "library", "name": name, "version": found.version, "purl": purl, "bom-ref": purl}
    expression, free = found.metadata.get("License-Expression"), found.metadata.get("License")
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif free and len(free) < 80:
        component["licenses"] = [{"license": {"name": free}}]
    return component


def debian_components(status: str) -> list[dict[str, Any]]:
    """The installed packages of dpkg's status file."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            version = quote(fields["Version"], safe=":~")
            purl = f"pkg:deb/debian/{fields['Package']}@{version}?arch={fields['Architecture']}"
            component = {"type": "library", "name": fields["Package"], "version": fields["Version"], "purl": purl, "bom-ref": purl}
            found.append(component)
    return found


def bill(name: str) -> dict[str, Any]:
    """The whole document. Its subject is the distribution `name`, which is no component of itself."""
    components = {component["bom-ref"]: component for component in map(python_component, metadata.distributions())}
    subject = next(component for component in components.values() if component["name"] == name)
    del components[subject["bom-ref"]]
    debian = debian_components(DPKG.read_text()) if DPKG.exists() else []
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**subject, "type": "application"}},
        "components": sorted([*components.values(), *debian], key=lambda component: str(component["bom-ref"])),
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(bill(sys.argv[1]), indent=1) + "\n")
