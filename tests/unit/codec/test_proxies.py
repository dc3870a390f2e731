"""What is said to a proxy, word for word, and what of its answers is believed."""

import pytest

from meshnode.codec.proxies import (
    MAX_ANSWER,
    Credentials,
    HttpConnect,
    ProxyDialogue,
    ProxyRefusal,
    Socks5,
    open_dialogue,
)
from meshnode.codec.socks import NOWHERE, Command
from meshnode.errors import CodecError
from meshnode.types import Endpoint, Target

V4, V6 = Target("192.0.2.7", 443), Target("2001:db8::7", 443)
NOBODY, CAROL = Credentials(), Credentials("carol", "s3:cret")


def hear(dialogue: ProxyDialogue, *pieces: bytes) -> None:
    """Let the proxy say *pieces*."""
    for piece in pieces:
        dialogue.receive(piece)


def test_connect_request() -> None:
    """The authority in request and Host; a user only if there is one."""
    assert HttpConnect(V4, NOBODY).data_to_send() == (
        b"CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n"
    )
    assert HttpConnect(V6, CAROL).data_to_send() == (
        b"CONNECT [2001:db8::7]:443 HTTP/1.1\r\nHost: [2001:db8::7]:443\r\n"
        b"Proxy-Authorization: Basic Y2Fyb2w6czM6Y3JldA==\r\n\r\n"
    )


def test_connect_is_open_after_the_head() -> None:
    """In one piece or byte by byte."""
    answer = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"
    whole, bytewise = HttpConnect(V4, NOBODY), HttpConnect(V4, NOBODY)
    hear(whole, answer)
    hear(bytewise, *[bytes([byte]) for byte in answer])
    assert whole.is_open
    assert bytewise.is_open


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Who\r\n\r\n", "another user"),
        (b"HTTP/1.1 503 No\r\n\r\n", r"refuses \(503\)"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16", "more than"),
        (b"HTTP/2 200 OK\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        (bytes(MAX_ANSWER + 1), "no end"),
    ],
)
def test_connect_refusals(answer: bytes, why: str) -> None:
    """In a line that says what it was."""
    with pytest.raises(CodecError, match=why):
        hear(HttpConnect(V4, NOBODY), answer)


def test_socks_without_a_user() -> None:
    """RFC 1928: one method, then the target."""
    dialogue = Socks5(V4, NOBODY)
    assert dialogue.data_to_send() == b"\x05\x01\x00"
    hear(dialogue, b"\x05", b"\x00")
    assert dialogue.data_to_send() == bytes.fromhex("05010001c000020701bb")
    hear(dialogue, bytes.fromhex("05000003"), b"\x03abc", b"\x01\xbb")
    assert dialogue.is_open


def test_socks_with_a_user() -> None:
    """RFC 1929, if the proxy wants it."""
    dialogue = Socks5(V6, CAROL)
    assert dialogue.data_to_send() == b"\x05\x02\x00\x02"
    hear(dialogue, b"\x05\x02")
    assert dialogue.data_to_send() == b"\x01\x05carol\x07s3:cret"
    hear(dialogue, b"\x01\x00")
    request = b"\x05\x01\x00\x04" + bytes.fromhex("20010db8" + "0" * 22 + "07")
    assert dialogue.data_to_send() == request + b"\x01\xbb"
    hear(dialogue, bytes.fromhex("05000001") + bytes(6))
    assert dialogue.is_open


@pytest.mark.parametrize(
    ("credentials", "pieces", "why"),
    [
        (NOBODY, [b"\x04\x00"], "no SOCKS5"),
        (NOBODY, [b"\x05\xff"], "another way"),
        (NOBODY, [b"\x05\x02"], "another way"),
        (CAROL, [b"\x05\x02", b"\x01\x01"], "another user"),
        (NOBODY, [b"\x05\x00", b"\x05\x05\x00\x01\x00"], "connection refused"),
        (NOBODY, [b"\x05\x00", b"\x05\x63\x00\x01\x00"], "code 99"),
        (NOBODY, [b"\x05\x00", b"\x05\x00\x00\x09\x00"], "no SOCKS5"),
        (NOBODY, [b"\x05\x00", b"\x05\x00\x00\x01" + bytes(7)], "more than"),
        (NOBODY, [b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6), b"x"], "more than"),
    ],
)
def test_socks_refusals(
    credentials: Credentials, pieces: list[bytes], why: str
) -> None:
    """In a line that says what it was."""
    with pytest.raises(CodecError, match=why):
        hear(open_dialogue("socks5", V4, credentials), *pieces)


def test_what_socks_cannot_say() -> None:
    """Its lengths are bytes."""
    with pytest.raises(CodecError, match="too long"):
        Socks5(V4, Credentials("carol", "x" * 256))
    assert isinstance(open_dialogue("http", V4, NOBODY), HttpConnect)


def test_names_stay_names() -> None:
    """The proxy looks them up; what could be a second header is refused."""
    name = Target("a.example", 443)
    assert HttpConnect(name, NOBODY).data_to_send().startswith(b"CONNECT a.example:443")
    dialogue = Socks5(name, NOBODY)
    dialogue.data_to_send()
    hear(dialogue, b"\x05\x00")
    assert dialogue.data_to_send() == b"\x05\x01\x00\x03\x09a.example\x01\xbb"
    for scheme in ("http", "socks5"):
        with pytest.raises(CodecError, match="no name"):
            open_dialogue(scheme, Target("a\r\nX: y", 1), NOBODY)


def test_no_more_is_wanted_than_the_answer() -> None:
    """Who reads so much leaves what the target says in the stream."""
    answers = {
        "http": b"HTTP/1.1 200 OK\r\nVia: \r\r\n\r\n",
        "socks5": b"\x05\x02\x01\x00" + bytes.fromhex("05000003") + b"\x03abc\0\0",
    }
    for scheme, answer in answers.items():
        dialogue, stream = open_dialogue(scheme, V4, CAROL), answer + b"SSH-2.0"
        while dialogue.wanted:
            heard, stream = stream[: dialogue.wanted], stream[dialogue.wanted :]
            dialogue.receive(heard)
        assert dialogue.is_open
        assert stream == b"SSH-2.0"


def test_socks_waits_for_a_call() -> None:
    """BIND: where to call, then who did."""
    dialogue = Socks5(V4, NOBODY, Command.BIND)
    hear(dialogue, b"\x05\x00")
    assert dialogue.data_to_send()[4] == 2
    hear(dialogue, bytes.fromhex("05000001c000020103e8"))
    assert dialogue.is_waiting
    assert not dialogue.is_open
    assert dialogue.place == Endpoint("192.0.2.1", 1000)
    hear(dialogue, bytes.fromhex("05000001c000020701bb"))
    assert dialogue.is_open
    assert not dialogue.is_waiting
    assert dialogue.place == Endpoint("192.0.2.7", 443)


def test_socks_asks_for_datagrams() -> None:
    """The answer says where to send them; of a name nothing is believed."""
    dialogue = Socks5(Target("0.0.0.0", 0), NOBODY, Command.UDP_ASSOCIATE)
    hear(dialogue, b"\x05\x00")
    assert dialogue.data_to_send()[3:] == bytes.fromhex("05030001" + "00" * 6)
    hear(dialogue, bytes.fromhex("05000003") + b"\x01\xff\x03\xe8")
    assert dialogue.is_open
    assert dialogue.place == NOWHERE


def test_refusals_have_codes() -> None:
    """For those who have to pass them on."""
    with pytest.raises(ProxyRefusal) as caught:
        hear(HttpConnect(V4, NOBODY), b"HTTP/1.1 504 No\r\n\r\n")
    assert caught.value.code == 504
    with pytest.raises(ProxyRefusal) as caught:
        hear(Socks5(V4, NOBODY), b"\x05\x00", b"\x05\x05\x00\x01\x00")
    assert caught.value.code == 5
