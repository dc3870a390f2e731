"""Asking other resolvers: whom, how long, and which answers are believed."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from dnslib import RR, A, DNSRecord

from meshnode.names import forwarder
from meshnode.names.forwarder import Forwarder
from meshnode.names.message import Query, parse_query
from meshnode.types import Endpoint
from tests.unit.names.parts import asked


def query(name: str = "www.example.org") -> Query:
    """Return a question."""
    found = parse_query(asked(name, edns=1232))
    assert isinstance(found, Query)
    return found


def answered(data: bytes, *addresses: str, rcode: int = 0) -> bytes:
    """Return an answer to the question in *data*."""
    reply = DNSRecord.parse(data).reply()
    reply.header.rcode = rcode
    for address in addresses:
        reply.add_answer(RR(reply.q.qname, rdata=A(address), ttl=9))
    return bytes(reply.pack())


class Resolver:
    """A resolver on loopback; *answer* makes the datagrams that it answers with."""

    def __init__(self, answer: Callable[[bytes], Sequence[bytes]]) -> None:
        self._answer = answer
        self.heard: list[bytes] = []
        self.by_tcp: list[bytes] = []
        self.place = Endpoint("127.0.0.1", 0)

    async def serve(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        udp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        await udp.bind(("127.0.0.1", 0))
        port = udp.getsockname()[1]
        self.place = Endpoint("127.0.0.1", port)
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve_tcp, [listener])
            with udp:
                while True:
                    data, source = await udp.recvfrom(4096)
                    self.heard.append(data)
                    for reply in self._answer(data):
                        await udp.sendto(reply, source)

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        data = await stream.receive_some(4096)
        self.by_tcp.append(data[2:])
        reply = answered(data[2:], "192.0.2.99")
        for byte in struct.pack(">H", len(reply)) + reply:
            await stream.send_all(bytes([byte]))


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "TIMEOUT", 0.2)


async def test_answer_comes_as_if_it_were_ours(nursery: trio.Nursery) -> None:
    """Under the asker's number, and in the asker's case."""
    resolver = Resolver(lambda data: [answered(data, "192.0.2.1")])
    await nursery.start(resolver.serve)
    reply = await Forwarder(lambda: [resolver.place]).ask(query("Www.Example.org"))
    assert reply is not None
    parsed = DNSRecord.parse(reply)
    assert parsed.header.id == 77
    assert parsed.q.qname.label == (b"Www", b"Example", b"org")
    assert str(parsed.a.rdata) == "192.0.2.1"


async def test_numbers_and_cases_cannot_be_guessed(nursery: trio.Nursery) -> None:
    """They are others each time, as is the port."""
    resolver = Resolver(lambda data: [answered(data, "192.0.2.1")])
    await nursery.start(resolver.serve)
    ours = Forwarder(lambda: [resolver.place])
    for _ in range(8):
        await ours.ask(query())
    assert len({data[:2] for data in resolver.heard}) > 4
    assert len({data[12:-4] for data in resolver.heard}) > 4


async def test_lies_are_not_heard(nursery: trio.Nursery) -> None:
    """Another number, another name, a question: the true answer comes behind them."""

    def lie(data: bytes) -> list[bytes]:
        true = answered(data, "192.0.2.1")
        other = DNSRecord.question("www.example.com")
        other.header.id = int.from_bytes(data[:2], "big")
        return [
            bytes([true[0] ^ 1]) + true[1:],
            answered(bytes(other.pack()), "192.0.2.66"),
            data,
            b"",
            true,
        ]

    resolver = Resolver(lie)
    await nursery.start(resolver.serve)
    reply = await Forwarder(lambda: [resolver.place]).ask(query())
    assert reply is not None
    assert str(DNSRecord.parse(reply).a.rdata) == "192.0.2.1"


async def test_others_are_not_heard(nursery: trio.Nursery) -> None:
    """The socket is connected: only the resolver can answer."""
    stranger = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await stranger.bind(("127.0.0.1", 0))
    udp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await udp.bind(("127.0.0.1", 0))

    async def serve() -> None:
        data, source = await udp.recvfrom(4096)
        await stranger.sendto(answered(data, "192.0.2.66"), source)
        await udp.sendto(answered(data, "192.0.2.1"), source)

    nursery.start_soon(serve)
    place = Endpoint("127.0.0.1", udp.getsockname()[1])
    reply = await Forwarder(lambda: [place]).ask(query())
    assert reply is not None
    assert str(DNSRecord.parse(reply).a.rdata) == "192.0.2.1"
    stranger.close()
    udp.close()


async def test_long_answers_come_by_tcp(nursery: trio.Nursery) -> None:
    """The flag TC says that there are such."""

    def cut(data: bytes) -> list[bytes]:
        reply = bytearray(answered(data))
        reply[2] |= 2
        return [bytes(reply)]

    resolver = Resolver(cut)
    await nursery.start(resolver.serve)
    reply = await Forwarder(lambda: [resolver.place]).ask(query())
    assert reply is not None
    assert str(DNSRecord.parse(reply).a.rdata) == "192.0.2.99"
    assert resolver.by_tcp == resolver.heard


async def test_who_does_not_keep_the_case_is_asked_by_tcp(
    nursery: trio.Nursery,
) -> None:
    """There nobody can answer in another's name."""
    resolver = Resolver(lambda data: [answered(data, "192.0.2.1").lower()])
    await nursery.start(resolver.serve)
    ours = Forwarder(lambda: [resolver.place])
    reply = await ours.ask(query("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrs.org"))
    assert reply is not None
    assert str(DNSRecord.parse(reply).a.rdata) == "192.0.2.99"


@pytest.mark.usefixtures("_impatient")
async def test_the_next_is_asked_when_one_fails(nursery: trio.Nursery) -> None:
    """One that is silent, one where nobody listens, one that does not want to."""
    silent = Resolver(lambda data: [])
    unwilling = Resolver(lambda data: [answered(data, rcode=5)])
    good = Resolver(lambda data: [answered(data, "192.0.2.1")])
    for resolver in (silent, unwilling, good):
        await nursery.start(resolver.serve)
    nobody = Endpoint("127.0.0.1", 1)
    places = [silent.place, nobody, unwilling.place, good.place]
    reply = await Forwarder(lambda: places).ask(query())
    assert reply is not None
    assert str(DNSRecord.parse(reply).a.rdata) == "192.0.2.1"
    reply = await Forwarder(lambda: [unwilling.place]).ask(query())
    assert reply is not None
    assert DNSRecord.parse(reply).header.rcode == 5


@pytest.mark.usefixtures("_impatient")
async def test_nobody_answers(nursery: trio.Nursery) -> None:
    """That is said after a while, and nothing stays behind."""
    silent = Resolver(lambda data: [])
    await nursery.start(silent.serve)
    ours = Forwarder(lambda: [silent.place])
    assert ours.is_useful
    assert await ours.ask(query()) is None
    assert len(silent.heard) == forwarder.ROUNDS
    assert not Forwarder(list).is_useful
    assert await Forwarder(list).ask(query()) is None


async def test_questions_under_way_are_bounded(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is not asked."""
    monkeypatch.setattr(forwarder, "MAX_ASKED", 1)
    silent = Resolver(lambda data: [])
    await nursery.start(silent.serve)
    ours = Forwarder(lambda: [silent.place])
    nursery.start_soon(ours.ask, query())
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert await ours.ask(query()) is None
    assert len(silent.heard) == 1
