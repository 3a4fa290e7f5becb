"""Volumes as folders, and paths of the container as they lie here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.local.machine.kubelet.host import Host, NotYet
from nnunet_operator.local.machine.kubelet.mounts import lay, rewritten

Manifest = dict[str, Any]

FILES = {("ConfigMap", "order"): {"order.json": b"{}"}, ("Secret", "s3"): {"KEY": b"k"}}
MOUNTS = ["/etc/nnunet/order", "/var/run/secrets/nnunet.dev/s3", "/scratch", "/tmp"]


def pod(*volumes: tuple[Manifest, str]) -> Manifest:
    named = [{"name": f"v{i}", **source} for i, (source, _) in enumerate(volumes)]
    mounts = [{"name": f"v{i}", "mountPath": path} for i, (_, path) in enumerate(volumes)]
    return {"metadata": {"namespace": "n"}, "spec": {"volumes": named, "containers": [{"volumeMounts": mounts}]}}


def host(claims: Path | None = None) -> Host:
    return Host(contents=lambda kind, _, name: FILES.get((kind, name)), claims=claims)


def test_volumes_lie_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "claims" / "fast").mkdir(parents=True)
    whole = pod(
        ({"configMap": {"name": "order"}}, "/etc/nnunet/order"),
        ({"secret": {"secretName": "s3"}}, "/run/s3"),
        ({"persistentVolumeClaim": {"claimName": "fast"}}, "/mnt/pvc/fast"),
        ({"emptyDir": {"sizeLimit": "1Gi"}}, "/scratch"),
        ({"ephemeral": {"volumeClaimTemplate": {}}}, "/other"),
    )
    paths = lay(whole, tmp_path / "pod", host(tmp_path / "claims"))
    assert paths == ["/etc/nnunet/order", "/run/s3", "/mnt/pvc/fast", "/scratch", "/other"]
    root = tmp_path / "pod" / "root"
    assert (root / "etc/nnunet/order/order.json").read_bytes() == b"{}"
    assert (root / "run/s3/KEY").stat().st_mode & 0o077 == 0, "nobody else reads a Secret"
    assert (root / "mnt/pvc/fast").resolve() == (tmp_path / "claims" / "fast").resolve()
    (root / "scratch/x").write_text("mine")
    lay(whole, tmp_path / "pod", host(tmp_path / "claims"))
    assert (root / "scratch/x").read_text() == "mine", "a second start finds what the first has laid"
    assert not list((root / "other").iterdir())


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"persistentVolumeClaim": {"claimName": "none"}}, "there is no folder for the claim none"),
    ],
)
@pytest.mark.parametrize("with_claims", [True, False])
def test_what_is_missing_is_waited_for_and_said(tmp_path: Path, volume: Manifest, message: str, with_claims: bool) -> None:
    with pytest.raises(NotYet, match=message):
        lay(pod((volume, "/x")), tmp_path, host(tmp_path if with_claims else None))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/scratch", "/R/scratch"),
        ("/scratch/a b", "/R/scratch/a b"),
        ("/scratchy/a", "/scratchy/a"),
        ("--folder=/scratch/x", "--folder=/R/scratch/x"),
        ("/var/run/secrets/nnunet.dev", "/R/var/run/secrets/nnunet.dev"),
        ("/etc/nnunet/order/order.json", "/R/etc/nnunet/order/order.json"),
        ("/etc", "/etc"),
        ("/", "/"),
        ("run", "run"),
        ("", ""),
    ],
)
def test_paths_of_the_container_as_they_lie_here(text: str, wanted: str) -> None:
    assert rewritten(text, MOUNTS, Path("/R")) == wanted
