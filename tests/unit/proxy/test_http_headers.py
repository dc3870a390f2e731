"""Which header fields go on, and which are for one hop."""

import base64

import h11
import pytest

from meshnode.proxy import http_headers
from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_changes import HeaderChanges

Pairs = list[tuple[str, str]]
NO_CHANGES = HeaderChanges()


def request(
    *fields: tuple[str, str], method: str = "GET", version: str = "1.1"
) -> h11.Request:
    """A request with these fields."""
    return h11.Request(
        method=method,
        target="http://a/",
        headers=[("Host", "other"), *fields],
        http_version=version,
    )


def sent(message: h11.Request, changes: HeaderChanges = NO_CHANGES) -> Pairs:
    """The fields that a server gets."""
    fields = http_headers.request_fields(message, host="a", via="us", changes=changes)
    return [(name.decode(), value.decode()) for name, value in fields]


def test_the_rest_stays_in_order_and_as_it_was_written() -> None:
    """Also fields that are there several times."""
    fields = [("X-b", "1"), ("x-A", "2"), ("X-b", "3"), ("Cookie", "c=1")]
    assert sent(request(*fields)) == [("Host", "a"), *fields, ("Via", "1.1 us")]


def test_fields_for_one_hop_are_taken_off() -> None:
    """Those that RFC 9110 names, and those that Connection names."""
    fields = [
        ("Connection", "close, X-Secret"),
        ("connection", "x-other ,"),
        *(("X-Secret", "1"), ("X-Other", "2"), ("Keep-Alive", "3")),
        *(("Proxy-Connection", "4"), ("Proxy-Authorization", "5")),
        *(("Proxy-Authenticate", "6"), ("Proxy-Authentication-Info", "7")),
    ]
    assert sent(request(*fields)) == [("Host", "a"), ("Via", "1.1 us")]


def test_connection_cannot_take_off_what_is_needed() -> None:
    """Or a body would have no end, and a loop no trace."""
    fields = [
        ("Connection", "host, content-length, via"),
        ("Content-Length", "5"),
        ("Via", "1.1 x"),
    ]
    assert sent(request(*fields)) == [("Host", "a"), *fields[1:], ("Via", "1.1 us")]


def test_trailers_are_asked_for_as_the_client_does() -> None:
    """For ourselves, since TE is for one hop."""
    asked = sent(request(("TE", "gzip;q=1, trailers"), ("Connection", "TE")))
    assert ("TE", "trailers") in asked
    assert ("Connection", "TE") in asked
    assert ("Connection", "TE") not in sent(request(("TE", "gzip")))


def test_bodies_are_sent_as_they_come() -> None:
    """In chunks or of a length."""
    chunked = request(("Transfer-Encoding", "chunked"))
    assert ("Transfer-Encoding", "chunked") in sent(chunked)
    assert http_headers.has_body(chunked)
    assert http_headers.has_body(request(("Content-Length", "1")))
    assert not http_headers.has_body(request(("Content-Length", "00")))
    assert not http_headers.has_body(request())


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([("Upgrade", "websocket"), ("Connection", "upgrade")], b"websocket"),
        ([("Upgrade", "a"), ("Upgrade", "b"), ("Connection", "x, UPGRADE")], b"a, b"),
        ([("Upgrade", "websocket")], b""),
        ([("Connection", "upgrade")], b""),
        ([("Upgrade", "h2c"), ("Connection", "upgrade")], b""),
        ([("Upgrade", "websocket, H2C"), ("Connection", "upgrade")], b""),
        ([("Upgrade", "HTTP/2.0"), ("Connection", "upgrade")], b""),
        ([("Upgrade", "x"), ("Connection", "upgrade"), ("Content-Length", "1")], b""),
    ],
)
def test_upgrades(fields: Pairs, wanted: bytes) -> None:
    """Only what Connection names, not to HTTP/2, and not behind a body."""
    message = request(*fields)
    assert http_headers.wanted_upgrade(message) == wanted
    assert (("Upgrade", wanted.decode()) in sent(message)) == bool(wanted)


def test_old_clients_are_not_told_to_continue() -> None:
    """Nor do they upgrade."""
    old = request(("Expect", "100-continue"), version="1.0")
    assert sent(old) == [("Host", "a"), ("Via", "1.0 us")]
    assert ("Expect", "100-continue") in sent(request(("Expect", "100-continue")))
    upgrade = request(("Upgrade", "x"), ("Connection", "upgrade"), version="1.0")
    assert not http_headers.wanted_upgrade(upgrade)


def test_changes() -> None:
    """Set in place of what there is, whatever its case, and removed."""
    changes = HeaderChanges.parse(["X-A: new ", "Empty:"], ["REFERER"])
    fields = [("x-a", "old"), ("X-A", "older"), ("Referer", "r"), ("B", "b")]
    assert sent(request(*fields), changes)[1:-1] == [
        *(("B", "b"), ("X-A", "new"), ("Empty", "")),
    ]


def test_responses() -> None:
    """The same for what comes back; an upgrade is ours to name."""
    fields = [("Set-Cookie", "a"), ("Connection", "close"), ("Proxy-Authenticate", "x")]
    response = h11.Response(status_code=200, headers=fields, http_version="1.0")
    assert http_headers.response_fields(response, "us") == [
        *((b"Set-Cookie", b"a"), (b"Via", b"1.0 us")),
    ]
    fields = [("Upgrade", "websocket"), ("Connection", "x, upgrade"), ("x", "y")]
    switch = h11.InformationalResponse(status_code=101, headers=fields)
    assert http_headers.response_fields(switch, "us") == [
        *((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Via", b"1.1 us")),
    ]


def test_trailers_are_no_headers() -> None:
    """What decides about length, place or person may not come late."""
    fields = [(b"Digest", b"1"), (b"Content-Length", b"2"), (b"SET-cookie", b"3")]
    fields += [(b"Host", b"4"), (b"Connection", b"5"), (b"Authorization", b"6")]
    assert http_headers.trailer_fields(fields) == fields[:1]


@pytest.mark.parametrize(
    ("via", "known"),
    [
        ("1.1 us", True),
        ("HTTP/1.1 US (a comment)", True),
        ("1.0 x, 1.1 us", True),
        ("1.1 x (us)", False),
        ("1.1 us.example", False),
        ("us", False),
        ("", False),
    ],
)
def test_loops(via: str, known: bool) -> None:
    """We know our name, in any case, where a name stands."""
    assert (
        http_headers.has_passed(request(("Via", "1.0 y"), ("Via", via)), "us") == known
    )


def test_max_forwards() -> None:
    """Of TRACE and OPTIONS only."""

    def left(value: str, method: str) -> int | None:
        return http_headers.forwards_left(
            request(("Max-Forwards", value), method=method)
        )

    assert left("3", "TRACE") == 3
    assert left("0", "OPTIONS") == 0
    assert left("0", "GET") is None
    assert http_headers.forwards_left(request(method="TRACE")) is None
    for bad in ("-1", "x", "", "1" * 10, "1, 1"):
        with pytest.raises(HttpFault):
            left(bad, "TRACE")
    assert http_headers.with_forwards([(b"max-forwards", b"3"), (b"a", b"3")], 2) == [
        *((b"max-forwards", b"2"), (b"a", b"3")),
    ]


def encoded(text: str) -> str:
    """The value of an Authorization field."""
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_credentials() -> None:
    """Any text, a colon in the password, none in the name."""

    def given(*values: str) -> tuple[str, str] | None:
        return http_headers.basic_credentials(
            request(*(("Proxy-Authorization", value) for value in values))
        )

    assert given(encoded("carol:a:b")) == ("carol", "a:b")
    assert given(encoded("ü:ß").replace("Basic", "bASIC")) == ("ü", "ß")
    assert given(encoded(":")) == ("", "")
    for bad in (
        "",
        "Basic",
        "Basic !",
        "Basic " + "/w==",
        "Bearer x",
        encoded("carol"),
    ):
        assert given(bad) is None
    assert given() is None
    assert given(encoded("a:b"), encoded("a:b")) is None
