"""Any bytes of a client and of a server: no exception, no second reading of either.

The oracle is strict: whatever a server gets through the proxy must be heads that are
not ambiguous (`check_head`), each with a body of the length it says, and whatever the
client gets must be responses to its requests, then nothing or a broken one.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import h11
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_heads import check_head
from meshnode.proxy.http_rules import RuleBook
from meshnode.proxy.http_targets import check_host_field, parse_authority, parse_url
from tests.http_parts import OK, Stream, talk

LINES = [
    b"GET http://a/ HTTP/1.1\r\n",
    b"HEAD http://a/ HTTP/1.0\r\n",
    b"POST http://a/x?y HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"GET /proxy.pac HTTP/1.1\r\n",
    b"TRACE http://a/ HTTP/1.1\r\n",
    b"OPTIONS http://a HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 304 \r\n",
    b"Host: a\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade, te\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"Trailer: x\r\n",
    b"Via: 1.1 here\r\n",
    b"Max-Forwards: 0\r\n",
    b"X: y\r\n",
    b"\r\n",
    b"\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"\n",
    b" ",
    b"\0",
]
pieces = st.one_of(
    st.lists(st.sampled_from(LINES), max_size=14).map(b"".join),
    st.binary(max_size=80),
)
VALID = (
    b"POST http://a.example/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n"
    b"Cookie: a=b\r\n\r\nabc"
    b"PUT http://[::1]:8080/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"TE: trailers\r\nConnection: TE\r\n\r\n3\r\nabc\r\n0\r\nSum: 1\r\n\r\n"
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
)


def run(function: Callable[[], Awaitable[bytes]]) -> bytes:
    """Run in a time that does not pass."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    data: bytes = trio.run(function, clock=clock)
    return data


def assert_whole_requests(data: bytes, *, is_ended: bool) -> None:
    """What a server got is requests that can be read in one way only."""
    while data:
        head, end, _ = data.partition(b"\r\n\r\n")
        if not end:
            assert not is_ended
            return
        check_head(head + end)
        http = h11.Connection(h11.SERVER)
        http.receive_data(data)
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Request):
                assert event.target.startswith(b"/") or event.target == b"*"
                assert sum(name == b"via" for name, _ in event.headers) >= 1
                if b"upgrade" in dict(event.headers):
                    return  # what follows may be anything
        data = http.trailing_data[0]


class Recorder:
    """A server that keeps what it gets, and gives its answer to each piece."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.got: list[bytes] = []

    async def __call__(self, stream: Stream) -> None:
        """Serve one connection."""
        number = len(self.got)
        self.got.append(b"")
        while data := await stream.receive_some(65536):
            self.got[number] += data
            await stream.send_all(self.answer)


def check(data: bytes, answer: bytes) -> None:
    """Let a client send *data* and a server answer *answer* to whatever it gets."""
    recorder = Recorder(answer)

    async def exchange() -> bytes:
        return await talk(data, recorder)

    got = run(exchange)
    assert not got or got.startswith(b"HTTP/1.1 ")
    for requests in recorder.got:
        if b"CONNECT" not in data:
            assert_whole_requests(requests, is_ended=False)


@given(pieces)
def test_any_client(data: bytes) -> None:
    """Before a server that answers well."""
    check(data, OK)


@given(pieces)
def test_any_server(answer: bytes) -> None:
    """Before a client that asks well."""
    check(VALID, answer)


@given(pieces, pieces)
def test_any_client_of_any_server(data: bytes, answer: bytes) -> None:
    """Both at once."""
    check(data, answer)


def test_mutated_requests(rng: random.Random, seed: int) -> None:
    """Good ones with bytes changed, lost and doubled."""
    for _ in range(300):
        data = bytearray(VALID)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 20)]
                case _:
                    data[place:place] = data[place : place + rng.randint(1, 20)]
        try:
            check(bytes(data), OK)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {bytes(data)!r}") from error


@given(st.binary(max_size=60).map(lambda rest: b"http://" + rest) | st.binary())
def test_any_target(target: bytes) -> None:
    """A fault, or a place that is canonical and a path that begins with a slash."""
    for parse in (parse_url, parse_authority, check_host_field):
        try:
            found = parse(target)
        except HttpFault:
            continue
        if parse is parse_url:
            assert found is not None
            again = parse_url(f"http://{found.authority}{found.path}".encode())
            assert (again.place, again.path) == (found.place, found.path)


@given(st.text(max_size=40))
def test_any_rule(entry: str) -> None:
    """Any text is an entry, or an error of the configuration."""
    with suppress(ConfigError):
        RuleBook(deny=[entry])
