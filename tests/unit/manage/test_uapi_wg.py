"""The real `wg` program against our server and a device that only remembers."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError, HostError
from meshnode.manage.paths import uapi_socket
from meshnode.types import Endpoint, Prefix

# `wg` looks for the socket at one place only, which belongs to root.
pytestmark = pytest.mark.root

# The fixtures' classes live in conftest.py, which cannot be imported.
FakeDevice = Any
Served = Any
ServeAt = Callable[[Path, FakeDevice], AbstractAsyncContextManager[Served]]

PRIVATE = PrivateKey(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
_numbers = count()


def peer_key(number: int) -> PublicKey:
    """One of many public keys."""
    return PublicKey(number.to_bytes(32, "big"))


class Wg:
    """Runs `wg` on the served interface."""

    def __init__(self, interface: str, device: FakeDevice, directory: Path) -> None:
        self.interface = interface
        self.device = device
        self._directory = directory

    async def run(self, verb: str, *arguments: str) -> str:
        """Return the output of a `wg` that must succeed."""
        done = await self.call(verb, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return str(done.stdout.decode())

    async def call(
        self, verb: str, *arguments: str
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run `wg`, whatever comes of it."""
        with trio.fail_after(60):
            return await trio.run_process(
                ["wg", verb, self.interface, *arguments],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**os.environ, "WG_HIDE_KEYS": "never", "LC_ALL": "C"},
            )

    def file(self, text: str) -> str:
        """Return the path of a file with this text."""
        path = self._directory / f"file{next(_numbers)}"
        path.write_text(text)
        return str(path)


@pytest.fixture
async def wg(
    tmp_path: Path, device: FakeDevice, serve_at: ServeAt
) -> AsyncIterator[Wg]:
    """The program `wg`, with a device served under an interface name of its own."""
    interface = f"mn{os.getpid()}x{next(_numbers)}"
    path = uapi_socket(interface)
    await trio.Path(path.parent).mkdir(parents=True, exist_ok=True)
    try:
        async with serve_at(path, device):
            yield Wg(interface, device, tmp_path)
    finally:
        path.unlink(missing_ok=True)  # a local file


async def test_dump_shows_every_value(wg: Wg) -> None:
    """Each value of the status arrives in `wg show dump`."""
    psk = PresharedKey(b"\x42" * 32)
    await wg.run(
        *("set", "private-key", wg.file(PRIVATE.to_base64())),
        *("listen-port", "51820", "fwmark", "0xcafe"),
        *("peer", str(peer_key(1)), "preshared-key", wg.file(psk.to_base64())),
        *("endpoint", "[2001:db8::1]:7", "persistent-keepalive", "25"),
        *("allowed-ips", "10.1.2.3/8,fd00::1/64"),
    )
    peer = wg.device.status.peers[0]
    peer.last_handshake, peer.sent_bytes, peer.received_bytes = (1_700_000_000, 0), 1, 2
    assert (await wg.run("show", "dump")).splitlines() == [
        "\t".join([PRIVATE.to_base64(), str(PUBLIC), "51820", "0xcafe"]),
        "\t".join(
            [
                *(str(peer_key(1)), psk.to_base64(), "[2001:db8::1]:7"),
                *("10.0.0.0/8,fd00::/64", "1700000000", "2", "1", "25"),
            ]
        ),
    ]


async def test_set_reaches_the_device_whole(wg: Wg) -> None:
    """One `wg set` is one change with the values given."""
    await wg.run("set", "peer", str(peer_key(1)), "endpoint", "192.0.2.1:9")
    await wg.run("set", "peer", str(peer_key(1)), "persistent-keepalive", "off")
    await wg.run("set", "peer", str(peer_key(1)), "remove")
    first, second, third = wg.device.changes
    assert first.peers[0].endpoint == Endpoint("192.0.2.1", 9)
    assert second.peers[0].persistent_keepalive == 0
    assert third.peers[0].remove
    assert wg.device.status.peers == []


async def test_empty_files_clear_keys(wg: Wg) -> None:
    """An empty file is sent as zeros and clears the private and the preshared key."""
    wg.device.status.private_key = PRIVATE
    empty = wg.file("")
    await wg.run("set", "private-key", empty)
    await wg.run("set", "peer", str(peer_key(1)), "preshared-key", empty)
    assert wg.device.status.private_key is None
    assert wg.device.changes[1].peers[0].preshared_key == PresharedKey.none()
    assert (await wg.run("show", "private-key")).strip() == "(none)"


async def test_a_link_local_endpoint_keeps_its_zone(wg: Wg) -> None:
    """`wg` writes the zone as a name, and reads our number back."""
    await wg.run("set", "peer", str(peer_key(1)), "endpoint", "[fe80::1%lo]:5")
    assert wg.device.status.peers[0].endpoint == Endpoint("fe80::1", 5, 1)
    assert "[fe80::1%lo]:5" in await wg.run("show", "endpoints")


async def test_showconf_and_setconf_are_inverse(wg: Wg) -> None:
    """What showconf prints, setconf makes again."""
    config = f"""[Interface]
ListenPort = 51820
FwMark = 0x1
PrivateKey = {PRIVATE.to_base64()}

[Peer]
PublicKey = {peer_key(1)}
PresharedKey = {PRIVATE.to_base64()}
AllowedIPs = 10.0.0.0/8, fd00::/64
Endpoint = [2001:db8::1]:7
PersistentKeepalive = 25

[Peer]
PublicKey = {peer_key(2)}
AllowedIPs = 192.168.0.0/16
"""
    await wg.run("setconf", wg.file(config))
    shown = await wg.run("showconf")
    assert wg.device.changes[0].replace_peers
    assert all(peer.replace_allowed_ips for peer in wg.device.changes[0].peers)
    await wg.run("setconf", wg.file("[Interface]\n"))
    assert wg.device.status.peers == []
    await wg.run("setconf", wg.file(shown))
    assert await wg.run("showconf") == shown
    assert sorted(shown.split()) == sorted(config.split())


async def test_syncconf_leaves_unchanged_peers_alone(wg: Wg) -> None:
    """A vanished peer is removed by name; the others are not replaced."""
    peers = [f"[Peer]\nPublicKey = {peer_key(n)}\n" for n in range(1, 4)]
    await wg.run("setconf", wg.file("".join(peers)))
    await wg.run("syncconf", wg.file("".join(peers[:2])))
    change = wg.device.changes[-1]
    assert not change.replace_peers
    assert [peer.public_key for peer in change.peers if peer.remove] == [peer_key(3)]
    assert [p.public_key for p in wg.device.status.peers] == [peer_key(1), peer_key(2)]


async def test_addconf_adds_only(wg: Wg) -> None:
    """What the file does not state stays."""
    wg.device.status.private_key = PRIVATE
    await wg.run("addconf", wg.file(f"[Peer]\nPublicKey = {peer_key(9)}\n"))
    assert wg.device.status.private_key == PRIVATE
    assert [peer.public_key for peer in wg.device.status.peers] == [peer_key(9)]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (22, "Invalid argument"),
        (98, "Address already in use"),
        (5, "Input/output error"),
        (71, "Protocol error"),
    ],
)
@pytest.mark.parametrize("kind", [ConfigError, HostError])
async def test_wg_tells_our_errors(
    wg: Wg, kind: type[ConfigError] | type[HostError], number: int, text: str
) -> None:
    """The sign is right in both directions: `wg` prints the error's name."""
    wg.device.get_error = wg.device.set_error = kind("no", errno=number)
    shown = await wg.call("show")
    assert shown.returncode == 1
    assert shown.stderr.decode() == f"Unable to access interface: {text}\n"
    done = await wg.call("set", "listen-port", "1")
    assert done.returncode == 1
    assert done.stderr.decode() == f"Unable to modify interface: {text}\n"


def config_of(allowed_ips_of_peers: list[list[str]]) -> str:
    """A configuration of peers with these allowed IPs."""
    lines = []
    for number, allowed_ips in enumerate(allowed_ips_of_peers, 1):
        lines += ["[Peer]", f"PublicKey = {peer_key(number)}"]
        lines += [f"AllowedIPs = {prefix}" for prefix in allowed_ips]
    return "\n".join([*lines, ""])


LARGE = {
    "one peer with 130560": [
        [
            prefix
            for a in range(1, 256)
            for b in range(256)
            for prefix in (f"{a}.{b}.0.0/16", f"{a:x}::1:{b:x}/128")
        ]
    ],
    "40 peers with 52": [
        [f"{a}.{b}.0.0/16" for b in range(1, 53)] for a in range(1, 41)
    ],
    "29 peers and one": [[f"{b}.0.0.0/8"] for b in range(1, 30)]
    + [["30.0.0.0/8", "31.0.0.0/8"]],
    "one peer with 197 of IPv6": [[f"abcd::{n:x}/128" for n in range(1, 198)]],
}


@pytest.mark.parametrize("name", LARGE)
async def test_large_configurations_arrive_both_ways(wg: Wg, name: str) -> None:
    """As in the kernel's test of message splits: the counts must match."""
    expected = LARGE[name]
    await wg.run("setconf", wg.file(config_of(expected)))
    assert [
        [str(prefix) for prefix in peer.allowed_ips] for peer in wg.device.status.peers
    ] == expected
    shown = await wg.run("show", "allowed-ips")
    assert [line.split("\t")[1].split() for line in shown.splitlines()] == expected


async def test_a_status_of_many_peers_is_shown(wg: Wg) -> None:
    """A thousand peers are read back in full."""
    keys = [peer_key(n) for n in range(1, 1001)]
    await wg.run(
        "setconf", wg.file("".join(f"[Peer]\nPublicKey = {k}\n" for k in keys))
    )
    for number, peer in enumerate(wg.device.status.peers):
        peer.allowed_ips = [Prefix(4, number << 8, 24)]
        peer.last_handshake = (1_700_000_000 + number, number)
    shown = (await wg.run("show", "latest-handshakes")).split()
    assert shown[::2] == [str(key) for key in keys]
    assert shown[1::2] == [str(1_700_000_000 + n) for n in range(1000)]
