"""The shell of LAN discovery: two members on one link of real namespaces."""

import os

import pytest
import trio

from meshnode.host.namespaces import run_inside
from meshnode.mesh.lan_discovery import LanDiscovery
from meshnode.node import lan_finder
from meshnode.node.lan_finder import LanFinder
from meshnode.types import Endpoint, Source
from topology.hosts import Host, Lab
from topology.leaks import NAMESPACES


class Member:
    """A finder in a host of a laboratory; `found` is what it told."""

    def __init__(
        self, host: Host, number: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.host = host
        self.key = bytes([number]) * 32
        self.found: dict[bytes, tuple[Endpoint, ...]] = {}
        self.has_found = trio.Event()
        self.finder = LanFinder(
            LanDiscovery(
                network_id=bytes(16),
                key=self.key,
                port=51820,
                is_member=lambda key: True,
                entropy=os.urandom,
            ),
            interface="mesh0",
            fwmark=0,
            on_found=self._note,
        )

    def _note(self, key: bytes, places: tuple[Endpoint, ...]) -> None:
        self.found[key] = places
        if len(places) == 2:  # of both versions
            self.has_found.set()


@pytest.mark.root
async def test_two_members_find_each_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By IPv4 and by IPv6 alone; whoever loses its links is quiet."""
    a, b = lab.host("a"), lab.host("b")
    ports = lab.connect(a, b)
    members = [Member(a, 1, monkeypatch), Member(b, 2, monkeypatch)]
    group_sockets, links_of = lan_finder.GroupSockets, lan_finder.lan_links
    now_in = a

    def inside(function, *args, **options):  # type: ignore[no-untyped-def]
        with open(NAMESPACES / now_in.namespace, "rb") as namespace:
            return run_inside(namespace.fileno(), lambda: function(*args, **options))

    monkeypatch.setattr(
        lan_finder, "GroupSockets", lambda *a, **o: inside(group_sockets, *a, **o)
    )
    monkeypatch.setattr(lan_finder, "lan_links", lambda **o: inside(links_of, **o))
    async with trio.open_nursery() as nursery:
        for member in members:
            now_in = member.host
            nursery.start_soon(member.finder.run)
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            for member in members:
                await member.has_found.wait()
        for member, other, port in zip(
            members, members[::-1], ports[::-1], strict=True
        ):
            places = member.found[other.key]
            four, six = sorted(places, key=lambda place: place.version)
            assert four == Endpoint(port.v4, 51820)
            assert six.host.startswith("fe80::")
            assert six.scope_id != 0
        now_in = a
        a.ip("link set dev eth0 down")
        members[0].finder.follow()
        nursery.cancel_scope.cancel()


async def test_host_without_multicast_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found then, and nothing fails."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no such protocol")

    monkeypatch.setattr(lan_finder, "GroupSockets", refuse)
    found: list[bytes] = []
    discovery = LanDiscovery(
        network_id=bytes(16),
        key=bytes(32),
        port=1,
        is_member=lambda key: True,
        entropy=os.urandom,
    )
    finder = LanFinder(
        discovery,
        interface="mesh0",
        fwmark=0,
        on_found=lambda key, places: found.append(key),
    )
    with trio.move_on_after(0.1):
        await finder.run()
    finder.follow()
    discovery.set_links((Source("192.0.2.1", 1),), now=0.0)
    assert found == []
