"""The shell of port mappings, against a router on loopback."""

import socket
from typing import Any

import pytest
import trio

from meshnode.crypto.keys import PrivateKey
from meshnode.errors import HostError
from meshnode.host.clock import boottime
from meshnode.node import port_mapper
from meshnode.node.port_mapper import PortMapper
from meshnode.types import Endpoint, Path, Source
from tests.routers import FakeRouter

OUTSIDE = Endpoint("203.0.113.1", 51820)
CLIENT = Source("127.0.0.1", 1)


class Router:
    """Serves a `FakeRouter` on a port of loopback; `path` leads there."""

    def __init__(self) -> None:
        self.fake = FakeRouter(began_at=boottime())
        self.socket = trio.socket.from_stdlib_socket(
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        )
        self.is_deaf = False
        self.was_asked = trio.Event()

    async def bind(self) -> Path:
        """Take a port."""
        await self.socket.bind(("127.0.0.1", 0))
        return Path(Endpoint("127.0.0.1", self.socket.getsockname()[1]), CLIENT)

    async def serve(self) -> None:
        """Answer."""
        with self.socket:
            while True:
                data, source = await self.socket.recvfrom(1200)
                if self.is_deaf:
                    continue
                for answer in self.fake.receive(data, boottime()):
                    await self.socket.sendto(answer, source)
                self.was_asked.set()
                self.was_asked = trio.Event()

    async def await_mappings(self, *ports: int) -> None:
        """Wait until exactly these ports are forwarded."""
        with trio.fail_after(10):
            while self.fake.mappings.keys() != set(ports):
                await self.was_asked.wait()


class Site:
    """A mapper, the routers it sees, and what it told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[Path] = []
        self.told: list[tuple[Endpoint, ...]] = []
        self.has_changed = trio.Event()
        self.error: Exception | None = None
        monkeypatch.setattr(port_mapper, "default_gateways", self._gateways)
        monkeypatch.setattr(port_mapper, "open_router_news", lambda port: [])
        self.mapper = self.make()

    def make(self) -> PortMapper:
        """Return another mapper with the same key, as after a restart."""
        return PortMapper(
            port=51820,
            private_key=PrivateKey(bytes([7]) * 32),
            interface="mesh0",
            fwmark=0,
            entropy=bytes,
            on_change=self._note,
        )

    def _gateways(self, port: int, **_: Any) -> list[Path]:
        assert port == 5351
        if self.error is not None:
            raise self.error
        return list(self.paths)

    def _note(self, externals: tuple[Endpoint, ...]) -> None:
        self.told.append(externals)
        self.has_changed.set()
        self.has_changed = trio.Event()

    async def await_told(self, *externals: Endpoint) -> None:
        """Wait until these are what was told last."""
        with trio.fail_after(10):
            while not self.told or self.told[-1] != externals:
                await self.has_changed.wait()


async def test_port_is_mapped_and_given_back(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The router has nothing of ours once the task has ended."""
    site, router = Site(monkeypatch), Router()
    site.paths = [await router.bind()]
    nursery.start_soon(router.serve)
    async with trio.open_nursery() as running:
        running.start_soon(site.mapper.run)
        await site.await_told(OUTSIDE)
        (row,) = site.mapper.describe()
        assert row == {
            "router": str(site.paths[0].remote),
            "protocol": "pcp",
            "client": "127.0.0.1",
            "external": str(OUTSIDE),
            "problem": "",
        }
        assert router.fake.mappings.keys() == {51820}
        running.cancel_scope.cancel()
    assert router.fake.mappings == {}


async def test_next_control_process_may_renew(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """A router lets only the nonce renew that made the mapping: it is the same."""
    site, router = Site(monkeypatch), Router()
    site.paths = [await router.bind()]
    nursery.start_soon(router.serve)
    async with trio.open_nursery() as running:
        running.start_soon(site.mapper.run)
        await site.await_told(OUTSIDE)
        router.is_deaf = True  # it dies without a word
        running.cancel_scope.cancel()
    assert router.fake.mappings.keys() == {51820}
    router.is_deaf = False
    site.told.clear()
    site.mapper = site.make()
    async with trio.open_nursery() as running:
        running.start_soon(site.mapper.run)
        await site.await_told(OUTSIDE)
        running.cancel_scope.cancel()
    assert router.fake.mappings == {}


async def test_routers_come_and_go(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """One that is ours no more hears a goodbye, and is told of no longer."""
    site, router = Site(monkeypatch), Router()
    path = await router.bind()
    nursery.start_soon(router.serve)
    site.mapper.follow()  # not running yet: nothing happens
    async with trio.open_nursery() as running:
        running.start_soon(site.mapper.run)
        await trio.testing.wait_all_tasks_blocked()
        assert site.told == []
        site.error = HostError("netlink is out of order")
        site.mapper.follow()
        site.error, site.paths = None, [path]
        site.mapper.follow()
        await site.await_told(OUTSIDE)
        site.mapper.follow()
        assert site.told == [(OUTSIDE,)]
        gone = Path(path.remote, Source("192.0.2.77", 1))
        site.paths = [gone]  # an address that the host has lost meanwhile
        site.mapper.follow()
        await site.await_told()
        await router.await_mappings()
        running.cancel_scope.cancel()


async def test_news_reach_every_mapping(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """A router that began anew is asked again."""
    site, router = Site(monkeypatch), Router()
    site.paths = [await router.bind()]
    nursery.start_soon(router.serve)
    news = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    news.setblocking(False)
    news.bind(("127.0.0.1", 0))
    address = news.getsockname()
    monkeypatch.setattr(port_mapper, "open_router_news", lambda port: [news])
    async with trio.open_nursery() as running:
        running.start_soon(site.mapper.run)
        await site.await_told(OUTSIDE)
        router.fake.mappings.clear()
        # Its clock stands at one hour, so 0 means that it began anew.
        router.fake.began_at -= 3600
        await router.socket.sendto(
            bytes([2, 0x80])
            + bytes(2)
            + bytes(4)
            + (3600).to_bytes(4, "big")
            + bytes(12),
            address,
        )
        await router.await_mappings(51820)
        running.cancel_scope.cancel()
