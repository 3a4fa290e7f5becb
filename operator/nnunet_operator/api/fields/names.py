"""Names of objects, of nnU-Net's datasets, plans and configurations, and of components."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..base import Rule

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""The name of an object of our kinds."""

KubernetesName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of a Secret, a ConfigMap, a ServiceAccount …"""

QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of a queue of Kueue's. It becomes a label's value, which is shorter than a name may be."""

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
"""The value of a label."""

Configuration = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""A configuration of a plans file, such as `3d_fullres`. It becomes a label's value."""

PlansName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""A plans file's name without `.json`, such as `nnUNetPlans`. It becomes a part of a folder's name."""

DatasetName = Annotated[str, Field(max_length=100, pattern=r"^Dataset[0-9]{3,6}_[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""nnU-Net's folder name, such as `Dataset004_Hippocampus`."""

Component = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of a planner, an extractor, a trainer."""


def no_separator(field: str, *, optional: bool = False) -> Rule:
    """A name can be a part of nnU-Net's results folder, `Trainer__Plans__Configuration`."""
    rule = f"!self.{field}.contains('__')"
    return Rule(f"!has(self.{field}) || {rule}" if optional else rule, NO_SEPARATOR, field)


NO_SEPARATOR = "must not contain '__', which separates the parts of nnU-Net's folder names"
