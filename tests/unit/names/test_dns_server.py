"""The resolver: who is heard, what is forwarded, and how much one may take."""

import struct
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from dnslib import QTYPE, RCODE, RR, A, DNSRecord

from meshnode.names import dns_server
from meshnode.names.dns_server import serve_names
from meshnode.names.message import Query, reply_to
from tests.unit.names.parts import TABLE, asked


class FakeForwarder:
    """Answers with *count* addresses, after `gate` is open."""

    def __init__(self, count: int = 1) -> None:
        self.is_useful = True
        self.count: int | None = count
        self.gate = trio.Event()
        self.gate.set()
        self.asked: list[Query] = []

    async def ask(self, query: Query) -> bytes | None:
        """Answer in the place of another resolver."""
        self.asked.append(query)
        await self.gate.wait()
        if self.count is None:
            return None
        answers = [
            RR("x.org", QTYPE.A, ttl=9, rdata=A(f"192.0.2.{n}"))
            for n in range(self.count)
        ]
        return reply_to(query, answers=answers, offers_recursion=True)


class Served:
    """A resolver on loopback."""

    def __init__(self) -> None:
        self.port = 0
        self.forwarder = FakeForwarder()
        self.told: list[tuple[str, list[str], int]] = []

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        udp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        await udp.bind(("127.0.0.1", 0))
        self.port = udp.getsockname()[1]
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        task_status.started()
        with udp:
            async with listener:
                await serve_names(
                    [udp],
                    [listener],
                    table=lambda: TABLE,
                    forwarder=self.forwarder,
                    on_answer=self._tell,
                )

    async def _tell(self, name: str, addresses: Sequence[Any], seconds: int) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append((name, [str(one) for one in addresses], seconds))

    async def ask(self, data: bytes, *, source: str = "127.0.0.1") -> bytes | None:
        """Return the reply by UDP, None if none comes."""
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as udp:
            await udp.bind((source, 0))
            await udp.sendto(data, ("127.0.0.1", self.port))
            with trio.move_on_after(0.3):
                return await udp.recv(65535)
        return None

    async def connect(self) -> trio.SocketStream:
        """Return a connection."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@pytest.fixture
async def served(nursery: trio.Nursery) -> Served:
    """A resolver that runs."""
    one = Served()
    await nursery.start(one.run)
    return one


def framed(*messages: bytes) -> bytes:
    """Return messages as TCP carries them."""
    return b"".join(struct.pack(">H", len(data)) + data for data in messages)


async def receive(stream: trio.SocketStream) -> bytes:
    """Return the next message of a connection, b"" at its end."""
    head = await receive_exactly(stream, 2)
    return await receive_exactly(stream, int.from_bytes(head, "big"))


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    """Return so many bytes, b"" if the stream ends before."""
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            return b""
        data += piece
    return data


def code(data: bytes | None) -> str:
    """Return the code of a reply."""
    assert data is not None
    return str(RCODE.get(DNSRecord.parse(data).header.rcode))


async def test_members_are_answered_for(served: Served) -> None:
    """By UDP and TCP; nobody else is asked, and nobody told."""
    question = asked("bert.home.mesh")
    by_udp = await served.ask(question)
    assert by_udp is not None
    assert str(DNSRecord.parse(by_udp).a.rdata) == "10.77.3.200"
    async with await served.connect() as stream:
        await stream.send_all(framed(question))
        assert await receive(stream) == by_udp
    assert not served.forwarder.asked
    assert not served.told


async def test_strangers_are_not_heard(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By neither; only the overlay and this host are."""
    assert await served.ask(asked("bert.home.mesh"), source="127.9.9.9")
    heard = dns_server._Server._may_ask
    monkeypatch.setattr(
        dns_server._Server, "_may_ask", lambda self, _: heard(self, "198.51.100.7")
    )
    assert await served.ask(asked("bert.home.mesh")) is None
    async with await served.connect() as stream:
        await stream.send_all(framed(asked("bert.home.mesh")))
        assert await receive(stream) == b""


@pytest.mark.parametrize(
    ("source", "is_heard"),
    [
        ("10.77.9.9", True),
        ("fd11:2233:4455::9", True),
        ("::1", True),
        ("10.78.0.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:192.0.2.1", False),
        ("", False),
    ],
)
async def test_sources(source: str, is_heard: bool) -> None:
    """Of the overlay's prefixes, or loopback."""

    async def ignore(name: str, addresses: Sequence[Any], seconds: int) -> None:
        """Nobody needs to know."""

    server = dns_server._Server(lambda: TABLE, None, ignore)
    assert server._may_ask(source) is is_heard


async def test_other_names_are_forwarded(served: Served) -> None:
    """And whoever steers is told before the answer leaves."""
    reply = await served.ask(asked("X.org"))
    assert reply is not None
    parsed = DNSRecord.parse(reply)
    assert str(parsed.a.rdata) == "192.0.2.0"
    assert parsed.header.ra
    assert served.told == [("x.org", ["192.0.2.0"], 9)]


async def test_what_is_not_forwarded(served: Served) -> None:
    """Names of other networks, whole zones, and for who wants no recursion."""
    plain = bytearray(asked("x.org"))
    plain[2] &= ~1
    for data in (asked("a.other.mesh"), asked("x.org", "AXFR"), bytes(plain)):
        assert code(await served.ask(data)) == "REFUSED"
    assert not served.forwarder.asked
    served.forwarder.is_useful = False
    refused = await served.ask(asked("x.org"))
    assert code(refused) == "REFUSED"
    assert refused is not None
    assert not DNSRecord.parse(refused).header.ra  # so that the next server is asked
    assert not served.forwarder.asked


async def test_nobody_answers(served: Served) -> None:
    """It is a failure, and the server goes on."""
    served.forwarder.count = None
    assert code(await served.ask(asked("x.org"))) == "SERVFAIL"


async def test_who_waits_holds_up_nobody(served: Served) -> None:
    """Neither by UDP nor in one connection (RFC 7766, 6.2.1.1)."""
    served.forwarder.gate = trio.Event()
    async with await served.connect() as stream:
        await stream.send_all(
            framed(asked("x.org", number=1), asked("anna.home.mesh", number=2))
        )
        assert (await receive(stream))[:2] == b"\0\2"
        assert code(await served.ask(asked("anna.home.mesh"))) == "NOERROR"
        served.forwarder.gate.set()
        assert (await receive(stream))[:2] == b"\0\1"


async def test_long_answers_are_for_tcp(served: Served) -> None:
    """By UDP none is longer than the asker takes, and 1,232 bytes."""
    served.forwarder.count = 200
    for edns, limit in ((0, 512), (4096, 1232)):
        reply = await served.ask(asked("x.org", edns=edns))
        assert reply is not None
        assert len(reply) <= limit
        assert DNSRecord.parse(reply).header.tc
    async with await served.connect() as stream:
        await stream.send_all(framed(asked("x.org")))
        assert len(DNSRecord.parse(await receive(stream)).rr) == 200


async def test_noise_is_survived(served: Served) -> None:
    """What is malformed is told so, what is no query gets nothing."""
    assert code(await served.ask(asked("x.org")[:-1])) == "FORMERR"
    assert await served.ask(b"\xff" * 40) is None
    async with await served.connect() as stream:
        await stream.send_all(framed(asked("x.org")[:-1], asked("anna.home.mesh")))
        codes = {code(await receive(stream)) for _ in range(2)}
    assert codes == {"FORMERR", "NOERROR"}


async def test_idle_connections_end(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that say a byte now and then, too."""
    monkeypatch.setattr(dns_server, "IDLE_TIMEOUT", 0.1)
    async with await served.connect() as stream:
        await stream.send_all(framed(asked("anna.home.mesh")) + b"\0")
        assert code(await receive(stream)) == "NOERROR"
        assert await receive(stream) == b""


async def test_connections_are_bounded(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source has its part; when one of them ends, there is room again."""
    monkeypatch.setattr(dns_server, "MAX_PER_SOURCE", 2)
    first, second, third = [await served.connect() for _ in range(3)]
    assert await receive(third) == b""
    await first.send_all(framed(asked("anna.home.mesh")))
    assert code(await receive(first)) == "NOERROR"
    await first.aclose()
    await trio.testing.wait_all_tasks_blocked(0.05)
    async with await served.connect() as stream:
        await stream.send_all(framed(asked("anna.home.mesh")))
        assert code(await receive(stream)) == "NOERROR"
    for one in (second, third):
        await one.aclose()


async def test_pipelined_questions_are_bounded(served: Served) -> None:
    """The next is not read before one is answered."""
    served.forwarder.gate = trio.Event()
    async with await served.connect() as stream:
        count = dns_server.MAX_PIPELINED + 9
        await stream.send_all(framed(*[asked("x.org", number=n) for n in range(count)]))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(served.forwarder.asked) == dns_server.MAX_PIPELINED
        served.forwarder.gate.set()
        numbers = {(await receive(stream))[:2] for _ in range(count)}
        assert len(numbers) == count


async def test_waiting_datagrams_are_bounded(
    served: Served, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Further ones are dropped; names of the mesh are answered all the same."""
    served.forwarder.gate = trio.Event()
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        for number in range(dns_server.MAX_FORWARDED + 20):
            place = ("127.0.0.1", served.port)
            await udp.sendto(asked("x.org", number=number), place)
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(served.forwarder.asked) <= dns_server.MAX_FORWARDED
        assert code(await served.ask(asked("anna.home.mesh"))) == "NOERROR"


async def test_who_asks_too_much_is_not_heard(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its bucket fills again."""
    monkeypatch.setattr("meshnode.names.limits.BURST", 2.0)
    monkeypatch.setattr("meshnode.names.limits.RATE", 0.0)
    for heard in (True, True, False):
        assert bool(await served.ask(asked("anna.home.mesh"))) is heard
