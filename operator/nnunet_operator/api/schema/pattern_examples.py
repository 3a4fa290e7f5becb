"""Values as a pattern of the CRDs wants them: a person who is told a regular expression alone looks for an example next."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$": ("team-a",),
    r"^(0\.[0-9]*[1-9][0-9]*|[1-9][0-9]{0,4}(\.[0-9]+)?)$": ("5", "0.5"),
    r"^(all|0|[1-9][0-9]?)$": ("0", "4", "all"),
    r"^Dataset[0-9]{3,6}_[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": ("Dataset004_Hippocampus",),
    r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$": ("8Gi", "8G", "500Mi", "4", "500m"),
    r"^[0-9a-f]{64}$": ("the 64 characters that sha256sum prints",),
    r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": ("3d_fullres", "nnUNetPlans"),
    r"^[A-Za-z_][A-Za-z0-9_]*$": ("nnUNetTrainer_250epochs", "MY_VARIABLE"),
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": ("my-secret", "s3.team-a"),
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9:@!$&'()*+,;=._~%/-]+$": ("kueue.x-k8s.io/multikueue",),
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": ("nvidia.com/gpu",),
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": ("scratch",),
    r"^[a-z]([-a-z0-9]*[a-z0-9])?$": ("hippocampus", "fold-0"),
    r"^https?://[^\s]+$": ("https://minio.example.org:9000",),
}


def as_written(pattern: str) -> str:
    """How it is written, in parentheses behind a space; empty for a pattern of no spec."""
    *others, last = EXAMPLES.get(pattern, ("",))
    text = f"{', '.join(others)} or {last}" if others else last
    return f" (as {text})" if text else ""
