"""What of port mapping and LAN discovery runs, by the configuration."""

import random
from pathlib import Path

import pytest
import trio

from meshnode.manage.config_values import NetworkConfig
from meshnode.node import lan_finder, port_mapper
from meshnode.node.surroundings import Surroundings
from tests.unit.node.shell_parts import Shell


@pytest.mark.parametrize("port_mapping", [True, False])
@pytest.mark.parametrize("lan_discovery", [True, False])
async def test_only_what_is_wanted_is_asked(
    rng: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    port_mapping: bool,
    lan_discovery: bool,
) -> None:
    """Routers and links are not even looked at otherwise."""
    looked: list[str] = []
    monkeypatch.setattr(
        port_mapper, "default_gateways", lambda *_, **__: looked.append("routers") or []
    )
    monkeypatch.setattr(port_mapper, "open_router_news", lambda port: [])
    monkeypatch.setattr(
        lan_finder, "lan_links", lambda **_: looked.append("links") or []
    )
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()
    surroundings = Surroundings(
        shell.shell,
        NetworkConfig("mesh", port_mapping=port_mapping, lan_discovery=lan_discovery),
        interface="mesh",
        port=51820,
        fwmark=0,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(surroundings.run)
        await trio.testing.wait_all_tasks_blocked()
        surroundings.follow()
        nursery.cancel_scope.cancel()
    shell.close()
    wanted = ["routers"] * 2 * port_mapping + ["links"] * 2 * lan_discovery
    assert sorted(looked) == sorted(wanted)
    assert surroundings.mappings() == []
