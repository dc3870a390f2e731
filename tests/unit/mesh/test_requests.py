"""Requests and bundles: what they carry, and how what is wrong with one is told."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.records import Role
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.mesh.armour import armour, unarmour
from meshnode.mesh.requests import (
    MAX_BUNDLE_BYTES,
    MAX_REQUEST_BYTES,
    Bundle,
    Contact,
    Request,
    parse_bundle,
    parse_request,
    serialise_bundle,
    serialise_request,
)
from meshnode.types import Prefix


@pytest.fixture
def signing_key(rng: random.Random) -> SigningKey:
    """The asking host's signing key."""
    return SigningKey(rng.randbytes(32))


@pytest.fixture
def request_(rng: random.Random, signing_key: SigningKey) -> Request:
    """A request with something in every field."""
    return Request(
        "alpha",
        rng.randbytes(32),
        signing_key.public,
        ("ops", "staff"),
        (Prefix.parse("192.168.1.0/24"), Prefix.parse("2001:db8::/48")),
        Role.RELAY | Role.EXIT,
    )


def make_bundle(rng: random.Random) -> Bundle:
    """Return a bundle with something in every field."""
    return Bundle(
        (rng.randbytes(300), rng.randbytes(300)),
        rng.randbytes(400),
        rng.randbytes(200),
        (
            Contact(rng.randbytes(32), ("vpn.example.org:51820",)),
            Contact(rng.randbytes(32), ("192.0.2.1:1", "[2001:db8::1]:2")),
        ),
    )


def test_a_request_survives_its_text(
    request_: Request, signing_key: SigningKey
) -> None:
    """Every field comes back, and the same request has the same text."""
    text = serialise_request(request_, signing_key)
    assert parse_request(text) == request_
    assert serialise_request(request_, signing_key) == text


def test_a_request_is_signed_by_its_own_key(
    rng: random.Random, request_: Request, signing_key: SigningKey
) -> None:
    """A wrong signer is a mistake of ours; a changed body is refused."""
    other = SigningKey(rng.randbytes(32))
    with pytest.raises(ValueError, match="names"):
        serialise_request(request_, other)
    text = serialise_request(request_, signing_key)
    data = bytearray(unarmour("request", text, max_bytes=MAX_REQUEST_BYTES))
    place = bytes(data).index(b"alpha")
    data[place] = ord("b")
    with pytest.raises(ConfigError, match="signature"):
        parse_request(armour("request", bytes(data)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Not a label"),
        ("wireguard_key", b"short"),
        ("groups", ("a", "a")),
        ("groups", tuple("abcdefghi")),
        ("subnets", (Prefix(4, 1, 8),)),
    ],
)
def test_a_request_out_of_range_is_not_made(
    request_: Request, signing_key: SigningKey, field: str, value: object
) -> None:
    """What could not be read back is refused when it is written."""
    changed = replace(request_, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot be made"):
        serialise_request(changed, signing_key)


def test_a_bundle_survives_its_text(rng: random.Random) -> None:
    """Every field comes back, also without issuer and contacts."""
    bundle = make_bundle(rng)
    assert parse_bundle(serialise_bundle(bundle)) == bundle
    bare = replace(bundle, issuer=b"", contacts=())
    assert parse_bundle(serialise_bundle(bare)) == bare


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("charters", ()),
        ("certificate", b""),
        ("certificate", bytes(1101)),
        ("contacts", (Contact(bytes(32), ()),)),
        ("contacts", (Contact(bytes(32), ("nowhere",)),)),
        ("contacts", (Contact(b"short", ("a:1",)),)),
    ],
)
def test_a_bundle_out_of_range_is_not_made(
    rng: random.Random, field: str, value: object
) -> None:
    """What could not be read back is refused when it is written."""
    changed = replace(make_bundle(rng), **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot be made"):
        serialise_bundle(changed)


def test_a_later_format_is_told_apart(
    rng: random.Random, request_: Request, signing_key: SigningKey
) -> None:
    """The user is asked to upgrade, not told that the file is damaged."""
    for what, text, parse in (
        ("request", serialise_request(request_, signing_key), parse_request),
        ("bundle", serialise_bundle(make_bundle(rng)), parse_bundle),
    ):
        data = bytearray(unarmour(what, text, max_bytes=MAX_BUNDLE_BYTES))
        assert data[0] == 1
        data[0] = 2
        with pytest.raises(ConfigError, match="upgrade"):
            parse(armour(what, bytes(data)))


def test_other_bytes_are_named(rng: random.Random) -> None:
    """Text of the right form with other bytes in it is none of ours."""
    for what, parse in (("request", parse_request), ("bundle", parse_bundle)):
        with pytest.raises(ConfigError, match=f"{what} is none"):
            parse(armour(what, b"\1" + rng.randbytes(100)))
        with pytest.raises(ConfigError, match=f"no meshnode {what}"):
            parse("")
