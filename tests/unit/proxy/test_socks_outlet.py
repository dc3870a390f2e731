"""Through a SOCKS5 proxy, which is our own server: TCP, UDP, being called."""

import socket

import pytest
import trio
from trio.testing import memory_stream_pair

from meshnode.codec.proxies import Credentials, Socks5
from meshnode.codec.socks import Command, encode_datagram
from meshnode.proxy.direct_outlet import Direct
from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.proxy.socks_outlet import RelayedDatagrams, RelayedIncoming, ViaSocks
from meshnode.types import Endpoint, Target
from tests.unit.proxy.proxy_parts import (
    LOCAL,
    FakeDatagrams,
    FakeOutlet,
    closed_port,
    echo,
    listening,
    socks_at,
    udp_socket,
)

NOBODY = Credentials()


async def carol_alone(user: str, password: str) -> bool:
    """Know one user."""
    return (user, password) == ("carol", "s3cret")


async def test_connect() -> None:
    """Names as they are; a target that speaks first is heard."""
    outlet = FakeOutlet()
    await outlet.far.send_all(b"SSH-2.0-x")
    async with socks_at(outlet, credentials=carol_alone) as place:
        via = ViaSocks([place], Credentials("carol", "s3cret"))
        stream, ours = await via.connect(Target("ssh.example", 22))
        async with stream:
            assert ours == Endpoint("192.0.2.1", 1000)
            assert await stream.receive_some() == b"SSH-2.0-x"
    assert outlet.asked == [Target("ssh.example", 22)]


async def test_wrong_password() -> None:
    """It is in no text."""
    async with socks_at(FakeOutlet(), credentials=carol_alone) as place:
        via = ViaSocks([place], Credentials("carol", "wr0ng"))
        with pytest.raises(OutletError, match="another user or password") as caught:
            await via.connect(Target("a.example", 22))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("refusal", [Refusal.REFUSED, Refusal.FORBIDDEN])
async def test_refusals_are_passed_on(refusal: Refusal) -> None:
    """For each command."""
    async with socks_at(FakeOutlet(refusal)) as place:
        via = ViaSocks([place], NOBODY)
        for attempt in (
            via.connect(Target("a.example", 1)),
            via.open_datagrams(),
            via.listen(Target("a.example", 1)),
        ):
            with pytest.raises(OutletError) as caught:
                await attempt
            assert caught.value.refusal is refusal


async def test_chain() -> None:
    """Through one proxy to the next to the target."""
    servers = socks_at(Direct()), socks_at(Direct())
    async with listening(echo) as place, servers[0] as far, servers[1] as near:
        via = ViaSocks([far], NOBODY, through=ViaSocks([near], NOBODY))
        stream, _ = await via.connect(place)
        async with stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"


@pytest.mark.parametrize("host", [LOCAL, "::1"])
async def test_datagrams(host: str) -> None:
    """There and back, with the true source; the proxy's socket ends with ours."""
    async with socks_at(Direct(), host) as place:
        via = ViaSocks([place], NOBODY)
        with await via.open_datagrams() as ours, await udp_socket(host) as theirs:
            target = Target(host, theirs.getsockname()[1])
            await ours.send(b"question", target)
            data, source = await theirs.recvfrom(100)
            assert data == b"question"
            await theirs.sendto(b"answer", source)
            assert await ours.receive() == (b"answer", target)
            await ours.send(b"lost", Target("no name", 1))
        # Its port is free again as soon as the proxy has seen the end.
        with trio.fail_after(5), await udp_socket(host) as again:
            while True:
                try:
                    await again.connect(source)
                    await again.send(b"x")
                    await trio.sleep(0.01)
                    await again.send(b"x")
                except ConnectionRefusedError:
                    break


async def test_datagrams_end_with_the_proxy() -> None:
    """Whoever waits for one is told."""
    control, theirs = memory_stream_pair()
    inner = FakeDatagrams()
    relay = Target("192.0.2.1", 7)
    with RelayedDatagrams(inner, relay, control) as ours:
        await inner.send_in.send((b"no header", relay))
        stranger = Target("192.0.2.66", 7)
        await inner.send_in.send((encode_datagram(b"!", stranger), stranger))
        await inner.send_in.send((encode_datagram(b"yes", stranger), relay))
        assert await ours.receive() == (b"yes", stranger)
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await theirs.aclose()

            nursery.start_soon(leave)
            with pytest.raises(OutletError, match="ended the association"):
                await ours.receive()
        with pytest.raises(OutletError, match="ended the association"):
            await ours.receive()
    assert inner.is_closed


async def test_relay_of_a_proxy_by_name() -> None:
    """Its address is not known here, only the port."""
    control, _ = memory_stream_pair()
    inner = FakeDatagrams()
    with RelayedDatagrams(inner, Target("proxy.example", 7), control) as ours:
        for port in (8, 7):
            source = Target("192.0.2.1", port)
            await inner.send_in.send((encode_datagram(b"%d" % port, source), source))
        assert (await ours.receive())[0] == b"7"
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.ClosedResourceError):
        await control.send_all(b"x")


async def test_being_called() -> None:
    """The proxy says where, and who."""
    async with socks_at(Direct()) as place:
        via = ViaSocks([place], NOBODY)
        with await via.listen(Target(LOCAL, 21)) as incoming:
            caller = await trio.open_tcp_stream(LOCAL, incoming.place.port)
            stream, peer = await incoming.accept()
            with pytest.raises(OutletError, match="already"):
                await incoming.accept()
        async with stream, caller:
            name = caller.socket.getsockname()
            assert peer == Endpoint(name[0], name[1])
            await caller.send_all(b"150 here it is")
            assert await stream.receive_some() == b"150 here it is"


async def test_call_that_does_not_come() -> None:
    """The connection with the proxy ends with the wait."""
    stream, theirs = memory_stream_pair()
    dialogue = Socks5(Target("192.0.2.7", 21), NOBODY, Command.BIND)
    dialogue.receive(b"\x05\0" + bytes.fromhex("05000001c000020103e8"))
    place = Target("192.0.2.1", 1000)
    with RelayedIncoming(stream, dialogue, place) as incoming:
        await theirs.send_all(bytes.fromhex("05060001") + bytes(6))
        with pytest.raises(OutletError) as caught:
            await incoming.accept()
        assert caught.value.refusal is Refusal.TIMED_OUT
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_nobody_is_there() -> None:
    """A proxy that is off; and what it says has its place in it."""
    nobody = closed_port()
    with pytest.raises(OutletError, match=f"{LOCAL}:{nobody.port}: ") as caught:
        await ViaSocks([nobody], NOBODY).connect(Target("a.example", 1))
    assert caught.value.refusal is Refusal.REFUSED


async def test_proxy_that_names_no_address() -> None:
    """Then its datagrams go to where it is itself."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"\x05\0" + bytes.fromhex("05000001") + bytes(4))
            await stream.send_all(theirs.getsockname()[1].to_bytes(2, "big"))
            async for _ in stream:
                pass

    with await udp_socket() as theirs:
        async with listening(serve) as place:
            with await ViaSocks([place], NOBODY).open_datagrams() as ours:
                await ours.send(b"x", Target("a.example", 53))
                data, _ = await theirs.recvfrom(100)
                assert data == encode_datagram(b"x", Target("a.example", 53))
        assert theirs.family == socket.AF_INET
