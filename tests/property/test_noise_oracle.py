"""Our handshake against another implementation of Noise, in both roles, live."""

import struct
import warnings

from hypothesis import given, settings
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from meshnode.codec.wireguard import Initiation, Response
from meshnode.crypto.keys import PresharedKey, PrivateKey
from meshnode.crypto.primitives import aead_open, aead_seal
from meshnode.wireguard.handshake import (
    DerivedKeys,
    Handshake,
    Identity,
    identify_initiator,
)

KEYS = st.binary(min_size=32, max_size=32)
INDICES = st.integers(1, 2**32 - 1)
TIMESTAMPS = st.binary(min_size=12, max_size=12)
INITIATION_BODY = struct.Struct("<32s48s28s")
RESPONSE_BODY = struct.Struct("<32s16s")


def oracle(private: bytes, preshared: bytes, remote: bytes | None) -> NoiseConnection:
    """Return the other implementation; *remote* is given to its initiator only."""
    party = NoiseConnection.from_name(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    party.set_prologue(b"WireGuard v1 zx2c4 Jason@zx2c4.com")
    party.set_psks(preshared)
    party.set_keypair_from_private_bytes(Keypair.STATIC, private)
    if remote is None:
        party.set_as_responder()
    else:
        party.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        party.set_as_initiator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        party.start_handshake()
    return party


def assert_data_flows(keys: DerivedKeys, party: NoiseConnection) -> None:
    """Let each side open what the other sealed, twice."""
    for counter in range(2):
        ours = aead_seal(keys.send_key, counter, b"to you", b"")
        assert bytes(party.decrypt(ours)) == b"to you"
        theirs = bytes(party.encrypt(b"to us"))
        assert aead_open(keys.receive_key, counter, theirs, b"") == b"to us"


@settings(max_examples=50, deadline=None)
@given(KEYS, KEYS, KEYS, KEYS, INDICES, TIMESTAMPS)
def test_we_initiate_and_the_oracle_responds(
    ours: bytes,
    theirs: bytes,
    preshared: bytes,
    ephemeral: bytes,
    index: int,
    timestamp: bytes,
) -> None:
    """It reads our timestamp and our key, and data flows under what we derive."""
    identity, remote = Identity(PrivateKey(ours)), PrivateKey(theirs).public_key()
    handshake = Handshake(identity, remote, PresharedKey(preshared))
    party = oracle(theirs, preshared, None)
    message = handshake.create_initiation(
        local_index=index, ephemeral=ephemeral, timestamp=timestamp
    )
    body = message.serialise()[8:-32]
    assert bytes(party.read_message(body)) == timestamp
    seen = party.noise_protocol.handshake_state.rs.public_bytes
    assert seen == identity.public_key.raw
    answer = RESPONSE_BODY.unpack(bytes(party.write_message(b"")))
    handshake.consume_response(Response(5, index, *answer))
    assert_data_flows(handshake.derive_keys(), party)


@settings(max_examples=50, deadline=None)
@given(KEYS, KEYS, KEYS, KEYS, INDICES, TIMESTAMPS)
def test_the_oracle_initiates_and_we_respond(
    ours: bytes,
    theirs: bytes,
    preshared: bytes,
    ephemeral: bytes,
    index: int,
    timestamp: bytes,
) -> None:
    """We read its key and its timestamp, and data flows under what we derive."""
    identity, remote = Identity(PrivateKey(ours)), PrivateKey(theirs).public_key()
    handshake = Handshake(identity, remote, PresharedKey(preshared))
    party = oracle(theirs, preshared, identity.public_key.raw)
    body = INITIATION_BODY.unpack(bytes(party.write_message(timestamp)))
    initiation = Initiation(5, *body)
    claim = identify_initiator(identity, initiation)
    assert claim.public_key == remote
    opened = handshake.open_initiation(claim, initiation)
    assert opened.timestamp == timestamp
    handshake.accept_initiation(opened)
    response = handshake.create_response(local_index=index, ephemeral=ephemeral)
    assert bytes(party.read_message(response.serialise()[12:-32])) == b""
    assert_data_flows(handshake.derive_keys(), party)
