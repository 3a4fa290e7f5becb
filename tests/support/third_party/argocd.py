"""Argo CD's Lua (util/lua): health checks and actions of its ConfigMap, run in a real Lua with what Argo CD lets a script use."""

from __future__ import annotations

from functools import cache
from typing import Any

import lupa
import yaml

from ..apiclient import Manifest
from ..controlplane import ROOT

FILE = ROOT / "examples" / "gitops" / "argocd" / "health-and-actions.yaml"
GROUP = "nnunet.dev"
ALLOWED = ("assert", "error", "ipairs", "next", "pairs", "select", "tonumber", "tostring", "type", "string", "table", "math")
"""Of Lua's globals; of `os` only the clock (SafeOsLoader)."""


def run(script: str, manifest: Manifest) -> Any:
    """What a script returns for an object, as plain data; an empty table is an empty dict."""
    lua = lupa.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    code = lua.eval(
        """
        function(script, obj, allowed)
          local env = { os = { date = os.date, time = os.time }, obj = obj }
          for _, name in ipairs(allowed) do env[name] = _G[name] end
          return assert(load(script, "script", "t", env))()
        end
        """
    )
    return _plain(code(script, _table(lua, manifest), lua.table(*ALLOWED)))


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _table(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, item) for item in value])
    return value


def _plain(value: Any) -> Any:
    if lupa.lua_type(value) != "table":
        return value
    items = {key: _plain(item) for key, item in value.items()}
    return list(items.values()) if items and list(items) == list(range(1, len(items) + 1)) else items


@cache
def _customizations(name: str) -> Any:
    return yaml.safe_load(yaml.safe_load(FILE.read_text())["data"][name])


def health(manifest: Manifest) -> dict[str, str]:
    """The health that Argo CD shows: status and message."""
    result: dict[str, str] = run(_customizations("resource.customizations")[f"{GROUP}/*"]["health.lua"], manifest)
    return result


def actions(manifest: Manifest) -> set[str]:
    """The actions that Argo CD offers for an object."""
    found = run(_actions(manifest["kind"])["discovery.lua"], manifest)
    return {name for name, given in found.items() if not given.get("disabled")}


def act(name: str, manifest: Manifest) -> Manifest:
    """The object that an action makes of one."""
    (script,) = (one["action.lua"] for one in _actions(manifest["kind"])["definitions"] if one["name"] == name)
    result: Manifest = run(script, manifest)
    return result


def defined(kind: str) -> set[str]:
    """The names of all actions of a kind."""
    return {one["name"] for one in _actions(kind)["definitions"]}


def _actions(kind: str) -> Any:
    return _customizations(f"resource.customizations.actions.{GROUP}_{kind}")
