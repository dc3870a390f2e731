"""Heads that two parsers may read differently are refused before one does."""

import h11
import pytest

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_heads import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    check_head,
    check_response,
    find_head,
)

LINE = b"POST http://a/ HTTP/1.1\r\nHost: a\r\n"


def status_of(head: bytes) -> int:
    """The status that *head* is refused with, 0 if it is not."""
    try:
        size = find_head(head)
        assert size == len(head)
        check_head(head)
    except HttpFault as fault:
        return fault.status
    return 0


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Content-Length: 5\r\n",
        b"content-length:\t5 \r\n",
        b"Transfer-Encoding: Chunked\r\n",
        b"X:\x01\xff\r\n" * 90,
    ],
)
def test_sound_heads_pass(fields: bytes) -> None:
    """With one length or none."""
    assert status_of(LINE + fields + b"\r\n") == 0


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\ncontent-length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 1_0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length: " + b"1" * 19 + b"\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"X: a\r\n b\r\n",
        b"X: a\r\n\tContent-Length: 5\r\n",
        b" X: a\r\n",
        b"X: a\nContent-Length: 5\r\n",
        b"X: a\rContent-Length: 5\r\n",
        b"X: a\r\r\n",
    ],
)
def test_ambiguous_heads_are_refused(fields: bytes) -> None:
    """With 400, whatever h11 would make of them."""
    assert status_of(LINE + fields + b"\r\n") == 400


def test_codings_and_versions() -> None:
    """Only chunked is known, not to HTTP/1.0, and there are two versions."""
    for coding in (
        b"gzip, chunked",
        b"chunked, chunked",
        b"identity",
        b"xchunked",
        b"",
    ):
        assert status_of(LINE + b"Transfer-Encoding: " + coding + b"\r\n\r\n") == 501
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(b"POST http://a/ HTTP/1.0\r\n" + chunked) == 400
    for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1x"):
        assert status_of(b"GET http://a/ " + version + b"\r\n\r\n") == 505
    for line in (b"GET", b"GET  / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /"):
        assert status_of(line + b"\r\n\r\n") == 400


def test_no_http_is_noticed_at_once() -> None:
    """A TLS hello, an empty line feed."""
    for data in (b"\x16\x03\x01", b"\n", b"\r", b" GET", b"\0"):
        with pytest.raises(HttpFault) as found:
            find_head(data)
        assert found.value.status == 400


def test_sizes() -> None:
    """Each limit has its status, also while the head is not whole."""
    target = b"http://a/" + b"x" * (MAX_TARGET - 9)
    assert status_of(b"GET %s HTTP/1.1\r\n\r\n" % target) == 0
    assert status_of(b"GET %sx HTTP/1.1\r\n\r\n" % target) == 414
    many = b"A: b\r\n" * MAX_FIELDS
    assert status_of(LINE[:-9] + many + b"\r\n") == 0
    assert status_of(LINE + many + b"\r\n") == 431
    for endless, status in ((b"G" * 10_000, 414), (LINE + b"X" * MAX_HEAD, 431)):
        with pytest.raises(HttpFault) as found:
            find_head(endless)
        assert found.value.status == status


def test_a_head_is_found_in_pieces() -> None:
    """Wherever they are cut."""
    data = LINE + b"\r\nbody"
    for cut in range(len(data)):
        piece = data[:cut]
        expected = len(LINE) + 2 if cut >= len(LINE) + 2 else None
        if piece:
            assert find_head(piece, min(cut, len(LINE))) == expected
    assert find_head(b"") is None


def test_responses_of_two_lengths_are_refused() -> None:
    """A server is as little trusted, but for the form of its lines."""

    def response(*fields: tuple[str, str], version: str = "1.1") -> h11.Response:
        return h11.Response(status_code=200, headers=list(fields), http_version=version)

    length, chunked = ("Content-Length", "1"), ("Transfer-Encoding", "chunked")
    for good in (response(length), response(chunked), response(version="1.0")):
        check_response(good)
    for bad in (response(length, chunked), response(chunked, version="1.0")):
        with pytest.raises(HttpFault) as found:
            check_response(bad)
        assert found.value.status == 502
