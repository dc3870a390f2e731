"""Control's end of the lifeline."""

import os
import socket
from collections.abc import Iterator

import pytest
import trio

from meshnode.codec.lifeline import (
    Direction,
    LinkChanged,
    Ready,
    Rebind,
    Rebound,
    WantProxy,
    WantTls,
    Worker,
    WorkerStarted,
    decode_from_control,
    encode,
)
from meshnode.errors import CodecError, HostError
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.node import control_lifeline
from meshnode.node.control_lifeline import ControlLifeline, SupervisorGoneError
from tests.unit.node.test_outlet import unbound_pair

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Control's end and the supervisor's."""
    pair = seqpacket_pair(buffer_bytes=100_000)
    yield pair
    for end in pair:
        end.close()


async def answer(end: socket.socket, reply: Rebound, fds: tuple[int, ...]) -> Rebind:
    """Be the supervisor for one request."""
    await trio.lowlevel.wait_readable(end)
    message = recv_with_fds(end, max_bytes=100)
    assert message is not None
    request = decode_from_control(message[0])
    assert isinstance(request, Rebind)
    send_with_fds(end, encode(LinkChanged(1300, up=True)))
    send_with_fds(end, encode(reply), fds)
    return request


async def test_messages_arrive_in_order(ends: Ends) -> None:
    """What the supervisor tells is returned one by one."""
    lifeline = ControlLifeline(ends[0])
    messages = [
        WorkerStarted(Worker(Direction.EGRESS, 1), 2),
        LinkChanged(1420, up=False),
    ]
    for message in messages:
        send_with_fds(ends[1], encode(message))
    assert [await lifeline.receive() for _ in messages] == messages


async def test_ready_is_told(ends: Ends) -> None:
    """The supervisor hears that we serve."""
    ControlLifeline(ends[0]).tell_ready()
    assert decode_from_control(ends[1].recv(100)) == Ready()


async def test_processes_are_asked_for(ends: Ends) -> None:
    """By name."""
    lifeline = ControlLifeline(ends[0])
    lifeline.want_tls()
    lifeline.want_proxy()
    heard = [decode_from_control(ends[1].recv(100)) for _ in range(2)]
    assert heard == [WantTls(), WantProxy()]


async def test_new_sockets_are_had(ends: Ends, nursery: trio.Nursery) -> None:
    """The answer brings descriptors; other messages may come before it."""
    lifeline = ControlLifeline(ends[0])
    offered = unbound_pair()
    heard = []

    async def listen() -> None:
        while True:
            heard.append(await lifeline.receive())

    nursery.start_soon(listen)
    nursery.start_soon(answer, ends[1], Rebound(0), (offered.v4.fileno(),))
    with trio.fail_after(30):
        (pair,) = await lifeline.rebind(4711, 7)
    assert os.fstat(pair.v4.fileno()).st_ino == os.fstat(offered.v4.fileno()).st_ino
    assert pair.v6 is None
    assert heard == [LinkChanged(1300, up=True)]
    pair.close()
    offered.close()


async def test_a_refusal_is_raised_with_its_errno(
    ends: Ends, nursery: trio.Nursery
) -> None:
    """`wg` shall say why, so the number goes through."""
    lifeline = ControlLifeline(ends[0])

    async def listen() -> None:
        while True:
            await lifeline.receive()

    nursery.start_soon(listen)
    nursery.start_soon(answer, ends[1], Rebound(98), ())
    with trio.fail_after(30), pytest.raises(HostError) as refusal:
        await lifeline.rebind(4711, 0)
    assert refusal.value.errno == 98


async def test_a_silent_supervisor_is_not_waited_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets an error in bounded time."""
    monkeypatch.setattr(control_lifeline, "REBIND_TIMEOUT", 0.01)
    with pytest.raises(HostError, match="does not answer"):
        await ControlLifeline(ends[0]).rebind(1, 0)


async def test_the_end_of_the_supervisor_is_told(ends: Ends) -> None:
    """When it dies the lifeline ends, and that has a name."""
    ends[1].close()
    with pytest.raises(SupervisorGoneError):
        await ControlLifeline(ends[0]).receive()


async def test_another_language_is_an_error(ends: Ends) -> None:
    """A supervisor of another version cannot be served."""
    ends[1].send(b"\x00")
    with pytest.raises(CodecError):
        await ControlLifeline(ends[0]).receive()
