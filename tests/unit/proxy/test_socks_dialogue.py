"""Clients of all versions, word for word, and those that are refused."""

import pytest

from meshnode.codec.proxies import Credentials, Socks5
from meshnode.codec.socks import Command
from meshnode.errors import CodecError
from meshnode.proxy.socks_dialogue import MAX_REST, SocksDialogue
from meshnode.proxy.socks_messages import Login, Request, encode_granted
from meshnode.types import Endpoint, Target

HELLO = b"\x05\x01\x00"
HELLO_USER = b"\x05\x02\x00\x02"
LOGIN = b"\x01\x05carol\x06s3cret"
CONNECT = bytes.fromhex("05010001c000020701bb")
FOUR = bytes.fromhex("040101bbc0000207") + b"carol\0"
FOUR_A = bytes.fromhex("040101bb00000001") + b"carol\0a.example\0"
REFUSED_4 = "005b" + "00" * 6


def said(*pieces: bytes) -> tuple[SocksDialogue, Request]:
    """Let a client say *pieces* where no login is wanted."""
    dialogue = SocksDialogue(wants_login=False)
    for piece in pieces:
        dialogue.receive(piece)
    request = dialogue.next_event()
    assert isinstance(request, Request)
    assert dialogue.next_event() is None
    return dialogue, request


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (FOUR, Request(4, Command.CONNECT, Target("192.0.2.7", 443))),
        (FOUR_A, Request(4, Command.CONNECT, Target("a.example", 443))),
        (HELLO + CONNECT, Request(5, Command.CONNECT, Target("192.0.2.7", 443))),
        (
            HELLO + b"\x05\x03\x00\x03\x09a.example\x00\x35",
            Request(5, Command.UDP_ASSOCIATE, Target("a.example", 53)),
        ),
        (
            HELLO + b"\x05\x02\x00\x04" + bytes(15) + b"\x01\x00\x15",
            Request(5, Command.BIND, Target("::1", 21)),
        ),
    ],
)
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n"])
def test_requests(words: bytes, request_: Request, rest: bytes) -> None:
    """In one piece or byte by byte; what follows stays."""
    for pieces in ([words + rest], [bytes([one]) for one in words + rest]):
        dialogue, request = said(*pieces)
        assert request == request_
        assert dialogue.rest == rest
        assert dialogue.data_to_send() == (b"\x05\x00" if request.version == 5 else b"")


def test_login_before_the_request() -> None:
    """RFC 1929; the client may have said everything at once."""
    dialogue = SocksDialogue(wants_login=True)
    dialogue.receive(HELLO_USER + LOGIN + CONNECT + b"rest")
    assert dialogue.data_to_send() == b"\x05\x02"
    assert dialogue.next_event() == Login("carol", "s3cret")
    assert dialogue.next_event() is None
    dialogue.answer_login(is_known=True)
    assert dialogue.data_to_send() == b"\x01\x00"
    assert isinstance(dialogue.next_event(), Request)
    assert dialogue.rest == b"rest"


def test_login_that_is_wrong() -> None:
    """It is told, and nothing more is heard."""
    dialogue = SocksDialogue(wants_login=True)
    dialogue.receive(HELLO_USER + LOGIN + CONNECT)
    dialogue.next_event()
    with pytest.raises(CodecError, match="refused"):
        dialogue.answer_login(is_known=False)
    assert dialogue.data_to_send() == b"\x05\x02\x01\x01"
    with pytest.raises(CodecError):
        dialogue.receive(CONNECT)
    assert dialogue.next_event() is None


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (b"\x06", ""),
        (b"GET / HTTP/1.1\r\n", ""),
        (b"\x05\x00", "05ff"),
        (b"\x05\x02\x01\x02", "05ff"),
        (HELLO + b"\x04\x01\x00\x01", "0500"),
        (HELLO + b"\x05\x04\x00\x01", "050005070001" + "00" * 6),
        (HELLO + b"\x05\x01\x00\x02", "050005080001" + "00" * 6),
        (HELLO + b"\x05\x01\x00\x03\x00\0\0", "050005010001" + "00" * 6),
        (HELLO + b"\x05\x01\x00\x03\x02\xc3\xa4\0\0", "050005010001" + "00" * 6),
        (HELLO + b"\x05\x01\x00\x03\x02a\n\0\0", "050005010001" + "00" * 6),
        (b"\x04\x03" + FOUR[2:], REFUSED_4),
        (FOUR[:8] + b"x" * 256, REFUSED_4),
        (FOUR_A[:14] + b"x" * 256, REFUSED_4),
        (FOUR_A[:14] + b"\0", REFUSED_4),
        (FOUR_A[:14] + b"a b\0", REFUSED_4),
    ],
)
def test_refusals(words: bytes, answer: str) -> None:
    """In the client's own protocol, if it speaks one."""
    dialogue = SocksDialogue(wants_login=False)
    with pytest.raises(CodecError):
        dialogue.receive(words)
    assert dialogue.data_to_send().hex() == answer
    assert dialogue.next_event() is None


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (HELLO, "05ff"),
        (FOUR, REFUSED_4),
        (HELLO_USER + b"\x02\x01a\x01b", "0502"),
        (HELLO_USER + b"\x01\x01\xff\x01b", "05020101"),
    ],
)
def test_refusals_where_a_login_is_wanted(words: bytes, answer: str) -> None:
    """Nobody gets by who says nothing of itself, whatever the version."""
    dialogue = SocksDialogue(wants_login=True)
    with pytest.raises(CodecError):
        dialogue.receive(words)
    assert dialogue.data_to_send().hex() == answer


def test_client_that_says_too_much() -> None:
    """What is kept ahead of an answer has a bound."""
    dialogue = SocksDialogue(wants_login=True)
    dialogue.receive(HELLO_USER + LOGIN)
    dialogue.receive(bytes(MAX_REST))
    with pytest.raises(CodecError, match="too much"):
        dialogue.receive(b"x")


@pytest.mark.parametrize("wants_login", [False, True])
def test_our_own_client(wants_login: bool) -> None:
    """The dialogue of `codec.proxies` is understood, and understands."""
    target = Target("a.example", 443)
    client = Socks5(target, Credentials("carol", "s3cret"))
    server = SocksDialogue(wants_login=wants_login)
    while not client.is_open:
        server.receive(client.data_to_send())
        event = server.next_event()
        if isinstance(event, Login):
            assert event == Login("carol", "s3cret")
            server.answer_login(is_known=True)
        client.receive(server.data_to_send())
        if isinstance(event, Request):
            assert event.target == target
            client.receive(encode_granted(event, Endpoint("192.0.2.1", 9)))
    assert client.place == Endpoint("192.0.2.1", 9)
