"""Introductions: who may read them, what they prove, and what is refused why."""

import random

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import mac
from meshnode.crypto.sealed import seal_to
from meshnode.errors import BadPacket, DropReason
from meshnode.mesh.introduction import (
    MAX_INTRODUCTION_BYTES,
    JoinerIntroduction,
    MemberIntroduction,
    has_valid_proof,
    introduce_joiner,
    introduce_member,
    open_introduction,
)
from meshnode.wireguard.cookie import mac1_key

NETWORK = bytes(range(16))
UNTIL = 1_800_000_000


@pytest.fixture
def issuer(rng: random.Random) -> PrivateKey:
    """The receiver of all introductions here."""
    return PrivateKey(rng.randbytes(32))


def joiner(
    rng: random.Random, issuer: PrivateKey, invite: PrivateKey, key: bytes
) -> JoinerIntroduction:
    """Return the introduction of a joiner as the issuer reads it."""
    data = introduce_joiner(
        network_id=NETWORK,
        invite_private=invite,
        issuer_key=issuer.public_key().raw,
        joiner_key=key,
        until=UNTIL,
        ephemeral=rng.randbytes(32),
    )
    opened = open_introduction(data, issuer)
    assert isinstance(opened, JoinerIntroduction)
    return opened


def made_up(issuer: PrivateKey, plain: bytes, rng: random.Random) -> bytes:
    """Return a datagram with right seal and mac1 around any contents."""
    public = issuer.public_key().raw
    body = b"\7\0\0\0" + seal_to(public, plain, ephemeral=rng.randbytes(32))
    return body + mac(mac1_key(public), body)


def refusal(data: bytes, private: PrivateKey) -> DropReason:
    """Return why the datagram is refused."""
    with pytest.raises(BadPacket) as caught:
        open_introduction(data, private)
    return caught.value.reason


def test_a_member_record_arrives(rng: random.Random, issuer: PrivateKey) -> None:
    """The receiver reads the record as it was, from a datagram of type 7."""
    record = rng.randbytes(1100)
    data = introduce_member(
        record, issuer.public_key().raw, ephemeral=rng.randbytes(32)
    )
    assert data[:4] == b"\7\0\0\0"
    assert len(data) <= MAX_INTRODUCTION_BYTES
    assert record not in data
    assert open_introduction(data, issuer) == MemberIntroduction(record)


def test_a_record_too_long_is_not_sent(rng: random.Random, issuer: PrivateKey) -> None:
    """The longest record makes 1,280 bytes, one more is refused."""
    key = issuer.public_key().raw
    data = introduce_member(bytes(1211), key, ephemeral=rng.randbytes(32))
    assert len(data) == MAX_INTRODUCTION_BYTES
    with pytest.raises(ValueError, match="too long"):
        introduce_member(bytes(1212), key, ephemeral=rng.randbytes(32))


def test_a_joiner_proves_its_invite(rng: random.Random, issuer: PrivateKey) -> None:
    """The issuer reads invite, key and end, and the proof holds."""
    invite, key = PrivateKey(rng.randbytes(32)), rng.randbytes(32)
    opened = joiner(rng, issuer, invite, key)
    assert opened.invite_key == invite.public_key().raw
    assert opened.joiner_key == key
    assert opened.until == UNTIL
    assert has_valid_proof(opened, issuer, NETWORK)


def test_a_proof_is_for_one_claim_only(rng: random.Random, issuer: PrivateKey) -> None:
    """With any part exchanged, or for another network or issuer, it does not hold."""
    invite = PrivateKey(rng.randbytes(32))
    opened = joiner(rng, issuer, invite, rng.randbytes(32))
    proof = opened.proof
    other_invite = PrivateKey(rng.randbytes(32)).public_key().raw
    for changed in (
        JoinerIntroduction(other_invite, opened.joiner_key, UNTIL, proof),
        JoinerIntroduction(opened.invite_key, rng.randbytes(32), UNTIL, proof),
        JoinerIntroduction(opened.invite_key, opened.joiner_key, UNTIL + 1, proof),
        JoinerIntroduction(opened.invite_key, opened.joiner_key, UNTIL, bytes(16)),
        # A low-order key would make a secret that everybody knows.
        JoinerIntroduction(bytes(32), opened.joiner_key, UNTIL, proof),
    ):
        assert not has_valid_proof(changed, issuer, NETWORK)
    assert not has_valid_proof(opened, issuer, bytes(16))
    assert not has_valid_proof(opened, PrivateKey(rng.randbytes(32)), NETWORK)


def test_each_fault_has_its_reason(rng: random.Random, issuer: PrivateKey) -> None:
    """Length, type, mac1, seal and contents are told apart, in this order."""
    good = introduce_member(
        b"record", issuer.public_key().raw, ephemeral=rng.randbytes(32)
    )
    assert refusal(good[:60], issuer) is DropReason.BAD_LENGTH
    assert refusal(good + bytes(1300), issuer) is DropReason.BAD_LENGTH
    assert refusal(b"\x08" + good[1:], issuer) is DropReason.BAD_TYPE
    assert refusal(good[:-1] + bytes([good[-1] ^ 1]), issuer) is DropReason.BAD_MAC1
    stranger = PrivateKey(rng.randbytes(32))
    assert refusal(good, stranger) is DropReason.BAD_MAC1
    body = bytearray(good[:-16])
    body[40] ^= 1
    tampered = bytes(body) + mac(mac1_key(issuer.public_key().raw), bytes(body))
    assert refusal(tampered, issuer) is DropReason.BAD_TAG
    for plain in (b"\0", b"\1", b"\2" + bytes(87), b"\2" + bytes(89), b"\3rest"):
        data = made_up(issuer, plain, rng)
        assert refusal(data, issuer) is DropReason.BAD_INNER, plain


def test_a_seal_of_nothing_is_too_short(rng: random.Random, issuer: PrivateKey) -> None:
    """Contents without even a kind are refused by length."""
    assert refusal(made_up(issuer, b"", rng), issuer) is DropReason.BAD_LENGTH
