"""Who a TLS server is, whatever stands between."""

import random

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.sealed import seal_to
from meshnode.errors import AuthenticationError
from meshnode.mesh.introduction import introduce_member
from meshnode.mesh.tls_proof import (
    CHALLENGE_BYTES,
    PROOF_BYTES,
    Challenge,
    hash_of,
    prove,
)

LEAF, OTHER_LEAF = hash_of(b"certificate"), hash_of(b"another")


@pytest.fixture
def server(rng: random.Random) -> PrivateKey:
    """The server's WireGuard key."""
    return PrivateKey(rng.randbytes(32))


def challenge_for(server: PrivateKey, rng: random.Random) -> Challenge:
    """Return a client's challenge."""
    return Challenge(server.public_key().raw, rng.randbytes)


def test_the_server_proves_its_certificate(
    server: PrivateKey, rng: random.Random
) -> None:
    """With as many bytes as both expect."""
    challenge = challenge_for(server, rng)
    proof = prove(server, challenge.sealed, LEAF)
    challenge.check(LEAF, proof)
    assert (len(challenge.sealed), len(proof)) == (CHALLENGE_BYTES, PROOF_BYTES)


def test_a_proof_that_was_passed_on_is_worthless(
    server: PrivateKey, rng: random.Random
) -> None:
    """Who is in the middle has another certificate; nor is it good a second time."""
    challenge, later = challenge_for(server, rng), challenge_for(server, rng)
    proof = prove(server, challenge.sealed, LEAF)
    for who, leaf in ((challenge, OTHER_LEAF), (later, LEAF)):
        with pytest.raises(AuthenticationError):
            who.check(leaf, proof)
    with pytest.raises(AuthenticationError):
        challenge.check(LEAF, bytes(PROOF_BYTES))
    with pytest.raises(AuthenticationError):
        challenge.check(LEAF, b"")


def test_challenges_for_others_are_not_answered(
    server: PrivateKey, rng: random.Random
) -> None:
    """Nor what is sealed to us for another purpose, such as an introduction."""
    other = PrivateKey(rng.randbytes(32))
    key, ephemeral = server.public_key().raw, rng.randbytes(32)
    introduction = introduce_member(b"x" * 32, key, ephemeral=ephemeral)
    for sealed in (
        challenge_for(other, rng).sealed,
        introduction[4:-16],
        seal_to(key, b"\x03" + bytes(31), ephemeral=ephemeral),
        bytes(CHALLENGE_BYTES),
        b"",
    ):
        with pytest.raises(AuthenticationError):
            prove(server, sealed, LEAF)
