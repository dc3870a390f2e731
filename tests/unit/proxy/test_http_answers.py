"""What the proxy says itself."""

import h11
import pytest

from meshnode.proxy import http_answers
from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.outlets import OutletError, Refusal


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_a_status_and_advice(refusal: Refusal) -> None:
    """In one line that names the place."""
    fault = http_answers.fault_of(OutletError(refusal, "inner text"), "a:80")
    assert 400 <= fault.status < 600
    assert fault.text.startswith(f"a:80: {refusal.value}; ")
    assert fault.text.isprintable()


def test_faults_are_whole_responses() -> None:
    """Of a known length, kept by nobody."""
    response, body = http_answers.fault_answer(HttpFault(504, "too slow"), closes=True)
    fields = dict(response.headers)
    assert (response.status_code, response.reason) == (504, b"Gateway Timeout")
    assert body == b"meshnode: too slow\n"
    assert int(fields[b"content-length"]) == len(body)
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"connection"] == b"close"


def test_who_is_asked_for_a_password_is_told_how() -> None:
    """And the connection stays."""
    response, _ = http_answers.fault_answer(HttpFault(407, "who?"), closes=False)
    fields = dict(response.headers)
    assert fields[b"proxy-authenticate"].startswith(b"Basic realm=")
    assert b"connection" not in fields


def test_the_busy_answer_is_http() -> None:
    """It is written by hand, so that it costs nothing."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    http.send(h11.EndOfMessage())
    http.receive_data(http_answers.BUSY)
    events = [http.next_event() for _ in range(3)]
    assert isinstance(events[0], h11.Response)
    assert events[0].status_code == 503
    assert isinstance(events[2], h11.EndOfMessage)
    assert not http.trailing_data[0]


def test_pages() -> None:
    """Two, for GET and HEAD; the query means nothing."""

    def page(method: str, target: str, pac: str | None = "pac") -> bytes:
        request = h11.Request(method=method, target=target, headers=[("host", "a")])
        return http_answers.own_page(request, pac)[1]

    assert page("GET", "/proxy.pac?x") == b"pac"
    assert page("HEAD", "/").count(b"\n") == 1
    for method, target in (("GET", "/x"), ("PUT", "/"), ("GET", "*"), ("GET", "//")):
        with pytest.raises(HttpFault):
            page(method, target)
    with pytest.raises(HttpFault):
        page("GET", "/proxy.pac", None)


def test_a_trace_shows_the_request_without_secrets() -> None:
    """Whoever reads it may not be who sent it."""
    request = h11.Request(
        method="TRACE", target="/", headers=[("Host", "a"), ("Cookie", "c"), ("X", "y")]
    )
    response, body = http_answers.trace_answer(request, frozenset((b"cookie",)))
    assert body == b"TRACE / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    assert dict(response.headers)[b"content-type"] == b"message/http"
    assert http_answers.options_answer()[1] == b""
