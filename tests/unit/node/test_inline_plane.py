"""Two planes over a wire in memory: a handshake, and control frames both ways."""

import random
from collections.abc import Callable

import pytest

from meshnode.codec.messages import Message, Ping, Pong
from meshnode.crypto.keys import PrivateKey
from meshnode.errors import CodecError, DropReason
from meshnode.node.inline_plane import InlinePlane
from meshnode.types import Datagram, Endpoint, Path

PLACES = (Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2))
NONCE = b"12345678"


class Side:
    """One plane at a place of its own, and what its peer said."""

    def __init__(
        self,
        rng: random.Random,
        private: PrivateKey,
        peer: PrivateKey,
        candidates: tuple[Endpoint, ...],
    ) -> None:
        self.heard: list[Message] = []
        self.begun: list[tuple[Endpoint, ...]] = []
        self.plane = InlinePlane(
            private,
            peer.public_key(),
            candidates,
            entropy=rng.randbytes,
            on_message=self.heard.append,
            on_begun=self._begin,
            now=0.0,
            wall=1.8e9,
        )

    def _begin(self, endpoints: tuple[Endpoint, ...]) -> list[Datagram]:
        self.begun.append(endpoints)
        return [Datagram(b"\x07\0\0\0 introduction", Path(e)) for e in endpoints]


class Wire:
    """Two sides; `fate` says what becomes of each datagram."""

    def __init__(self, rng: random.Random) -> None:
        keys = [PrivateKey(rng.randbytes(32)) for _ in range(2)]
        self.now = 0.0
        self.passed: list[bytes] = []
        self.fate: Callable[[bytes], bytes | None] = lambda data: data
        nowhere = Endpoint("198.51.100.9", 9)
        self.one = Side(rng, keys[0], keys[1], (nowhere, PLACES[1]))
        self.two = Side(rng, keys[1], keys[0], (PLACES[0],))

    def deliver(self) -> None:
        """Let everything arrive that is under way."""
        moved = True
        while moved:
            moved = False
            for origin, target, here, there in (
                (self.one, self.two, *PLACES),
                (self.two, self.one, *PLACES[::-1]),
            ):
                for datagram in origin.plane.datagrams_to_send():
                    self.passed.append(datagram.data)
                    data = self.fate(datagram.data)
                    if datagram.path.remote == there and data is not None:
                        moved = True
                        target.plane.receive(Datagram(data, Path(here)), now=self.now)

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            self.deliver()
            due = [
                (at, side)
                for side in (self.one, self.two)
                if (at := side.plane.next_deadline()) is not None and at <= until
            ]
            if not due:
                self.now = until
                return
            at, side = min(due, key=lambda one: one[0])
            self.now = max(self.now, at)
            side.plane.handle_deadline(now=self.now)


@pytest.fixture
def wire(rng: random.Random) -> Wire:
    """Two planes that know each other."""
    return Wire(rng)


def test_nothing_is_sent_unless_asked(wire: Wire) -> None:
    """A plane without a message is silent."""
    wire.run(300.0)
    assert wire.passed == []


def test_message_makes_a_session_and_arrives(wire: Wire) -> None:
    """And the answer, without another handshake; the introduction comes first."""
    wire.one.plane.send(Ping(NONCE), now=0.0)
    wire.run(1.0)
    assert wire.two.heard == [Ping(NONCE)]
    assert wire.one.plane.has_session
    assert wire.two.plane.has_session
    assert wire.one.begun == [(Endpoint("198.51.100.9", 9), PLACES[1])]
    assert [data[0] for data in wire.passed[:4]] == [7, 7, 1, 1]
    wire.two.plane.send(Pong(NONCE, PLACES[0]), now=1.0)
    wire.run(2.0)
    assert wire.one.heard == [Pong(NONCE, PLACES[0])]
    assert sum(data[0] == 1 for data in wire.passed) == 2
    assert wire.two.begun == []


def test_lost_handshake_is_tried_again(wire: Wire) -> None:
    """With its introduction; the message waits for it."""
    wire.fate = lambda data: None
    wire.one.plane.send(Ping(NONCE), now=0.0)
    wire.run(4.0)
    assert not wire.one.plane.has_session
    wire.fate = lambda data: data
    wire.run(20.0)
    assert wire.two.heard == [Ping(NONCE)]
    assert len(wire.one.begun) >= 2


def test_handshake_is_given_up(wire: Wire) -> None:
    """After a minute and a half nobody is asked any more, until there is a message."""
    wire.fate = lambda data: None
    wire.one.plane.send(Ping(NONCE), now=0.0)
    wire.run(200.0)
    wire.passed.clear()
    wire.run(400.0)
    assert wire.passed == []
    wire.fate = lambda data: data
    wire.one.plane.send(Pong(NONCE, None), now=400.0)
    wire.run(420.0)
    assert Pong(NONCE, None) in wire.two.heard


def test_damaged_datagrams_are_dropped(wire: Wire, rng: random.Random) -> None:
    """Whatever is flipped, cut or made up: no message comes of it, and no error."""

    def damage(data: bytes) -> bytes:
        place = rng.randrange(len(data))
        spoilt = data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]
        return rng.choice((spoilt, data[:place], rng.randbytes(len(data))))

    wire.fate = damage
    wire.one.plane.send(Ping(NONCE), now=0.0)
    wire.run(80.0)
    assert wire.two.heard == []
    assert len(wire.passed) > 10


def test_frame_that_is_no_message_is_ignored(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issuer may be of a later version; what it says next is heard."""
    wire.one.plane.send(Ping(NONCE), now=0.0)
    wire.run(1.0)
    name = "meshnode.node.inline_plane.encode_message"
    with monkeypatch.context() as patch:
        patch.setattr(name, lambda message: b"\x01\x02\x00\x91\x7f")
        wire.two.plane.send(Ping(NONCE), now=1.0)
    wire.two.plane.send(Pong(NONCE, None), now=1.0)
    wire.run(2.0)
    assert wire.one.heard == [Pong(NONCE, None)]


def test_error_of_who_listens_is_passed_on(wire: Wire) -> None:
    """A refusal ends the exchange in this way."""

    def refuse(message: Message) -> None:
        raise ValueError(DropReason.BAD_INNER.value)

    wire.two.plane._on_message = refuse
    wire.one.plane.send(Ping(NONCE), now=0.0)
    with pytest.raises(ValueError, match="malformed"):
        wire.run(1.0)


def test_message_that_is_too_long_is_our_mistake(wire: Wire) -> None:
    """It is refused before anything is sent."""
    message = Ping(bytes(2000))
    with pytest.raises(CodecError):
        wire.one.plane.send(message, now=0.0)
    assert wire.one.plane.datagrams_to_send() == []
