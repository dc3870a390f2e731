"""What the configuration says becomes what the mesh does, whole or not at all."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from meshnode.codec.lifeline import workers_of
from meshnode.codec.tap import tap_bytes
from meshnode.crypto.keys import PublicKey
from meshnode.dataplane import ciphers
from meshnode.dataplane.traffic import ControlView, TrafficTable
from meshnode.errors import ConfigError
from meshnode.host.clock import BootTimer, boottime
from meshnode.host.udp import open_udp_pair
from meshnode.host.underlay import Underlay
from meshnode.manage.config_values import (
    AnnouncedRoute,
    HostPort,
    WireguardPeer,
)
from meshnode.manage.contacts import Contact, save_contacts
from meshnode.manage.network_config import load_config, save_config
from meshnode.mesh.routes import ACCEPT_ALL, ACCEPT_NONE
from meshnode.node import mesh_control, mesh_shell
from meshnode.node.driver import Driver
from meshnode.node.fleet import Fleet
from meshnode.node.marks import TimestampMarks
from meshnode.node.mesh_control import MeshControl, accepted_prefixes
from meshnode.node.shared import counters_bytes
from meshnode.node.tasks import NO_DESCRIPTOR, ControlTask
from meshnode.node.vault import Vault
from meshnode.offloads import Offloads
from meshnode.types import Cipher, Endpoint, Prefix
from meshnode.wireguard.engine import Engine
from tests.founded_node import directories_in, found_home
from tests.unit.node.shell_parts import FakePlanner
from tests.unit.node.test_driver import FakeLink, FakeOutlet

LAN = Prefix.parse("192.168.7.0/24")
FAR = Prefix.parse("10.60.0.0/16")
KEY = PublicKey(bytes([9]) * 32)


class Process:
    """The mesh of one control process of the founder, over fakes."""

    def __init__(self, path: Path) -> None:
        self.directories = directories_in(path)
        found_home(self.directories)
        self.path = path
        self.file = self.directories.config_file("home")
        self.state_dir = self.directories.state_dir("home")
        self.memory = bytearray(2**20)
        self.control: MeshControl | None = None

    def change(self, **changes: Any) -> None:
        """Change the configuration's file."""
        save_config(self.file, replace(load_config(self.file), **changes))

    def begin(self) -> MeshControl:
        """Let a control process begin."""
        pair = open_udp_pair(0)
        self.port = pair.port
        journal = os.open(self.path / "journal", os.O_RDWR | os.O_CREAT, 0o600)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        self._open = [journal]
        self._sockets: list[Any] = [udp, pair]
        numbers = dict.fromkeys(
            (
                *("lifeline_fd", "handshakes_fd", "traffic_fd", "counters_fd"),
                *("sessions_fd", "vault_fd", "uapi_fd", "api_fd", "tls_fd"),
                "tap_fd",
            ),
            NO_DESCRIPTOR,
        )
        task = ControlTask(
            interface="home",
            log_level="info",
            parent=os.getppid(),
            network="home",
            config_dir=self.directories.config,
            state_dir=self.directories.state,
            run_dir=self.directories.run,
            uapi_dir=self.directories.uapi,
            journal_path=self.path / "journal",
            journal_fd=journal,
            udp4_fds=(udp.fileno(),),
            udp6_fds=(),
            beside_fds=(),
            egress_fds=(),
            ingress_fds=(),
            tls_problem="",
            proxy_fd=NO_DESCRIPTOR,
            carrier_fd=NO_DESCRIPTOR,
            **numbers,
        )
        engine = Engine(
            entropy=os.urandom,
            traffic=ControlView(TrafficTable(bytearray(64 * 192))),
            wall_time=time.time(),
            now=boottime(),
        )
        counters = memoryview(bytearray(counters_bytes(1)))
        self.control = control = MeshControl(
            task, engine, counters=counters, tap=memoryview(bytearray(tap_bytes(1)))
        )
        outlet: Any = FakeOutlet([])
        outlet.pair.close()
        outlet.pair = pair
        links: Any = {worker: FakeLink(worker.name, []) for worker in workers_of(1)}
        timer = BootTimer()
        self._sockets.append(timer)
        self.driver = Driver(
            engine,
            vault=Vault(self.memory),
            marks=TimestampMarks(self.path),
            outlet=outlet,
            workers=Fleet(links),
            timer=timer,
            introductions=control.shell.receive_introduction,
            on_event=control.shell.handle_event,
            before_sending=control.shell.carry_out,
        )
        self.driver.restore()
        control.start(self.driver)
        return control

    def end(self) -> None:
        """End it."""
        if self.control is None:
            return
        self.control.close()
        self.control = None
        for one in self._sockets:
            one.close()
        for number in self._open:
            os.close(number)

    def peers(self) -> dict[PublicKey, Any]:
        """Return the peers of the engine."""
        return {peer.public_key: peer for peer in self.driver.status().peers}


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """A founder that did not begin yet."""
    monkeypatch.setattr(mesh_control, "HostPlanner", FakePlanner)
    monkeypatch.setattr(mesh_shell, "local_addresses", lambda without: [])
    monkeypatch.setattr(mesh_shell, "PLAN_TIMEOUT", 0.0)
    process = Process(tmp_path)
    yield process
    process.end()


def by_hand(**changes: Any) -> WireguardPeer:
    """Return a peer configured by hand."""
    peer = WireguardPeer("office", KEY, HostPort("192.0.2.9", 9), (FAR,))
    return replace(peer, **changes)


def test_configuration_becomes_settings(process: Process) -> None:
    """Of the mesh and of the host."""
    process.change(
        announced=(AnnouncedRoute(LAN, 5, 2, masquerade=False),),
        wireguard=(by_hand(),),
        advertise=(HostPort("203.0.113.5", 4000),),
        fwmark=77,
        table=99,
        relay=False,
    )
    node = process.begin().shell.node
    settings = node.roads.settings
    assert [(r.prefix, r.metric, r.weight) for r in settings.routes] == [(LAN, 5, 2)]
    assert [one.prefix for one in settings.announced] == [LAN]
    assert settings.imported == (FAR,)
    assert settings.advertised == (Endpoint("203.0.113.5", 4000),)
    assert (settings.fwmark, settings.table) == (77, 99)
    assert not node.relays.settings.relay
    assert process.driver.status().fwmark == 77
    peer = process.peers()[KEY]
    assert peer.endpoint == Endpoint("192.0.2.9", 9)
    assert peer.allowed_ips == [FAR]


@pytest.mark.parametrize(
    ("engine", "cipher", "preferred"),
    [
        ("reference", "auto", (Cipher.AES_256_GCM,)),
        ("fast", "auto", (Cipher.AES_256_GCM,)),
        ("reference", "chacha20-poly1305", ()),
    ],
)
def test_ciphers_are_those_the_engine_gains_by(
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    cipher: str,
    preferred: tuple[Cipher, ...],
) -> None:
    """Unless the administrator wants WireGuard's alone."""
    monkeypatch.setattr(ciphers, "can_use", lambda cipher: True)
    process.change(engine=engine, cipher=cipher)
    assert process.begin().shell.node.ciphers.preferred == preferred


@pytest.mark.parametrize(
    ("max_mtu", "widest", "largest"),
    [
        (0, 9000, 8920),
        (0, 1500, 1420),
        (0, 1400, 1420),
        (0, 65_536, 65_455),
        (4000, 9000, 4000),
        (4000, 1500, 4000),
        (1420, 9000, 1420),
    ],
)
def test_the_largest_mtu_is_what_links_carry(
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
    max_mtu: int,
    widest: int,
    largest: int,
) -> None:
    """Unless the administrator knows better; never less than everybody is sent."""
    links = [Underlay("eth0", widest, is_up=True, is_ethernet=True)]
    monkeypatch.setattr(mesh_control, "links_of_host", lambda: links)
    process.change(max_mtu=max_mtu)
    assert process.begin().shell.node.roads.settings.max_mtu == largest


def test_links_that_cannot_be_listed_are_no_reason_to_end(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is sent more than everybody, then."""

    def fail() -> list[Underlay]:
        raise OSError(1, "no")

    monkeypatch.setattr(mesh_control, "links_of_host", fail)
    assert process.begin().shell.node.roads.settings.max_mtu == 1420


def test_accepted_prefixes() -> None:
    """All, none, or inside of some."""
    assert accepted_prefixes(True) == ACCEPT_ALL
    assert accepted_prefixes(False) == ACCEPT_NONE
    assert accepted_prefixes((LAN,)) == (LAN,)


async def test_reload_follows_the_file(process: Process) -> None:
    """And tells what takes effect at a restart only, however often it is asked."""
    control = process.begin()
    before = control.shell.node.roads.settings
    process.change(announced=(AnnouncedRoute(LAN),), mtu=1300, fwmark=5, table=7)
    process.change(offload=Offloads(tun_tcp="off"))
    for _ in range(2):
        assert sorted(await control._reload()) == ["fwmark", "mtu", "offload", "table"]
    settings = control.shell.node.roads.settings
    assert [route.prefix for route in settings.routes] == [LAN]
    # The sockets have the old mark: rules with another would make packets go round.
    assert (settings.fwmark, settings.table, settings.mtu) == (
        before.fwmark,
        before.table,
        before.mtu,
    )


@pytest.mark.parametrize("spoil", ["file", "key", "contacts"])
async def test_reload_that_fails_changes_nothing(
    process: Process, spoil: str, tmp_path: Path
) -> None:
    """Half a configuration is none."""
    control = process.begin()
    process.change(announced=(AnnouncedRoute(LAN),))
    if spoil == "file":
        process.file.write_text("rubbish")
    elif spoil == "key":
        process.change(wireguard=(by_hand(preshared_key_file=tmp_path / "none"),))
    else:
        save_contacts(process.state_dir, ())
        (process.state_dir / "contacts.json").write_text("rubbish")
    with pytest.raises(ConfigError):
        await control._reload()
    assert control.shell.node.roads.settings.routes == ()
    assert process.peers() == {}


def test_peer_without_its_key_is_left_out_and_said(
    process: Process, tmp_path: Path
) -> None:
    """A node that did not begin for that could never be told otherwise."""
    other = PublicKey(bytes([8]) * 32)
    lost = by_hand(preshared_key_file=tmp_path / "none")
    process.change(wireguard=(lost, by_hand(name="home", public_key=other)))
    node = process.begin().shell.node
    assert set(process.peers()) == {other}
    assert "no preshared key" in node.health["WireGuard peers"]


def test_member_is_not_a_peer_by_hand(process: Process) -> None:
    """Somebody certified its key: that must not keep our node from beginning."""
    control = process.begin()
    own = PublicKey(control.shell.node.key)
    process.end()
    process.change(wireguard=(by_hand(public_key=own),))
    node = process.begin().shell.node
    assert "is a member of the mesh" in node.health["WireGuard peers"]


def test_peers_by_hand_outlive_the_process(process: Process) -> None:
    """They are the same peers for the next one, with the same slot and session."""
    process.change(wireguard=(by_hand(),))
    control = process.begin()
    slots = {p.slot for p in control.shell._engine.state().peers}
    process.end()
    control = process.begin()
    assert {p.slot for p in control.shell._engine.state().peers} == slots
    assert set(process.peers()) == {KEY}


async def test_names_are_resolved_for_contacts(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers at once; a name that cannot be resolved is no reason to end."""
    contact = Contact(KEY, (HostPort("192.0.2.7", 7), HostPort("gate.test", 8)))
    save_contacts(process.state_dir, (contact,))
    control = process.begin()
    dialler = control.shell.node.reach.dialler
    first = dialler.candidates_of(KEY.raw, now=boottime())
    assert first == (Endpoint("192.0.2.7", 7),)
    assert KEY in process.peers()

    async def resolve(host: str, port: int, type: int) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [(0, 0, 0, "", ("192.0.2.8", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    await control._reload()
    found = dialler.candidates_of(KEY.raw, now=boottime())
    assert set(found) == {Endpoint("192.0.2.7", 7), Endpoint("192.0.2.8", 8)}


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("no name")])
async def test_name_that_cannot_be_resolved_is_nowhere(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Until it is asked for again."""

    async def resolve(*args: object, **more: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    assert await mesh_control._look_up(HostPort("gate.test", 8)) == ()


async def test_metrics_that_cannot_be_served_are_said(process: Process) -> None:
    """The node itself goes on."""
    control = process.begin()
    api: Any = None
    with trio.fail_after(10):
        await control._serve_metrics(HostPort("192.0.2.1", 1), api)
    assert "metrics cannot be served" in control.shell.node.health["metrics"]
