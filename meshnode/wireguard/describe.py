"""A device in other words: for `wg show`, for the next control process, for workers."""

from collections.abc import Iterator

from meshnode.forwarding import AddAllowedIps, AddPeer, Command, SetEndpoint
from meshnode.ports import TrafficView
from meshnode.types import Prefix
from meshnode.wireguard.config import DeviceState, DeviceStatus, PeerState, PeerStatus
from meshnode.wireguard.configure import Configuration
from meshnode.wireguard.peer import Peer


def describe_status(configuration: Configuration, traffic: TrafficView) -> DeviceStatus:
    """Return what `wg show` presents.

    A shared prefix is shown with the first peer it is forwarded to, and no other: `wg`
    knows of one owner.
    """
    shared = configuration.shares.by_first_owner()
    return DeviceStatus(
        private_key=configuration.private_key,
        listen_port=configuration.listen_port,
        fwmark=configuration.fwmark,
        peers=[
            _peer_status(
                peer,
                traffic,
                configuration.routes.prefixes_of(slot) + shared.get(slot, []),
            )
            for slot, peer in configuration.peers.items()
        ],
    )


def describe_state(configuration: Configuration) -> DeviceState:
    """Return all that a later control process needs to go on."""
    return DeviceState(
        private_key=configuration.private_key,
        listen_port=configuration.listen_port,
        fwmark=configuration.fwmark,
        peers=[
            describe_peer(configuration, peer) for peer in configuration.peers.values()
        ],
    )


def describe_peer(configuration: Configuration, peer: Peer) -> PeerState:
    """Return what of one peer a later control process needs."""
    return PeerState(
        slot=peer.slot,
        public_key=peer.public_key,
        preshared_key=peer.preshared_key,
        path=peer.path,
        persistent_keepalive=peer.persistent_keepalive,
        latest_timestamp=peer.latest_timestamp,
        last_handshake=peer.last_handshake,
        allowed_ips=configuration.routes.prefixes_of(peer.slot),
        is_sought=peer.dialler.is_sought,
    )


def describe_table(configuration: Configuration) -> Iterator[Command]:
    """Yield the commands that give a worker all peers and prefixes."""
    for slot, peer in list(configuration.peers.items()):
        yield AddPeer(slot, peer.dialler.is_sought)
        yield SetEndpoint(slot, peer.path)
        prefixes = configuration.routes.prefixes_of(slot)
        if prefixes:
            yield AddAllowedIps(slot, tuple(prefixes))
    yield from configuration.shares


def _peer_status(
    peer: Peer, traffic: TrafficView, allowed_ips: list[Prefix]
) -> PeerStatus:
    facts = traffic.read(peer.slot)
    seconds = int(peer.last_handshake)
    nanoseconds = int((peer.last_handshake - seconds) * 1e9)
    current = peer.keypairs.current
    return PeerStatus(
        public_key=peer.public_key,
        preshared_key=peer.preshared_key,
        endpoint=None if peer.path is None else peer.path.remote,
        last_handshake=(seconds, nanoseconds),
        sent_bytes=facts.sent_bytes,
        received_bytes=facts.received_bytes,
        persistent_keepalive=peer.persistent_keepalive,
        allowed_ips=allowed_ips,
        cipher=None if current is None else current.cipher,
    )
