"""Every spelling of a host has one canonical form."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import CodecError
from meshnode.proxy.http_hosts import canonical_host, split_authority, write_authority


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("ex%61mple%2eorg", "example.org"),
        ("under_score.x", "under_score.x"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("m%C3%BCnchen.example", "xn--mnchen-3ya.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F.0.1", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("10.66051", "10.1.2.3"),
        ("%31%32%37.0.0.1", "127.0.0.1"),
        ("１２７.0.0.1", "127.0.0.1"),
        ("127。0。0。1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0", "127.0.0.1"),
        ("0x", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[2001:DB8:0:0::0001]", "2001:db8::1"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("[::]", "::1"),
        ("[::ffff:0.0.0.0]", "127.0.0.1"),
    ],
)
def test_there_is_one_form(written: str, host: str) -> None:
    """The one that is compared, and connected to."""
    assert canonical_host(written) == host
    assert canonical_host(host) == host


@pytest.mark.parametrize(
    "written",
    [
        *("", ".", "..", "a..b", ".a", "a b", "a/b", "a@b", "a\0b", "a%00b", "a%2fb"),
        *("%ff", "%", "a" * 64, "a." * 127 + "aa", "x" * 3000, "ü" * 300, "\ud800"),
        *("256.0.0.1", "1.2.3.4.5", "08.0.0.1", "0x100000000", "4294967296", "a.1"),
        *(
            "9" * 30,
            "[1.2.3.4]",
            "[::1",
            "::1]",
            "[fe80::1%eth0]",
            "[[::1]]",
        ),
        *("[]", ":", "1:2", "fe80::1%251", "a%2eb:80", "*"),
    ],
)
def test_what_is_no_host_is_refused(written: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(CodecError):
        canonical_host(written)


@given(st.integers(0, 2**32 - 1))
def test_ipv4_is_read_as_the_c_library_reads_it(value: int) -> None:
    """In every notation that `inet_aton` takes."""
    a, b, c, d = value.to_bytes(4, "big")
    forms = [
        f"{a}.{b}.{c}.{d}",
        f"{a:#x}.{b:o}".replace(".", ".0", 1) + f".{c << 8 | d}",
        f"0{a:o}.{value & 0xFFFFFF:#X}",
        f"{value}",
        f"{value:#x}",
    ]
    expected = str(ipaddress.IPv4Address(value or 0x7F000001))
    for form in forms:
        assert socket.inet_aton(form) == value.to_bytes(4, "big")
        assert canonical_host(form) == expected


@given(st.integers(0, 2**128 - 1))
def test_ipv6_has_one_form(value: int) -> None:
    """In capitals, written out, and in brackets."""
    address = ipaddress.IPv6Address(value)
    form = canonical_host(str(address))
    assert canonical_host(f"[{address.exploded.upper()}]") == form
    assert canonical_host(form) == form


@given(st.text(max_size=60))
def test_any_text_has_a_stable_form_or_none(text: str) -> None:
    """Nothing but CodecError is raised."""
    try:
        host = canonical_host(text)
    except CodecError:
        return
    assert host.isascii()
    assert canonical_host(host) == host
    assert split_authority(write_authority(host, 80, 80), 80) == (host, 80)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", ("a", 80)),
        ("a:", ("a", 80)),
        ("A.:8080", ("a", 8080)),
        ("[::1]", ("::1", 80)),
        ("[::1]:1", ("::1", 1)),
        ("1.2.3.4:00443", ("1.2.3.4", 443)),
    ],
)
def test_authorities(text: str, found: tuple[str, int]) -> None:
    """With and without a port."""
    assert split_authority(text, 80) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", ":80", "a:0", "a:65536", "a:-1", "a:+1", "a: 1", "a:1:2", "a:٣", "u@a:1"),
        *("[::1]x", "[::1]:", "[::1", "::1:80"),
    ],
)
def test_bad_authorities(text: str) -> None:
    """A port that must be there is asked for."""
    with pytest.raises(CodecError):
        split_authority(text, None)


def test_authorities_are_written() -> None:
    """IPv6 in brackets, the default port left out."""
    assert write_authority("::1", 80, 80) == "[::1]"
    assert write_authority("::1", 80) == "[::1]:80"
    assert write_authority("a", 81, 80) == "a:81"
