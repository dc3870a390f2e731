"""The chain of charters grows by successors only, whoever offers what."""

from dataclasses import replace

import pytest

from meshnode.codec.record_bytes import (
    encode_charter,
    parse_envelope,
    serialise_envelope,
    signed_bytes,
)
from meshnode.codec.records import Charter, Envelope, Kind
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.charters import MAX_CHARTERS, CharterChain
from meshnode.mesh.documents import create_charter, next_charter
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.types import Prefix
from tests.certified_network import (
    AUTHORITY,
    CHARTER,
    CIDR,
    NETWORK_ID,
    signing_key,
)

SECOND = signing_key(11)
STRANGER = signing_key(12)
FIRST_VALUE = Charter(NETWORK_ID, 1, "home", CIDR, (AUTHORITY.public,), 5)


def signed(key: SigningKey, charter: Charter) -> bytes:
    """Return the envelope of any charter, signed by anybody for this network."""
    body = encode_charter(charter)
    signature = key.sign(signed_bytes(NETWORK_ID, Kind.CHARTER, body))
    return serialise_envelope(Envelope(Kind.CHARTER, key.public, signature, body))


def refusal(chain: CharterChain, data: bytes) -> Refusal:
    """Return why *data* is refused; the chain must be as it was."""
    before = chain.envelopes()
    with pytest.raises(RecordRefused) as caught:
        chain.add(data)
    assert chain.envelopes() == before
    return caught.value.reason


@pytest.fixture
def chain() -> CharterChain:
    """A chain with its first charter."""
    chain = CharterChain(NETWORK_ID)
    assert chain.add(CHARTER)
    return chain


def test_an_empty_chain_has_no_charter() -> None:
    """Whoever asks for it is refused with a reason."""
    with pytest.raises(RecordRefused) as caught:
        _ = CharterChain(NETWORK_ID).latest
    assert caught.value.reason is Refusal.NO_CHARTER


def test_the_first_charter_is_the_founders(chain: CharterChain) -> None:
    """It is in force; the same bytes again are not new."""
    assert chain.latest.name == "home"
    assert chain.latest.authorities == (AUTHORITY.public,)
    assert not chain.add(CHARTER)
    assert chain.envelopes() == (CHARTER,)


def test_authorities_hand_over(chain: CharterChain) -> None:
    """A charter by an authority of the one before it counts, whose ever key that is."""
    two = next_charter(
        chain.latest,
        AUTHORITY,
        name="home",
        authorities=(AUTHORITY.public, SECOND.public),
        created=6,
    )
    assert chain.add(two)
    three = next_charter(
        chain.latest, SECOND, name="new-home", authorities=(SECOND.public,), created=7
    )
    assert chain.add(three)
    assert chain.latest.name == "new-home"
    assert chain.latest.authorities == (SECOND.public,)
    assert chain.envelopes() == (CHARTER, two, three)
    assert not chain.add(two)
    # The founder was an authority once; it is none now.
    four = replace(FIRST_VALUE, version=4)
    assert refusal(chain, signed(AUTHORITY, four)) is Refusal.NOT_AUTHORITY


@pytest.mark.parametrize(
    ("key", "charter", "reason"),
    [
        (STRANGER, FIRST_VALUE, Refusal.NOT_FOUNDER),
        (
            STRANGER,
            replace(FIRST_VALUE, authorities=(STRANGER.public,)),
            Refusal.NOT_FOUNDER,
        ),
        (
            AUTHORITY,
            replace(FIRST_VALUE, authorities=(SECOND.public, AUTHORITY.public)),
            Refusal.NOT_FOUNDER,
        ),
        (
            AUTHORITY,
            replace(FIRST_VALUE, authorities=(SECOND.public,)),
            Refusal.NOT_FOUNDER,
        ),
        (AUTHORITY, replace(FIRST_VALUE, version=2), Refusal.CHARTER_GAP),
        (AUTHORITY, replace(FIRST_VALUE, network_id=bytes(16)), Refusal.WRONG_NETWORK),
        *(
            (
                AUTHORITY,
                replace(FIRST_VALUE, cidr=Prefix.parse(cidr)),
                Refusal.ADDRESS_SPACE,
            )
            for cidr in ("fd00::/64", "0.0.0.0/0", "127.0.0.0/8", "10.0.0.0/31")
        ),
    ],
)
def test_no_other_first_charter_is_taken(
    key: SigningKey, charter: Charter, reason: Refusal
) -> None:
    """It must be the founder's, version 1, of this network, with usable addresses."""
    assert refusal(CharterChain(NETWORK_ID), signed(key, charter)) is reason


TWO = replace(FIRST_VALUE, version=2)


@pytest.mark.parametrize(
    ("key", "charter", "reason"),
    [
        (STRANGER, TWO, Refusal.NOT_AUTHORITY),
        (
            STRANGER,
            replace(TWO, authorities=(STRANGER.public,)),
            Refusal.NOT_AUTHORITY,
        ),
        (AUTHORITY, replace(TWO, version=3), Refusal.CHARTER_GAP),
        (AUTHORITY, replace(TWO, network_id=bytes(16)), Refusal.WRONG_NETWORK),
        (
            AUTHORITY,
            replace(TWO, cidr=Prefix.parse("10.0.0.0/8")),
            Refusal.ADDRESS_SPACE,
        ),
        (AUTHORITY, replace(FIRST_VALUE, name="other"), Refusal.CHARTER_FORK),
    ],
)
def test_no_other_successor_is_taken(
    chain: CharterChain, key: SigningKey, charter: Charter, reason: Refusal
) -> None:
    """It must be an authority's, the next version, with network and addresses kept."""
    assert refusal(chain, signed(key, charter)) is reason


def test_a_forged_charter_is_refused(chain: CharterChain) -> None:
    """An authority's name alone signs nothing."""
    envelope = parse_envelope(signed(STRANGER, TWO))
    forged = serialise_envelope(replace(envelope, signer=AUTHORITY.public))
    assert refusal(chain, forged) is Refusal.BAD_SIGNATURE


def test_a_charter_of_another_network_is_refused(chain: CharterChain) -> None:
    """Even if the same authority founded both, the id is another one's."""
    other = create_charter(STRANGER, name="home", cidr=CIDR, created=5)
    assert refusal(chain, other) is Refusal.NOT_AUTHORITY


def test_a_network_has_at_most_16_charters(chain: CharterChain) -> None:
    """What every member has to fetch is bounded, even if an authority goes mad."""

    def successor() -> bytes:
        return next_charter(
            chain.latest,
            AUTHORITY,
            name="home",
            authorities=(AUTHORITY.public,),
            created=5,
        )

    while chain.latest.version < MAX_CHARTERS:
        assert chain.add(successor())
    assert refusal(chain, successor()) is Refusal.TOO_MANY_CHARTERS
