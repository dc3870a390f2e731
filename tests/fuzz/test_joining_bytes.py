"""Any text or bytes to what joiners, issuers and users hand us: refused, no more."""

import base64
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import blake2s, mac
from meshnode.crypto.sealed import seal_to
from meshnode.crypto.signing import SigningKey
from meshnode.errors import BadPacket, ConfigError
from meshnode.mesh.armour import armour
from meshnode.mesh.introduction import (
    JoinerIntroduction,
    MemberIntroduction,
    introduce_member,
    open_introduction,
)
from meshnode.mesh.invites import Invites
from meshnode.mesh.issued import IssuedLedger
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.requests import (
    Bundle,
    Contact,
    Request,
    parse_bundle,
    parse_request,
    serialise_bundle,
    serialise_request,
)
from meshnode.mesh.token import Token, parse_token
from meshnode.types import Prefix
from meshnode.wireguard.cookie import mac1_key

PRIVATE = PrivateKey(bytes(range(32)))
PUBLIC = PRIVATE.public_key().raw
SIGNING = SigningKey(bytes(range(32)))
TOKEN = Token(bytes(16), PRIVATE, PUBLIC, ("vpn.example.org:51820",), 1, "home")
REQUEST = Request(
    "alpha", PUBLIC, SIGNING.public, ("ops",), (Prefix.parse("10.0.0.0/8"),)
)
BUNDLE = Bundle((b"charter",), b"certificate", b"", (Contact(PUBLIC, ("a:1",)),))

msgpack_like = st.one_of(
    st.binary(max_size=400),
    st.sampled_from(
        [
            b"\xdd\xff\xff\xff\xff",  # an array of 2^32 items
            b"\xdc\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\x91" * 1024,  # nested without end
            b"\xdf\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff\x00",
        ]
    ),
)


def takes(parse: Callable[[str], object], text: str) -> object:
    """Return what *parse* makes of the text; a refusal is one printable line."""
    try:
        return parse(text)
    except ConfigError as error:
        line = str(error)
    assert line.isprintable()
    assert len(line) < 300
    return None


@given(st.text(max_size=300) | st.text(max_size=300).map("mn1".__add__))
@example("mn1")
@example("mn1====")
@example("mn1AAAA")
@example("mn1é")
def test_any_text_is_no_token(text: str) -> None:
    """Nothing but a refusal comes of it."""
    assert takes(parse_token, text) is None


@given(msgpack_like)
def test_a_token_with_a_right_checksum_is_still_checked(body: bytes) -> None:
    """What parses would be written the same again."""
    data = body + blake2s(b"mn1" + body)[:4]
    text = "mn1" + base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    token = takes(parse_token, text)
    assert token is None or (isinstance(token, Token) and token.serialise() == text)


@given(msgpack_like.map(b"\1".__add__) | msgpack_like)
def test_any_bytes_in_armour_are_refused_or_canonical(data: bytes) -> None:
    """Requests need a signature; a bundle that parses has one text."""
    assert takes(parse_request, armour("request", data or b"x")) is None
    text = armour("bundle", data or b"x")
    bundle = takes(parse_bundle, text)
    assert bundle is None or (
        isinstance(bundle, Bundle) and serialise_bundle(bundle) == text
    )


@given(st.text(max_size=400))
def test_any_text_is_no_request_and_no_bundle(text: str) -> None:
    """With or without the lines that such files have."""
    for what, parse in (("request", parse_request), ("bundle", parse_bundle)):
        begin, *_, end = armour(what, b"x").splitlines()
        assert takes(parse, text) is None
        assert takes(parse, f"{begin}\n{text}\n{end}\n") is None


def mutated(rng: random.Random, data: bytearray) -> bytes:
    """Return the bytes with a few changed, lost or doubled."""
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data)) if data else 0
        match rng.randrange(3):
            case 0 if data:
                data[place] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randint(1, 20)]
            case _:
                data[place:place] = data[place : place + rng.randint(1, 20)]
    return bytes(data)


def test_mutated_texts_give_the_same_value_or_none(
    rng: random.Random, seed: int
) -> None:
    """A change that is not noticed changed nothing."""
    texts: list[tuple[Callable[[str], object], str, object]] = [
        (parse_token, TOKEN.serialise(), TOKEN),
        (parse_request, serialise_request(REQUEST, SIGNING), REQUEST),
    ]
    for parse, text, value in texts:
        for _ in range(3000):
            changed = mutated(rng, bytearray(text.encode())).decode("latin-1")
            parsed = takes(parse, changed)
            assert parsed is None or parsed == value, f"seed {seed}: {changed!r}"


@given(st.binary(max_size=1400))
def test_any_datagram_is_no_introduction(data: bytes) -> None:
    """It is refused with a reason, whatever comes after the type."""
    for datagram in (data, b"\7\0\0\0" + data):
        with pytest.raises(BadPacket):
            open_introduction(datagram, PRIVATE)


@given(st.binary(max_size=200) | st.binary(min_size=88, max_size=88), st.integers(0, 3))
def test_sealed_contents_are_of_a_kind_or_refused(body: bytes, kind: int) -> None:
    """Whoever knows our key can seal anything; each byte that is taken is kept."""
    plain = bytes([kind]) + body
    sealed = b"\7\0\0\0" + seal_to(PUBLIC, plain, ephemeral=b"e" * 32)
    data = sealed + mac(mac1_key(PUBLIC), sealed)
    is_sound = (kind == 1 and body != b"") or (kind == 2 and len(body) == 88)
    if not is_sound:
        with pytest.raises(BadPacket):
            open_introduction(data, PRIVATE)
        return
    opened = open_introduction(data, PRIVATE)
    if isinstance(opened, MemberIntroduction):
        assert (kind, opened.record) == (1, body)
    else:
        assert isinstance(opened, JoinerIntroduction)
        until = opened.until.to_bytes(8, "little")
        fields = opened.invite_key + opened.joiner_key + until + opened.proof
        assert (kind, fields) == (2, body)


def test_mutated_introductions_are_refused(rng: random.Random, seed: int) -> None:
    """No change of any byte passes mac1 and seal."""
    good = introduce_member(b"record", PUBLIC, ephemeral=b"e" * 32)
    for _ in range(3000):
        data = mutated(rng, bytearray(good))
        if data == good:
            continue
        try:
            open_introduction(data, PRIVATE)
        except BadPacket:
            continue
        raise AssertionError(f"seed {seed}: {data.hex()}")


@given(msgpack_like)
def test_a_damaged_store_is_refused_as_such(data: bytes) -> None:
    """Invites and certificates of another making stop the start with one line."""
    with pytest.raises(ConfigError, match="damaged"):
        Invites(Outbox(), [(bytes(32), data)])
    with pytest.raises(ConfigError, match="damaged"):
        IssuedLedger([(bytes(16), data)])
