"""Founding: the first records verify, and what cannot be a network is refused."""

import random

import pytest

from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import Role
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.mesh.founding import (
    FOUNDER_ROLES,
    ISSUER_LIFETIME,
    FounderKeys,
    Founding,
    found_network,
    parse_network_cidr,
)
from meshnode.mesh.invites import DEFAULT_LIFETIME
from meshnode.mesh.trust import Trust, network_id_of

WALL = 1_800_000_000


def make_keys(rng: random.Random) -> FounderKeys:
    """Return a founder's keys."""
    return FounderKeys(
        rng.randbytes(32),
        SigningKey(rng.randbytes(32)).public,
        SigningKey(rng.randbytes(32)),
        SigningKey(rng.randbytes(32)),
    )


def found(rng: random.Random, keys: FounderKeys, name: str = "home") -> Founding:
    """Found a network."""
    cidr = parse_network_cidr("10.9.0.0/16")
    return found_network(name, cidr, "first", keys, serial=rng.randbytes(16), wall=WALL)


def test_whoever_has_the_id_can_verify_the_founder(rng: random.Random) -> None:
    """From the network id alone, charter, issuer and certificate verify."""
    keys = make_keys(rng)
    founding = found(rng, keys)
    assert founding.network_id == network_id_of(keys.authority.public)
    trust = Trust(founding.network_id)
    assert trust.add_charter(founding.charter)
    verified = trust.verify_certificate(
        parse_envelope(founding.certificate),
        parse_envelope(founding.issuer),
        wall=WALL,
    )
    certificate, issuer = verified.certificate, verified.issuer
    assert trust.charter.name == "home"
    assert certificate.name == "first"
    assert certificate.ipv4 == bytes([10, 9, 0, 1])
    assert certificate.roles == FOUNDER_ROLES
    assert Role.STOCK not in certificate.roles
    assert certificate.not_after == WALL + DEFAULT_LIFETIME
    assert issuer is not None
    assert issuer.not_after == WALL + ISSUER_LIFETIME
    assert issuer.pools == (trust.charter.cidr,)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/8",
        "10.255.255.248/29",
        "172.16.0.0/12",
        "192.168.0.0/24",
        "100.64.0.0/10",
    ],
)
def test_private_and_shared_space_is_taken(text: str) -> None:
    """From /8 to /29, anywhere in RFC 1918 and RFC 6598."""
    assert str(parse_network_cidr(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("8.8.8.0/24", "172.16.0.0/11", "100.0.0.0/8", "0.0.0.0/0", "127.0.0.0/8"),
        *("10.0.0.0/30", "10.1.2.3", "fd00::/48", "nonsense", "10.0.0.0/7"),
    ],
)
def test_other_space_is_refused(text: str) -> None:
    """Public, too small, too large, IPv6, and what is no prefix."""
    with pytest.raises(ConfigError):
        parse_network_cidr(text)


def test_bad_names_and_one_key_for_two_ends_are_refused(rng: random.Random) -> None:
    """Each is named, nothing is made."""
    keys = make_keys(rng)
    with pytest.raises(ConfigError, match="network's name"):
        found(rng, keys, name="Not A Label")
    same = FounderKeys(
        keys.wireguard_key, keys.signing_key, keys.authority, keys.authority
    )
    with pytest.raises(ConfigError, match="different keys"):
        found(rng, same)
    no_key = FounderKeys(bytes(32), keys.signing_key, keys.authority, keys.issuing)
    with pytest.raises(ConfigError, match="cannot be founded"):
        found(rng, no_key)
    cidr = parse_network_cidr("10.9.0.0/16")
    with pytest.raises(ConfigError, match="cannot be founded"):
        found_network(
            "home", cidr, "first", keys, serial=bytes(16), wall=WALL, lifetime=0
        )
