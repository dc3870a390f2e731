"""Addresses and errors of the host, and who answers first."""

import errno

import pytest
import trio

from meshnode.proxy import host_sockets as host
from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.types import Endpoint
from tests.unit.proxy.proxy_parts import closed_port, echo, listening


def test_addresses_of_sockets() -> None:
    """IPv4 within IPv6 is IPv4; a zone is a number of its own."""
    assert host.endpoint_of(("192.0.2.1", 5)) == Endpoint("192.0.2.1", 5)
    assert host.endpoint_of(("::ffff:192.0.2.1", 5, 0, 0)) == Endpoint("192.0.2.1", 5)
    link = Endpoint("fe80::1", 5, 3)
    assert host.endpoint_of(("fe80::1%3", 5, 0, 3)) == link
    assert host.sockaddr_of(link) == ("fe80::1", 5, 0, 3)
    assert host.sockaddr_of(Endpoint("192.0.2.1", 5)) == ("192.0.2.1", 5)


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (errno.ECONNREFUSED, Refusal.REFUSED),
        (errno.ENETUNREACH, Refusal.NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, Refusal.HOST_UNREACHABLE),
        (errno.ETIMEDOUT, Refusal.TIMED_OUT),
        (errno.EMFILE, Refusal.BUSY),
        (errno.EPERM, Refusal.FORBIDDEN),
        (errno.EIO, Refusal.FAILED),
    ],
)
def test_errors(number: int, refusal: Refusal) -> None:
    """What the host says, as an outlet says it."""
    assert host.refusal_of(OSError(number, "text")).refusal is refusal


async def test_first_that_answers() -> None:
    """One that refuses is followed by the next at once."""
    nobody = closed_port()
    async with listening(echo) as place:
        stream = await host.connect_first(
            [Endpoint(nobody.host, nobody.port), Endpoint(place.host, place.port)]
        )
        async with stream:
            assert stream.socket.getpeername()[1] == place.port


async def test_silent_place_does_not_hold_up_the_next() -> None:
    """Its attempt goes on beside the next, and loses."""
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        full = [trio.socket.socket() for _ in range(2)]
        for one in full:
            with trio.move_on_after(0.2):
                await one.connect(("127.0.0.1", port))
        async with listening(echo) as place:
            with trio.fail_after(10):
                stream = await host.connect_first(
                    [Endpoint("127.0.0.1", port), Endpoint(place.host, place.port)]
                )
            async with stream:
                assert stream.socket.getpeername()[1] == place.port
        for one in full:
            one.close()


async def test_the_furthest_failure_is_told() -> None:
    """A refusal says more than that a family has no route."""
    nobody = closed_port()
    with pytest.raises(OutletError) as caught:
        # A zone that is no interface has no way either.
        await host.connect_first(
            [Endpoint("fe80::1", 9, 99_999), Endpoint(nobody.host, nobody.port)]
        )
    assert caught.value.refusal is Refusal.REFUSED
