"""Labels and annotations of Jobs and pods that are the operator's and the Job controller's: nobody else sets them."""

from __future__ import annotations

from ..base import Rule

OPERATORS_KEYS = ("app.kubernetes.io/managed-by", "job-name", "controller-uid")
OPERATORS_PREFIXES = ("nnunet.dev/", "batch.kubernetes.io/")

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Of a Job: Kueue's queue, which `spec.queueName` makes."""


def is_operators_key(key: str) -> bool:
    """Whether a label or an annotation of a Job or a pod is not a person's to set."""
    return key in OPERATORS_KEYS or key.startswith(OPERATORS_PREFIXES)


def own_keys(field: str, *also: str) -> Rule:
    """No label (annotation) of a template is the operator's own, nor one of some more keys."""
    listed = (*OPERATORS_KEYS, *also)
    keys = ", ".join(f"'{key}'" for key in listed)
    prefixes = "|".join(prefix.replace(".", "[.]") for prefix in OPERATORS_PREFIXES)
    held = f"!(k in [{keys}]) && !k.matches('^({prefixes})')"
    said = ", ".join((*(f"{prefix}*" for prefix in OPERATORS_PREFIXES), *listed))
    return Rule(f"!has(self.{field}) || self.{field}.all(k, {held})", f"these keys are not a template's to set: {said}", field)
