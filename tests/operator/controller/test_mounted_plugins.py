"""What the ConfigMaps of an object's plug-ins hold: what stands where they are mounted, or nothing that anybody knows."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.controller.events import EventRecorder
from nnunet_operator.controller.mounted_plugins import FRESH, MountedPlugins
from nnunet_operator.controller.object_client import Rejected
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.reconcile.view import Key, Manifest
from nnunet_trainer.contract import plugins as plugins_contract
from nnunet_trainer.extensions import digest_of

from .conftest import ABOUT, NotedClient
from .test_one_pass import NOW, reconciliation

MODULES = {"losses.py": "x = 1\n", "umlaut.py": "name = 'Größe'\n", "empty.py": ""}


def about(*names: Any) -> Manifest:
    return {**ABOUT, "spec": {**ABOUT["spec"], "plugins": [{"configMapName": name} for name in names]}}


def config_map(name: str, **content: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, **content}


class Reading(NotedClient):
    """Counts what is asked for, and may be refused it."""

    forbidden = False
    asked: list[str]

    async def get(self, key: Key) -> Manifest | None:
        self.asked.append(key.name)
        if self.forbidden:
            raise Rejected("Forbidden", "configmaps is forbidden")
        return await super().get(key)


@pytest.fixture
def client(tmp_path: Path) -> Reading:
    found = Reading(Store(tmp_path / "store"))
    found.asked = []
    return found


async def test_the_digest_is_that_of_the_mounted_folder(client: Reading, tmp_path: Path) -> None:
    binary = {"umlaut.py": base64.b64encode(MODULES["umlaut.py"].encode()).decode()}
    text = {name: content for name, content in MODULES.items() if name != "umlaut.py"}
    client.store.create(config_map("mine", data={**text, "readme.md": "no module"}, binaryData=binary))
    client.store.create(config_map("nothing"))
    for name, content in {**MODULES, "readme.md": "another", ".hidden.py": "hidden"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "..data").mkdir()
    found = await MountedPlugins(client).of(about("mine", "gone", "nothing"))
    assert found == {"mine": digest_of(tmp_path), "gone": None, "nothing": digest_of(tmp_path / "..data")}


async def test_one_that_is_there_is_read_once_in_a_while_and_one_that_is_not_each_time(client: Reading) -> None:
    now = [0.0]
    client.store.create(config_map("mine", data=MODULES))
    plugins = MountedPlugins(client, lambda: now[0])
    for _ in range(3):
        await plugins.of(about("mine", "gone"))
    assert client.asked == ["mine", "gone", "gone", "gone"]
    await plugins.of(about("mine"), within=0)
    now[0] += FRESH
    await plugins.of(about("mine"))
    assert client.asked[4:] == ["mine", "mine"]


async def test_a_job_is_made_by_what_is_there_that_moment(client: Reading, recorder: EventRecorder) -> None:
    """However fresh is what was read for another object."""
    key = Key("Dataset", "default", "brain")
    client.store.edit(*key, lambda new: new["spec"].update(plugins=[{"configMapName": "mine"}]))
    client.store.create(config_map("mine", data=MODULES))
    passes = reconciliation(client, recorder)
    digest = (await passes._plugins.of(about("mine")))["mine"]
    client.store.edit("ConfigMap", "default", "mine", lambda new: new.update(data={"losses.py": "x = 2\n"}))
    await passes.pass_over(key, NOW, {})
    [order] = [each for each in client.store.all("ConfigMap") if each["metadata"]["name"] != "mine"]
    now = json.loads(order["data"]["order.json"])["pluginDigests"]["mine"]
    assert now == plugins_contract.digest([("losses.py", b"x = 2\n")]) != digest


async def test_who_may_not_read_them_says_so_once_and_knows_nothing(client: Reading, caplog: pytest.LogCaptureFixture) -> None:
    client.forbidden = True
    plugins = MountedPlugins(client)
    with caplog.at_level(logging.WARNING):
        assert [await plugins.of(about("mine", "yours")) for _ in range(2)] == [{}, {}]
    assert [record.message for record in caplog.records] == [
        "plug-ins are not looked at before their Jobs: configmaps is forbidden"
    ]


@pytest.mark.parametrize("given", [None, [], [None], ["mine"], [{}], [{"configMapName": 3}], [{"configMapName": ""}]])
async def test_what_names_no_config_map_has_none(client: Reading, given: Any) -> None:
    assert await MountedPlugins(client).of({**ABOUT, "spec": {"plugins": given}}) == {}
    assert client.asked == []
