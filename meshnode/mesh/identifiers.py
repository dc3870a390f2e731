"""What is derived by hashing: ids of networks and records, and overlay addresses."""

from typing import Final

from meshnode.codec.records import Kind
from meshnode.crypto.primitives import short_hash
from meshnode.types import Prefix

NETWORK_ID_BYTES: Final = 16
RECORD_ID_BYTES: Final = 8

_ULA_LENGTH = 48
_ULA_HEAD_BYTES = 5  # of the network id, after the `fd` of RFC 4193
_INTERFACE_ID_BYTES = 10


def network_id_of(authority_public: bytes) -> bytes:
    """Return the id of the network that the owner of this Ed25519 key founds."""
    return short_hash(authority_public, NETWORK_ID_BYTES)


def record_id(kind: Kind, subject: bytes) -> bytes:
    """Return the id of the record of this kind about *subject*, 8 bytes."""
    return short_hash(bytes((kind,)) + subject, RECORD_ID_BYTES)


def ula_prefix(network_id: bytes) -> Prefix:
    """Return the network's /48 of unique local addresses (RFC 4193)."""
    head = _ula_head(network_id)
    return Prefix(6, int.from_bytes(head.ljust(16, b"\0"), "big"), _ULA_LENGTH)


def overlay_ipv6(network_id: bytes, wireguard_key: bytes) -> bytes:
    """Return the overlay address of the member with this key, 16 bytes."""
    return _ula_head(network_id) + short_hash(wireguard_key, _INTERFACE_ID_BYTES)


def _ula_head(network_id: bytes) -> bytes:
    return b"\xfd" + network_id[:_ULA_HEAD_BYTES]
