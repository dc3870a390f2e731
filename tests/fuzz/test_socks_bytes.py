"""Any bytes of a SOCKS client, of a proxy, and in datagrams: one kind of error."""

import tracemalloc
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.proxies import Credentials, Socks5
from meshnode.codec.socks import (
    Command,
    checked_host,
    decode_datagram,
    encode_datagram,
)
from meshnode.errors import CodecError
from meshnode.proxy.socks_dialogue import MAX_REST, SocksDialogue
from meshnode.proxy.socks_messages import Login, Request
from meshnode.types import Target

PIECES = (
    *(b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x05\x00", b"\x01\x05carol\x06s3cret"),
    *(b"\x05\x01\x00\x01", b"\x05\x02\x00\x03\x09a.example", b"\x05\x03\x00\x04"),
    *(b"\x04\x01\x00\x50", b"\x04\x02\x00\x15", b"\0\0\0\x01", b"\x7f\0\0\x01"),
    *(b"carol\0", b"a.example\0", b"\0", b"\xff", b"\r\n\r\n", b"GET / HTTP/1.1\r\n"),
)
STREAMS = st.lists(
    st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=300)),
    max_size=10,
).map(b"".join)

Heard = tuple[list[Login | Request], bytes, bytes, bool]


def hear(pieces: list[bytes], *, wants_login: bool, is_known: bool) -> Heard:
    """Let a client say *pieces*: events, answer, what is left, whether it failed."""
    dialogue = SocksDialogue(wants_login=wants_login)
    events: list[Login | Request] = []
    answer = b""
    try:
        for piece in pieces:
            dialogue.receive(piece)
            while event := dialogue.next_event():
                events.append(event)
                if isinstance(event, Login):
                    dialogue.answer_login(is_known=is_known)
    except CodecError:
        answer = dialogue.data_to_send()
        assert dialogue.next_event() is None
        return events, answer, b"", True
    return events, dialogue.data_to_send(), dialogue.rest, False


@given(
    STREAMS,
    st.lists(st.integers(1, 40), min_size=1, max_size=10),
    st.booleans(),
    st.booleans(),
)
def test_clients_may_say_anything(
    data: bytes, sizes: list[int], wants_login: bool, is_known: bool
) -> None:
    """However it is cut, the same is understood; nobody gets by without a login."""
    pieces, at = [], 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    cut = hear(pieces, wants_login=wants_login, is_known=is_known)
    events, answer, rest, _ = cut
    assert hear([data], wants_login=wants_login, is_known=is_known) == cut
    assert len(answer) <= 16
    assert data.endswith(rest)
    for event in events:
        if isinstance(event, Request):
            assert checked_host(event.target.host) == event.target.host
            assert 0 <= event.target.port <= 65535
            assert event.version == 5 or event.command != Command.UDP_ASSOCIATE
            assert not wants_login or (is_known and isinstance(events[0], Login))
    assert sum(isinstance(event, Request) for event in events) <= 1


def test_memory_has_a_bound() -> None:
    """A client that never comes to an end is given up, not kept."""
    dialogue = SocksDialogue(wants_login=True)
    dialogue.receive(b"\x05\x01\x02\x01\x01a\x01b")
    tracemalloc.start()
    with suppress(CodecError):
        for _ in range(10_000):
            dialogue.receive(bytes(1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MAX_REST


@given(
    st.sampled_from(Command),
    st.booleans(),
    st.lists(
        st.one_of(
            st.sampled_from((b"\x05\0", b"\x05\x02", b"\x01\0", b"\x05\0\0\x01")),
            st.binary(min_size=1, max_size=32),
        ),
        max_size=8,
    ),
)
def test_proxies_may_say_anything(
    command: Command, has_user: bool, pieces: list[bytes]
) -> None:
    """Open, waiting or refused; and as long as it is not open, more is wanted."""
    credentials = Credentials("carol", "s3cret") if has_user else Credentials()
    dialogue = Socks5(Target("a.example", 1), credentials, command)
    with suppress(CodecError):
        for piece in pieces:
            dialogue.receive(piece)
            assert (dialogue.wanted > 0) == (not dialogue.is_open)
            assert Target(dialogue.place.host, 0).address is not None
    assert len(dialogue.data_to_send()) < 200


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda b: bytes(3) + b))
def test_datagrams_may_be_anything(data: bytes) -> None:
    """What is taken can be said again."""
    try:
        content, target = decode_datagram(data)
    except CodecError:
        return
    again = encode_datagram(content, target)
    assert decode_datagram(again) == (content, target)
    assert len(again) <= len(data) or target.address is not None
