"""The engine is told what changed, all at once, and nothing twice."""

import random

import pytest

from meshnode.codec.message_bytes import encode_message
from meshnode.codec.messages import Ping, SizeProbe
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.dataplane.traffic import RECORD_BYTES, ControlView, TrafficTable
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    DropStaged,
    HeldSession,
    RemovePeer,
    SendControl,
    SendProbe,
    SessionsHeld,
    SetCipher,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.ports import Share, SharedPrefix, TunnelPeer
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint, Prefix
from meshnode.wireguard.config import DeviceChange, PeerChange
from meshnode.wireguard.engine import Engine
from meshnode.wireguard.events import ConfigurationChanged

LAN, LINE = Prefix.parse("192.168.7.0/24"), Prefix.parse("10.9.0.2/32")
PLACE = Endpoint("192.0.2.1", 51820)


class Device:
    """An engine with a key, and tunnels over it."""

    def __init__(self, rng: random.Random) -> None:
        table = TrafficTable(bytearray(16 * RECORD_BYTES))
        self.engine = Engine(
            entropy=rng.randbytes, traffic=ControlView(table), wall_time=1.8e9, now=1.0
        )
        self.private = PrivateKey(rng.randbytes(32))
        self.engine.configure(DeviceChange(private_key=self.private), now=1.0)
        self.engine.set_link(mtu=1420, up=True, now=1.0)
        self.tunnels = EngineTunnels(self.engine)
        self.keys = [PrivateKey(rng.randbytes(32)).public_key().raw for _ in range(3)]
        self.take()

    def take(self) -> list[Command]:
        """Return the commands for the data plane, and forget events."""
        self.changes = 0
        while (event := self.engine.next_event()) is not None:
            if hasattr(event, "mark"):
                self.engine.mark_saved(event.mark)
            self.changes += isinstance(event, ConfigurationChanged)
        return self.engine.commands_to_forward()

    def peers(self) -> dict[bytes, list[Prefix]]:
        """Return the peers of the engine with their prefixes."""
        return {
            peer.public_key.raw: list(peer.allowed_ips)
            for peer in self.engine.status().peers
        }


@pytest.fixture
def device(rng: random.Random) -> Device:
    """A device without peers."""
    return Device(rng)


def test_changes_wait_and_go_at_once(device: Device) -> None:
    """A whole network costs one change of the configuration."""
    for key in device.keys:
        device.tunnels.set_peer(TunnelPeer(key), now=1.0)
    assert device.take() == []
    device.tunnels.flush(now=1.0)
    commands = device.take()
    assert [type(command) for command in commands] == [AddPeer] * 3
    assert device.changes == 1
    device.tunnels.flush(now=2.0)
    assert device.take() == []
    assert device.changes == 0


def test_same_peer_again_is_no_change(device: Device) -> None:
    """Another prefix is one, and touches nothing else."""
    one = device.keys[0]
    device.tunnels.set_peer(TunnelPeer(one, (LINE,)), now=1.0)
    device.tunnels.flush(now=1.0)
    device.take()
    device.tunnels.set_peer(TunnelPeer(one, (LINE,)), now=1.0)
    device.tunnels.flush(now=1.0)
    assert device.take() == []
    device.tunnels.set_peer(TunnelPeer(one, (LINE, LAN)), now=1.0)
    device.tunnels.flush(now=1.0)
    assert all(isinstance(command, AddAllowedIps) for command in device.take())
    assert device.peers() == {one: [LINE, LAN]}


def test_removed_peer_is_removed_once(device: Device) -> None:
    """One that is not ours, never."""
    one, two, _ = device.keys
    device.tunnels.set_peer(TunnelPeer(one), now=1.0)
    device.tunnels.remove_peer(two, now=1.0)
    device.tunnels.flush(now=1.0)
    device.take()
    device.tunnels.remove_peer(one, now=1.0)
    device.tunnels.remove_peer(one, now=1.0)
    device.tunnels.flush(now=1.0)
    assert [type(one) for one in device.take()] == [DropStaged, RemovePeer]
    assert device.peers() == {}


def test_a_probe_is_sent_in_its_size(device: Device) -> None:
    """To a peer; of one that is gone, nothing."""
    one, two, _ = device.keys
    device.tunnels.set_peer(TunnelPeer(one), now=1.0)
    device.tunnels.flush(now=1.0)
    device.take()
    probe = SizeProbe(bytes(8), 8920)
    device.tunnels.send_probe(one, probe, 8920, now=1.0)
    device.tunnels.send_probe(two, probe, 8920, now=1.0)
    assert device.take() == [SendProbe(0, encode_message(probe), 8920)]


def test_prefix_is_shared_after_its_owners_are_known(device: Device) -> None:
    """And is one peer's own again when the share ends."""
    one, two, _ = device.keys
    for key in (one, two):
        device.tunnels.set_peer(TunnelPeer(key), now=1.0)
    shared = SharedPrefix(LAN, (Share(one, 1), Share(two, 3)), (one, two))
    device.tunnels.share_prefixes((shared,), now=1.0)
    commands = device.take()
    assert [type(command) for command in commands] == [AddPeer, AddPeer, SharePrefix]
    device.tunnels.share_prefixes((shared,), now=1.0)
    assert device.take() == []
    device.tunnels.set_peer(TunnelPeer(one, (LAN,)), now=1.0)
    device.tunnels.share_prefixes((), now=1.0)
    commands = device.take()
    # The prefix has moved with its new owner; there is nothing to unshare any more.
    assert [type(command) for command in commands] == [AddAllowedIps]
    assert device.peers()[one] == [LAN]
    device.tunnels.set_peer(TunnelPeer(one), now=1.0)
    device.tunnels.share_prefixes((shared,), now=1.0)
    device.take()
    device.tunnels.share_prefixes((), now=1.0)
    assert device.take() == [UnsharePrefix(LAN)]


def test_message_goes_to_a_peer_that_waits_to_be_added(device: Device) -> None:
    """Who was just met is spoken to in the same step."""
    one = device.keys[0]
    device.tunnels.set_peer(TunnelPeer(one), now=1.0)
    device.tunnels.send(one, Ping(bytes(8)), now=1.0)
    assert [type(command) for command in device.take()] == [AddPeer, SendControl]


def test_nothing_is_known_of_strangers(device: Device) -> None:
    """Every question about one has an answer, and nothing is sent."""
    tunnels, stranger = device.tunnels, device.keys[2]
    tunnels.send(stranger, Ping(bytes(8)), now=1.0)
    tunnels.set_candidates(stranger, (PLACE,), now=1.0)
    tunnels.drop_waiting(stranger, now=1.0)
    assert device.take() == []
    assert tunnels.path_of(stranger) is None
    assert not tunnels.has_session(stranger)
    assert tunnels.last_received(stranger) == NEVER
    assert tunnels.last_data_sent(stranger) == NEVER


def test_path_of_a_peer_is_its_endpoint(device: Device) -> None:
    """Once it has one."""
    one = PublicKey(device.keys[0])
    device.engine.configure(
        DeviceChange(peers=[PeerChange(one, endpoint=PLACE)]), now=1
    )
    assert device.tunnels.path_of(one.raw) == PLACE


def test_peers_of_an_earlier_process_are_adopted_or_parted(device: Device) -> None:
    """What it did not live to remove goes, what is wanted stays."""
    kept, gone, _ = device.keys
    changes = [PeerChange(PublicKey(key)) for key in (kept, gone)]
    device.engine.configure(DeviceChange(peers=changes), now=1.0)
    device.take()
    device.tunnels.adopt([kept], now=1.0)
    assert [type(one) for one in device.take()] == [DropStaged, RemovePeer]
    assert set(device.peers()) == {kept}


def test_ourselves_are_no_peer(device: Device) -> None:
    """The engine ignores our own key."""
    own = device.private.public_key().raw
    device.tunnels.set_peer(TunnelPeer(own), now=1.0)
    device.tunnels.flush(now=1.0)
    assert device.peers() == {}


@pytest.mark.parametrize("key", [bytes(32), bytes([1]) + bytes(31)])
def test_key_of_low_order_harms_nothing(device: Device, key: bytes) -> None:
    """No handshake with it can succeed; a joiner may claim it all the same."""
    device.tunnels.set_peer(TunnelPeer(key), now=1.0)
    device.tunnels.set_candidates(key, (PLACE,), now=1.0)
    device.tunnels.send(key, Ping(bytes(8)), now=1.0)
    device.take()
    device.engine.handle_deadline(now=100.0)
    assert set(device.peers()) == {key}


def test_sessions_have_indices_and_ciphers(device: Device, rng: random.Random) -> None:
    """Those of the engine; of one that is not there, nothing."""
    one = device.keys[0]
    device.tunnels.set_peer(TunnelPeer(one), now=1.0)
    device.tunnels.flush(now=1.0)
    device.take()
    assert device.tunnels.sessions_of(one) == ()
    slot = 0
    held = HeldSession(slot, 5, 9, 0.5, True, True, Cipher.CHACHA20_POLY1305)
    device.engine.handle_report(SessionsHeld((held,), last=True), now=1.0)
    assert device.tunnels.sessions_of(one) == (5,)
    device.tunnels.use_cipher(one, 5, Cipher.AES_256_GCM, now=1.0)
    assert device.take() == []
    device.tunnels.use_cipher(one, 9, Cipher.AES_256_GCM, now=1.0)
    assert device.take() == [SetCipher(slot, 5, Cipher.AES_256_GCM)]
