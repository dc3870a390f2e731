"""Control's end of the link to a worker."""

import os
import socket
from collections.abc import Iterator

import pytest
import trio

from meshnode.codec.forwarding import decode_command, encode_report
from meshnode.dataplane.worker import SOCKETS
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    NeedSession,
    ProgramComplete,
    RemovePeer,
    Reset,
)
from meshnode.host.channels import recv_with_fds, seqpacket_pair
from meshnode.node import program_link
from meshnode.node.program_link import ProgramLink
from meshnode.types import Prefix
from tests.unit.node.test_outlet import unbound_pair


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a small link: control's and the worker's."""
    pair = seqpacket_pair(buffer_bytes=20_000)
    yield pair
    for end in pair:
        end.close()


Ends = tuple[socket.socket, socket.socket]


def received(end: socket.socket) -> list[Command]:
    """Take what waits at the worker's end."""
    commands = []
    while (message := recv_with_fds(end, max_bytes=65536)) is not None:
        commands.append(decode_command(message[0]))
    return commands


async def collect(end: socket.socket, count: int) -> list[Command]:
    """Receive until there are *count* commands."""
    commands: list[Command] = []
    while len(commands) < count:
        await trio.lowlevel.wait_readable(end)
        commands += received(end)
    return commands


def never() -> None:
    """Fail: nothing may overflow here."""
    pytest.fail("overflow")


async def test_commands_arrive_at_once_and_in_order(ends: Ends) -> None:
    """Without any other task running, what fits is sent."""
    link = ProgramLink(ends[0])
    commands = [AddPeer(slot) for slot in range(10)]
    link.put(commands[:5])
    link.put(commands[5:])
    assert received(ends[1]) == commands


async def test_a_full_link_delays_but_loses_nothing(
    ends: Ends, nursery: trio.Nursery
) -> None:
    """What does not fit waits until the worker reads."""
    link = ProgramLink(ends[0])
    nursery.start_soon(link.send_forever, never)
    commands = [AddPeer(slot) for slot in range(2000)]
    link.put(commands)
    with trio.fail_after(30):
        assert await collect(ends[1], len(commands)) == commands


async def test_many_prefixes_are_split(ends: Ends, nursery: trio.Nursery) -> None:
    """A worker looks at packets between commands, so none may take it long."""
    pair = seqpacket_pair(buffer_bytes=1_000_000)
    prefixes = tuple(Prefix(4, n << 8, 24) for n in range(2500))
    ProgramLink(pair[0]).put([AddAllowedIps(1, prefixes)])
    parts = received(pair[1])
    for end in pair:
        end.close()
    assert max(len(part.prefixes) for part in parts) == 64
    assert sum((part.prefixes for part in parts), ()) == prefixes


async def test_starting_over_forgets_what_waited(
    ends: Ends, nursery: trio.Nursery
) -> None:
    """A new worker gets the table, not the commands for the dead one."""
    link = ProgramLink(ends[0])
    link.put([RemovePeer(slot) for slot in range(2000)])
    link.start_over(7, [AddPeer(1)])
    sent = len(received(ends[1]))
    assert 0 < sent < 2000
    nursery.start_soon(link.send_forever, never)
    with trio.fail_after(30):
        assert await collect(ends[1], 3) == [Reset(7), AddPeer(1), ProgramComplete()]
    assert link.generation == 7


async def test_a_worker_that_never_reads_costs_bounded_memory(
    ends: Ends, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit all is dropped, and once it reads it is programmed anew."""
    monkeypatch.setattr(program_link, "MAX_WAITING", 100)
    link = ProgramLink(ends[0])
    overflows = []

    def reprogram() -> None:
        overflows.append(1)
        link.start_over(3, [])

    nursery.start_soon(link.send_forever, reprogram)
    for slot in range(1000):
        link.put([AddPeer(slot)])
    await trio.testing.wait_all_tasks_blocked()
    assert overflows == []
    with trio.fail_after(30):
        commands: list[Command] = []
        while ProgramComplete() not in commands:
            commands += await collect(ends[1], 1)
    assert commands[-2:] == [Reset(3), ProgramComplete()]
    assert overflows == [1]


async def test_sockets_travel_beside_a_message(ends: Ends) -> None:
    """The worker gets duplicates of both."""
    link = ProgramLink(ends[0])
    pair = unbound_pair()
    link.use_sockets(pair)
    message = recv_with_fds(ends[1], max_bytes=100, max_fds=2)
    assert message is not None
    data, descriptors = message
    assert data == SOCKETS
    assert [os.fstat(fd).st_ino for fd in descriptors] == [
        os.fstat(one.fileno()).st_ino for one in pair.sockets()
    ]
    pair.close()
    for fd in descriptors:
        os.close(fd)


async def test_reports_come_out_and_nonsense_does_not(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that was taken over cannot confuse control."""
    link = ProgramLink(ends[0])
    ends[1].send(b"\xff\xff")
    ends[1].send(encode_report(NeedSession(3)))
    assert await link.reports() == [NeedSession(3)]
    assert "nonsense" in caplog.text
