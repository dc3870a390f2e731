"""Introductions, type 7: who a host will hear from next, told before the handshake.

    u32 7 | sealed: kind u8, contents | mac1 16

`sealed` is to the receiver's WireGuard key; mac1 is WireGuard's, over all before it
(paper 5.4.4), so that the gate drops what strangers make up without opening it.
Integers are little-endian. The contents are

    kind 1: a member record
    kind 2: invite key 32 | joiner's WireGuard key 32 | until u64 | proof 16

Whoever introduces a member need not be that member: the record is signed. A joiner
proves that it has the invite's private key; an introduction that was recorded and
sent again opens the door for the same joiner only, who must then do a handshake.
"""

import struct
from typing import Final

from meshnode.codec.wireguard import MAC_SIZE, message_type
from meshnode.crypto.kdf import kdf1
from meshnode.crypto.keys import KEY_BYTES, PrivateKey
from meshnode.crypto.primitives import blake2s, constant_time_equal, mac, x25519
from meshnode.crypto.sealed import SEALED_OVERHEAD, open_sealed, seal_to
from meshnode.errors import AuthenticationError, BadPacket, DropReason
from meshnode.values import frozen
from meshnode.wireguard.cookie import mac1_key

INTRODUCTION_TYPE: Final = 7
MAX_INTRODUCTION_BYTES: Final = 1280

_TYPE: Final = struct.Struct("<I")
_MEMBER: Final = 1
_JOINER: Final = 2
_JOINER_BODY: Final = struct.Struct(f"<{KEY_BYTES}s{KEY_BYTES}sQ{MAC_SIZE}s")
_LEAST_BYTES: Final = _TYPE.size + SEALED_OVERHEAD + 1 + MAC_SIZE
_PROOF_LABEL: Final = blake2s(b"meshnode/1 invite proof")


@frozen
class MemberIntroduction:
    """A member is about to speak to us; `record` is a member record, unverified."""

    record: bytes


@frozen
class JoinerIntroduction:
    """Somebody with an invite is about to speak to us with the key `joiner_key`.

    `until` is wall seconds after which this shall count for nothing; `proof` is to be
    checked by `has_valid_proof`.
    """

    invite_key: bytes
    joiner_key: bytes
    until: int
    proof: bytes


def introduce_member(record: bytes, receiver: bytes, *, ephemeral: bytes) -> bytes:
    """Return the datagram that tells *receiver* of a member record.

    Args:
        record: the bytes of a member record, not empty.
        receiver: the WireGuard key of the host it is for.
        ephemeral: 32 fresh random bytes.

    Raises:
        ValueError: if the record is too long for a datagram.
        AuthenticationError: if *receiver* has low order.
    """
    return _seal(_MEMBER, record, receiver, ephemeral)


def introduce_joiner(
    *,
    network_id: bytes,
    invite_private: PrivateKey,
    issuer_key: bytes,
    joiner_key: bytes,
    until: int,
    ephemeral: bytes,
) -> bytes:
    """Return the datagram that asks an issuer to let a joiner shake hands.

    Args:
        network_id: as the token has it, 16 bytes.
        invite_private: the secret of the token.
        issuer_key: the issuer's WireGuard key.
        joiner_key: the joiner's own WireGuard key.
        until: wall seconds until which the claim is good.
        ephemeral: 32 fresh random bytes.

    Raises:
        AuthenticationError: if *issuer_key* has low order.
    """
    proof = _proof(
        x25519(invite_private.reveal(), issuer_key), network_id, joiner_key, until
    )
    invite_key = invite_private.public_key().raw
    body = _JOINER_BODY.pack(invite_key, joiner_key, until, proof)
    return _seal(_JOINER, body, issuer_key, ephemeral)


def open_introduction(
    data: bytes, private_key: PrivateKey
) -> MemberIntroduction | JoinerIntroduction:
    """Read an introduction that was sealed to *private_key*.

    Raises:
        BadPacket: BAD_LENGTH, BAD_TYPE or BAD_MAC1 before anything is opened; BAD_TAG
            if it is not sealed to us; BAD_INNER if its contents are of no kind.
    """
    if not _LEAST_BYTES <= len(data) <= MAX_INTRODUCTION_BYTES:
        raise BadPacket(DropReason.BAD_LENGTH)
    if message_type(data) != INTRODUCTION_TYPE:
        raise BadPacket(DropReason.BAD_TYPE)
    body, mac1 = data[:-MAC_SIZE], data[-MAC_SIZE:]
    key = mac1_key(private_key.public_key().raw)
    if not constant_time_equal(mac(key, body), mac1):
        raise BadPacket(DropReason.BAD_MAC1)
    try:
        plain = open_sealed(private_key, body[_TYPE.size :])
    except AuthenticationError:
        raise BadPacket(DropReason.BAD_TAG) from None
    contents = plain[1:]
    if plain[0] == _MEMBER and contents:
        return MemberIntroduction(contents)
    if plain[0] == _JOINER and len(contents) == _JOINER_BODY.size:
        return JoinerIntroduction(*_JOINER_BODY.unpack(contents))
    raise BadPacket(DropReason.BAD_INNER)


def has_valid_proof(
    introduction: JoinerIntroduction, private_key: PrivateKey, network_id: bytes
) -> bool:
    """Whether the introducer has the invite's private key; takes constant time.

    *private_key* is the issuer's WireGuard key, *network_id* its network's.
    """
    try:
        secret = x25519(private_key.reveal(), introduction.invite_key)
    except AuthenticationError:
        return False
    expected = _proof(secret, network_id, introduction.joiner_key, introduction.until)
    return constant_time_equal(expected, introduction.proof)


def _proof(secret: bytes, network_id: bytes, joiner_key: bytes, until: int) -> bytes:
    claim = network_id + joiner_key + until.to_bytes(8, "little")
    return mac(kdf1(_PROOF_LABEL, secret), claim)


def _seal(kind: int, contents: bytes, receiver: bytes, ephemeral: bytes) -> bytes:
    sealed = seal_to(receiver, bytes([kind]) + contents, ephemeral=ephemeral)
    body = _TYPE.pack(INTRODUCTION_TYPE) + sealed
    if len(body) + MAC_SIZE > MAX_INTRODUCTION_BYTES:
        raise ValueError("the record is too long to introduce")
    return body + mac(mac1_key(receiver), body)
