"""What names mean goes from the resolver to the rules before an answer leaves."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import trio

from meshnode.codec.proxy_link import (
    MAX_ADDRESSES,
    MAX_MESSAGE_BYTES,
    Learn,
    Learnt,
    ProxyMessage,
    Started,
    decode_from_control,
    decode_from_proxy,
    encode,
)
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.node.proxy_keeper import ProxyKeeper
from meshnode.node.proxy_process import LEARN_TIMEOUT, ProxyProcess

ADDRESS = ipaddress.ip_address("192.0.2.1")


async def hear(link: socket.socket) -> bytes:
    """Return the next message."""
    with trio.fail_after(10):
        while True:
            await trio.lowlevel.wait_readable(link)
            received = recv_with_fds(link, max_bytes=MAX_MESSAGE_BYTES)
            if received is not None:
                return received[0]


async def test_an_answer_waits_until_control_knows() -> None:
    """Or for a second, if it never says so; what no rule can speak of does not wait."""
    ours, theirs = seqpacket_pair(buffer_bytes=2**16)
    with ours, theirs:
        process = ProxyProcess(theirs)
        story: list[str] = []

        async def learn(addresses: Sequence[Any]) -> None:
            await process._learn("www.example.org", addresses, 60)
            story.append("left")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            assert decode_from_proxy(await hear(ours)) == Started()
            nursery.start_soon(learn, [ADDRESS, ADDRESS])
            message = decode_from_proxy(await hear(ours))
            assert message == Learn(1, "www.example.org", ("192.0.2.1",), 60)
            assert story == []
            send_with_fds(ours, encode(Learnt(1)))
            with trio.fail_after(LEARN_TIMEOUT):
                while not story:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            many = [ipaddress.ip_address(number) for number in range(1, 100)]
            nursery.start_soon(learn, many)
            asked = decode_from_proxy(await hear(ours))
            assert isinstance(asked, Learn)
            assert len(asked.addresses) == MAX_ADDRESSES
            await trio.sleep(LEARN_TIMEOUT + 0.2)
            assert story == ["left", "left"]
            await process._learn("\x00", [ADDRESS], 60)
            assert not process._learning
            nursery.cancel_scope.cancel()


async def test_control_says_when_it_knows() -> None:
    """In the order of the answers."""
    ours, theirs = seqpacket_pair(buffer_bytes=2**16)
    told: list[Any] = []

    async def learn(name: str, addresses: Sequence[str], ttl: int) -> None:
        await trio.lowlevel.checkpoint()
        told.append((name, addresses, ttl))

    anything: Any = None
    with ours, theirs:
        keeper = ProxyKeeper(
            anything,
            theirs,
            anything,
            config=anything,
            interface="home",
            want_process=anything,
            learn=learn,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper._hear)
            nursery.start_soon(keeper._learn_all)
            messages: list[ProxyMessage] = [
                Learn(number, "example.org", ("192.0.2.1",), 60) for number in (7, 8)
            ]
            for message in messages:
                send_with_fds(ours, encode(message))
            for number in (7, 8):
                assert decode_from_control(await hear(ours)) == Learnt(number)
            nursery.cancel_scope.cancel()
    assert told == [("example.org", ("192.0.2.1",), 60)] * 2
