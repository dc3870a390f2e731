"""Invite tokens: what they carry, and how the three ways to get one wrong differ."""

import random

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.errors import ConfigError
from meshnode.mesh.token import Token, check_host_port, parse_token


def make_token(rng: random.Random, **fields: object) -> Token:
    """Return a token, with some fields set."""
    values = {
        "network_id": rng.randbytes(16),
        "invite_private": PrivateKey(rng.randbytes(32)),
        "issuer_key": rng.randbytes(32),
        "endpoints": ("vpn.example.org:51820", "[2001:db8::1]:51820"),
        "expires": 1_800_000_000,
        "network": "home",
    } | fields
    return Token(**values)  # type: ignore[arg-type]


def test_a_token_survives_its_text(rng: random.Random) -> None:
    """Every field comes back."""
    token = make_token(rng)
    assert parse_token(token.serialise()) == token


def test_a_common_token_is_short(rng: random.Random) -> None:
    """A token with one named endpoint fits into three lines of a terminal."""
    token = make_token(rng, endpoints=("vpn.example.org:51820",))
    assert len(token.serialise()) <= 192


def test_blanks_and_line_breaks_do_not_count(rng: random.Random) -> None:
    """A token that a mail programme wrapped is still a token."""
    token = make_token(rng)
    text = token.serialise()
    wrapped = "\n".join(text[i : i + 40] + " " for i in range(0, len(text), 40))
    assert parse_token(wrapped) == token


def test_the_secret_is_never_printed(rng: random.Random) -> None:
    """Neither repr nor str shows the invite's private key."""
    token = make_token(rng)
    secret = token.invite_private.reveal()
    for text in (repr(token), str(token)):
        assert "hidden" in text
        assert repr(secret) not in text
        assert secret.hex() not in text


@pytest.mark.parametrize(
    "text", ["", "hello", "MN1abc", "https://x/mn1", "m n", "mnx1"]
)
def test_other_text_is_no_token(text: str) -> None:
    """What does not begin as tokens do is named so."""
    with pytest.raises(ConfigError, match="this is no invite"):
        parse_token(text)


def test_a_huge_text_is_no_token() -> None:
    """Length is looked at first."""
    with pytest.raises(ConfigError, match="this is no invite"):
        parse_token("mn1" + "A" * 10**6)


def test_a_later_version_is_told_apart(rng: random.Random) -> None:
    """A token of a later format asks for a later meshnode."""
    with pytest.raises(ConfigError, match="upgrade"):
        parse_token("mn2" + make_token(rng).serialise()[3:])


def test_every_cut_and_every_typo_is_told(rng: random.Random) -> None:
    """A token cut anywhere, or with one character changed, is called damaged."""
    text = make_token(rng).serialise()
    for end in range(3, len(text)):
        with pytest.raises(ConfigError, match="cut short or mistyped"):
            parse_token(text[:end])
    for place in range(3, len(text)):
        wrong = "x" if text[place] != "x" else "y"
        with pytest.raises(ConfigError, match="cut short or mistyped"):
            parse_token(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network_id", b"short"),
        ("issuer_key", b"short"),
        ("endpoints", ()),
        ("endpoints", ("a:1",) * 9),
        ("endpoints", ("nowhere",)),
        ("expires", 0),
        ("expires", 2**40),
        ("network", "Not a label"),
    ],
)
def test_a_token_out_of_range_is_not_made(
    rng: random.Random, field: str, value: object
) -> None:
    """What could not be read back is refused when it is written."""
    with pytest.raises(ConfigError):
        make_token(rng, **{field: value}).serialise()


@pytest.mark.parametrize(
    "text",
    [
        *("192.0.2.1:1", "[2001:db8::1]:65535", "a:80", "a-b.example.org:51820"),
        *("example.org.:51820", "_x.example:1", "1a.example:1"),
    ],
)
def test_host_and_port_are_taken(text: str) -> None:
    """Names, IPv4 and bracketed IPv6 addresses with a port."""
    assert check_host_port(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a", "a:", ":1", "a:0", "a:65536", "a:01", "a:-1", "a:1x", "a:²"),
        *("2001:db8::1:80", "[192.0.2.1]:80", "[2001:db8::1]", "[fe80::1%eth0]:1"),
        *("300.1.1.1:80", "1.2.3:80", "-a:1", "a-:1", "a..b:1", "a b:1", "é:1"),
        *("a/b:1", "a\n:1", "x" * 64 + ":1", "a." * 130 + "a:1"),
    ],
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    """Nothing that could not be resolved or dialled."""
    with pytest.raises(ConfigError, match="HOST:PORT"):
        check_host_port(text)
