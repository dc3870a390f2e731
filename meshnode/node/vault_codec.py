"""Bytes of what a control process leaves to its successor; pure.

A *snapshot* is the whole `DeviceState`. *Progress* is the part of one peer's state
that handshakes and roaming change: its path, the greatest timestamp accepted and
the last handshake. Configuration never travels as progress, so that a handshake
costs the same with one allowed IP as with a hundred thousand.

Decoding is strict: what is no state of ours raises ValueError.
"""

import functools
import ipaddress
from dataclasses import replace
from typing import Any, Final

import msgpack

from meshnode.channels import channel_of
from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.types import Endpoint, Path, Prefix, Source
from meshnode.wireguard.config import DeviceState, PeerState

VERSION: Final = 2
"""Counted up when the layout changes; another version is not read."""

_TIMESTAMP_BYTES: Final = 12


def encode_state(state: DeviceState) -> bytes:
    """Return the bytes of a snapshot; they hold the private key."""
    key = None if state.private_key is None else state.private_key.reveal()
    peers = [_pack_peer(peer) for peer in state.peers]
    packed: bytes = msgpack.packb(
        [VERSION, key, state.listen_port, state.fwmark, peers]
    )
    return packed


def decode_state(data: bytes) -> DeviceState:
    """Return the snapshot in *data*; raises ValueError."""
    version, key, listen_port, fwmark, peers = _fields(data, 5)
    if version != VERSION:
        raise ValueError(f"a snapshot of version {version}")
    return DeviceState(
        private_key=None if key is None else PrivateKey(key),
        listen_port=int(listen_port),
        fwmark=int(fwmark),
        peers=[_unpack_peer(peer) for peer in peers],
    )


def encode_progress(peer: PeerState) -> bytes:
    """Return the bytes of what handshakes and roaming changed of *peer*."""
    packed: bytes = msgpack.packb(
        [
            peer.slot,
            _pack_path(peer.path),
            peer.latest_timestamp,
            peer.last_handshake,
        ]
    )
    return packed


def apply_progress(peers: dict[int, PeerState], data: bytes) -> None:
    """Put progress into *peers*, which are by slot; a slot not there is skipped.

    Raises:
        ValueError: if *data* is no progress; nothing was changed.
    """
    slot, path, timestamp, last_handshake = _fields(data, 4)
    peer = peers.get(slot)
    if peer is not None:
        peers[slot] = replace(
            peer,
            path=_unpack_path(path),
            latest_timestamp=_timestamp(timestamp),
            last_handshake=float(last_handshake),
        )


def _fields(data: bytes, count: int) -> list[Any]:
    plain = msgpack.unpackb(data)
    if type(plain) is not list or len(plain) != count:
        raise ValueError(f"not a list of {count} fields")
    return plain


def _pack_peer(peer: PeerState) -> list[Any]:
    return [
        peer.slot,
        peer.public_key.raw,
        peer.preshared_key.reveal(),
        _pack_path(peer.path),
        peer.persistent_keepalive,
        peer.latest_timestamp,
        peer.last_handshake,
        _pack_prefixes(peer.allowed_ips),
        peer.is_sought,
    ]


def _unpack_peer(plain: Any) -> PeerState:
    slot, public, preshared, path, keepalive, *rest = plain
    timestamp, handshake, prefixes, is_sought = rest
    return PeerState(
        slot=int(slot),
        public_key=PublicKey(public),
        preshared_key=PresharedKey(preshared),
        path=_unpack_path(path),
        persistent_keepalive=int(keepalive),
        latest_timestamp=_timestamp(timestamp),
        last_handshake=float(handshake),
        allowed_ips=_unpack_prefixes(prefixes),
        is_sought=bool(is_sought),
    )


def _timestamp(plain: Any) -> bytes:
    if type(plain) is not bytes or len(plain) != _TIMESTAMP_BYTES:
        raise ValueError("not a timestamp label")
    return plain


def _pack_path(path: Path | None) -> list[Any] | None:
    # A relay's channel, and a socket beside the port, end with their control process.
    if path is None or channel_of(path.remote) or (path.source and path.source.port):
        return None
    remote, source = path.remote, path.source
    return [
        _pack_host(remote.host),
        remote.port,
        remote.scope_id,
        None if source is None else [_pack_host(source.host), source.interface],
    ]


def _unpack_path(plain: Any) -> Path | None:
    if plain is None:
        return None
    host, port, scope_id, source = plain
    return Path(
        Endpoint(_unpack_host(host), int(port), int(scope_id)),
        None if source is None else Source(_unpack_host(source[0]), int(source[1])),
    )


# The same few addresses come with every handshake, and parsing one costs much.
@functools.lru_cache(maxsize=1024)
def _pack_host(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def _unpack_host(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


# Prefixes are one string of bytes, each its length and its network, IPv6 lengths
# moved up by 33: a hundred thousand of them as msgpack objects would cost more.
_V6_BASE: Final = 33


def _pack_prefixes(prefixes: list[Prefix]) -> bytes:
    return b"".join(
        [
            bytes((p.length,)) + p.network.to_bytes(4, "big")
            if p.version == 4
            else bytes((p.length + _V6_BASE,)) + p.network.to_bytes(16, "big")
            for p in prefixes
        ]
    )


def _unpack_prefixes(packed: bytes) -> list[Prefix]:
    prefixes = []
    at = 0
    while at < len(packed):
        length = packed[at]
        version, size = (4, 4) if length < _V6_BASE else (6, 16)
        network = packed[at + 1 : at + 1 + size]
        if len(network) != size:
            raise ValueError("a prefix is cut off")
        bits = length if version == 4 else length - _V6_BASE
        prefixes.append(Prefix(version, int.from_bytes(network, "big"), bits))
        at += 1 + size
    return prefixes
