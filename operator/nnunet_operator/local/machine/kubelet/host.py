"""What a pod is given by the machine that it runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Contents = Callable[[Literal["ConfigMap", "Secret"], str, str], "Mapping[str, bytes] | None"]
"""(kind, namespace, name) → the keys and values of a ConfigMap or Secret, or None when there is none."""


class NotYet(Exception):
    """The pod cannot start: something that it mounts or reads is not there. The message is for people."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine: where ConfigMaps, Secrets and claims come from, what every process inherits, where programs lie."""

    contents: Contents
    environment: Mapping[str, str] = field(default_factory=dict)
    claims: Path | None = None  # one folder a PersistentVolumeClaim
    programs: Mapping[str, str] = field(default_factory=dict)  # commands that lie elsewhere than beside this interpreter

    def read(self, kind: Literal["ConfigMap", "Secret"], namespace: str, name: str) -> Mapping[str, bytes]:
        """The keys and values of a ConfigMap or Secret.

        Raises:
            NotYet: there is none.
        """
        found = self.contents(kind, namespace, name)
        if found is None:
            where = f" (--secrets DIR holds one folder a Secret: DIR/{name}/KEY)" if kind == "Secret" else ""
            raise NotYet(f'{kind.lower()} "{name}" not found{where}')
        return found
