"""Any value that a structural schema of a CRD allows, as a Hypothesis strategy."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

KEYS = st.sampled_from(
    [
        "team", "example.org/note", "kubernetes.io/hostname", "nnunet.dev/step", "nvidia.com/gpu", "cpu", "memory",
        "container.apparmor.security.beta.kubernetes.io/trainer", "container.seccomp.security.alpha.kubernetes.io/trainer",
        "seccomp.security.alpha.kubernetes.io/pod", "seccomp.security.alpha.kubernetes.io/defaultProfileName",
        "io.kubernetes.cri-o.userns-mode", "kubectl.kubernetes.io/default-container",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["", "unconfined", "localhost/mine", "runtime/default", "Always", "docker/default", "0"]),
    st.text(string.ascii_letters + string.digits + "-./: ", max_size=12),
)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of this schema; its CEL rules are not looked at.

    Raises:
        NotImplementedError: a type of schema that this does not know.
    """
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        both = {name: value for name, value in schema.items() if name != "x-kubernetes-int-or-string"}
        return st.one_of(values({**both, "type": "integer"}), values({**both, "type": "string"}))
    if "anyOf" in schema:
        return st.one_of(*(values({**{k: v for k, v in schema.items() if k != "anyOf"}, **branch}) for branch in schema["anyOf"]))
    if schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("properties"):
        return st.sampled_from([{}, {"nodeAffinity": {}}, {"podAntiAffinity": {}}])
    kind = schema.get("type")
    if kind == "object":
        return _object(schema)
    if kind == "array":
        most = min(schema.get("maxItems", 3), 3)
        return st.lists(values(schema["items"]), min_size=min(schema.get("minItems", 0), most), max_size=most)
    if kind == "string":
        return st.from_regex(schema["pattern"], fullmatch=True).filter(_fits(schema)) if "pattern" in schema else _text(schema)
    if kind == "integer":
        return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1))
    if kind == "number":
        return st.floats(schema.get("minimum", -1e6), schema.get("maximum", 1e6))
    if kind == "boolean":
        return st.booleans()
    raise NotImplementedError(f"a schema of {schema}")


def _object(schema: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        return st.dictionaries(KEYS, values(schema["additionalProperties"]), max_size=3)
    properties = schema.get("properties", {})
    needed = {name: values(properties[name]) for name in schema.get("required", ())}
    return st.fixed_dictionaries(needed, optional={n: values(s) for n, s in properties.items() if n not in needed})


def _text(schema: Schema) -> st.SearchStrategy[str]:
    return TEXTS.filter(_fits(schema))


def _fits(schema: Schema) -> Any:
    return lambda text: schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 10**6)
