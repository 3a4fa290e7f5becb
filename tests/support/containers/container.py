"""A container as the kubelet runs ours, without images: a read-only root, a user that has no name, and the volumes of a pod.

What programs need of this machine (its system folders, this interpreter, our code) is mounted read-only at its own place below a
new root, so that it can be read whatever the rights of the folders above it are. Linux alone; as root by `setpriv`, as anybody else
in a user namespace. Where neither can be had, tests fail and say why: nothing here is skipped.
"""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..controlplane import ROOT
from .images import environment as image_environment

NOBODY = 65532
"""The user of both images; no system has a name for it."""
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin")
CONFIGURATION = ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache", "ssl", "alternatives", "localtime", "fonts")
"""What of /etc is there; volumes are mounted beside it."""
DEVICES = ("null", "zero", "full", "random", "urandom")


class NoContainer(Exception):
    """Why there is none on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A folder or file of this machine, and where the container sees it."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """Where commands run.

    Args:
        root: an empty folder; nothing is written into it.
        environment: all variables that there are.
        mounts: beside the system's.
        uid: of a user without a name.
    """

    root: Path
    environment: Mapping[str, str]
    mounts: Sequence[Mount] = ()
    uid: int = NOBODY

    def command(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs `argv` in here. Its process becomes the command's own, so signals reach it.

        Raises:
            NoContainer: the user has a name, or mounts cannot be made here.
        """
        refuse_a_name(self.uid)
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        inside = ["env", "-i", *variables, *argv]
        if os.geteuid() == 0:
            own = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--no-new-privs"]
            own += ["--inh-caps=-all", "--bounding-set=-all"]
            outer = ["unshare", "--mount"]
        else:
            own = ["unshare", "--user", f"--map-user={self.uid}", f"--map-group={self.uid}"]
            outer = ["unshare", "--user", "--map-root-user", "--mount"]
        return [*outer, "--propagation", "private", "sh", "-euc", self._script(), "container", *own, *inside]

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str] | None = None, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises:
            NoContainer: this machine lets none be made.
        """
        require(self.root)
        return subprocess.run(
            self.command(argv, environment), capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
        )

    def _script(self) -> str:
        """Lays the root, makes it the only one, and becomes the command."""
        new = str(self.root)
        lines = [f"mount -t tmpfs -o mode=755 tmpfs {_q(new)}", f"cd {_q(new)}", "mkdir -p proc dev sys"]
        lines += ["mount --rbind /proc proc", "mount --rbind /sys sys"]
        for device in DEVICES:
            lines += [f"touch dev/{device}", f"mount --bind /dev/{device} dev/{device}"]
        lines += ["ln -s /proc/self/fd dev/fd", "ln -s fd/1 dev/stdout", "ln -s fd/2 dev/stderr"]
        readable = [Mount(source=Path(path), target=path, read_only=True) for path in _readable()]
        # A folder comes before what is mounted inside it.
        for mount in sorted([*readable, *self.mounts], key=lambda mount: mount.target.rstrip("/").count("/")):
            at = _q("." + mount.target)
            make = f"mkdir -p {at}" if mount.source.is_dir() else f"mkdir -p $(dirname {at}); touch {at}"
            lines += [f"[ -e {at} ] || {{ {make}; }}", f"mount --bind {_q(str(mount.source))} {at}"]
            if mount.read_only:
                lines.append(f"mount -o remount,bind,ro {at}")
        lines += [f"mount -o remount,bind,ro {_q(new)}", "pivot_root . .", "umount -l .", "cd /", 'exec "$@"']
        return "\n".join(lines)


def _q(text: str) -> str:
    return shlex.quote(text)


def refuse_a_name(uid: int) -> None:
    """Raise when a user has a name here: then nothing would be tested.

    Raises:
        NoContainer: it has one.
    """
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return
    raise NoContainer(f"user {uid} has a name on this machine ({name}): choose another one")


def require(root: Path) -> None:
    """Raise when this machine lets no container be made.

    Raises:
        NoContainer: with what was refused.
    """
    root.mkdir(parents=True, exist_ok=True)
    probe = Container(root=root, environment={"PATH": "/usr/bin:/bin"})
    try:
        done = subprocess.run(probe.command(["id", "-u"]), capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        raise NoContainer(f"{error}; util-linux is needed (unshare, setpriv, mount)") from error
    if done.stdout.strip() != str(NOBODY):
        raise NoContainer(
            "mount namespaces are needed (root, or user namespaces for everybody: sysctl kernel.unprivileged_userns_clone, "
            f"apparmor_restrict_unprivileged_userns): {done.stderr.strip()}"
        )


def _readable() -> list[str]:
    """System folders, this interpreter and all that it imports from; none that lies inside another one."""
    wanted = [*SYSTEM, *(f"/etc/{name}" for name in CONFIGURATION), sys.prefix, sys.base_prefix, str(ROOT)]
    wanted += [path for path in sys.path if os.path.isabs(path)]
    found = sorted({os.path.abspath(path) for path in wanted if os.path.exists(path)})
    return [path for path in found if not any(path.startswith(f"{other}/") for other in found)]


def programs() -> str:
    """The folder with the commands that the images have in /opt/nnunet/bin."""
    return str(Path(sys.prefix) / "bin")


def of_pod(template: Mapping[str, Any], dockerfile: Path, folder: Path, given: Mapping[str, Path], **fields: str) -> Container:
    """The container of a pod template, as the kubelet would make it.

    Args:
        template: a pod template of one container.
        dockerfile: of its image: it sets variables too.
        folder: where the pod's own disks lie.
        given: by volume name, what a ConfigMap, Secret or claim holds.
        fields: values of the downward API, such as `status_podIP`.
    """
    spec = template["spec"]
    (container,) = spec["containers"]
    variables = {name: value.replace("/opt/nnunet/bin", programs()) for name, value in image_environment(dockerfile).items()}
    for entry in container["env"]:
        path = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        if path.startswith("metadata.labels["):  # those of the Job controller are not in a template
            variables[entry["name"]] = template["metadata"]["labels"].get(path.split("'")[1], "")
        else:
            variables[entry["name"]] = fields[path.replace(".", "_")] if path else entry["value"]
    log = folder / "termination-log"
    log.touch(mode=0o666)
    log.chmod(0o666)
    mounts = [*_volumes(spec, container, folder / "volumes", given)]
    mounts.append(Mount(source=log, target=container.get("terminationMessagePath", "/dev/termination-log")))
    if not any(mount.target == "/dev/shm" for mount in mounts):
        mounts.append(Mount(source=_disk(folder / "volumes" / ".shm"), target="/dev/shm"))
    user = spec.get("securityContext", {}).get("runAsUser", NOBODY)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    return Container(root=folder / "root", environment=variables, mounts=mounts, uid=user)


def _volumes(spec: Mapping[str, Any], container: Mapping[str, Any], folder: Path, given: Mapping[str, Path]) -> Iterator[Mount]:
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
    for mount in container.get("volumeMounts") or []:
        name = mount["name"]
        source = _disk(folder / name) if "emptyDir" in volumes[name] else given[name]
        yield Mount(source=source, target=mount["mountPath"], read_only=mount.get("readOnly", False))


def _disk(folder: Path) -> Path:
    """An emptyDir: everybody may write into it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder
