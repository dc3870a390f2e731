"""Connections between two nodes, and whom they are refused to."""

import pytest
import trio

from meshnode.codec.tls_frames import encode_frame
from meshnode.codec.tls_link import Attempt
from meshnode.crypto.keys import PrivateKey
from meshnode.node.tls_streams import (
    ImpostorError,
    NoConnectionError,
    attempts_for,
)
from meshnode.types import Endpoint
from tests.unit.node.tls_parts import LOCAL, dial, echoing_node, serving

NOBODY = Endpoint(LOCAL, 1)


async def test_datagrams_come_back() -> None:
    """From the second place, for nobody is at the first."""
    async with echoing_node() as port, serving(port) as place:
        connection = await dial(NOBODY, place)
        datagrams = [b"\x01\0\0\0 first", bytes(60_000)]
        for datagram in datagrams:
            await connection.send(encode_frame(datagram))
        found: list[bytes] = []
        with trio.fail_after(10):
            while len(found) < len(datagrams):
                found += await connection.receive()
        assert found == datagrams
        await connection.close()


async def test_another_server_is_an_impostor() -> None:
    """It has a certificate, and speaks our protocol; it is not who is meant."""
    other = PrivateKey(bytes(32))
    async with echoing_node() as port, serving(port, key=other) as place:
        with pytest.raises(ImpostorError, match="does not prove"):
            await dial(place)


async def test_nobody_is_there() -> None:
    """The reason is that of the system, with the address."""
    with pytest.raises(NoConnectionError, match=r"127\.0\.0\.1:1: Connection refused"):
        await dial(NOBODY)


def test_attempts() -> None:
    """Directly, or each through an address of the proxy."""
    one, two = Endpoint("192.0.2.1", 443), Endpoint("2001:db8::1", 443)
    assert attempts_for(("192.0.2.1", "2001:db8::1"), 443, ()) == (
        Attempt(one, one),
        Attempt(two, two),
    )
    assert attempts_for(("192.0.2.1", "2001:db8::1"), 443, (NOBODY,)) == (
        Attempt(NOBODY, one),
        Attempt(NOBODY, two),
    )
