"""What control sends to a channel."""

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.messages import (
    RelayOpen,
)
from meshnode.types import Datagram, Path
from tests.unit.mesh.relay_parts import OTHER, R, RelayUser, handshake


@pytest.fixture(name="user")
def _user() -> RelayUser:
    return RelayUser()


def test_what_does_not_fit_waits_for_the_answer(user: RelayUser) -> None:
    """Then it goes by the channel."""
    user.client.want(OTHER, now=0.0)
    path = Path(user.way_by(R).endpoint)
    for data in (handshake(7, 1000), handshake(1)):
        user.ways.carry(Datagram(data, path))
    asked = {to: message for _, to, message in user.run(0.1)}
    assert isinstance(asked[R], RelayOpen)
    assert asked[R].datagrams == (handshake(7, 1000),)
    user.answer(R)
    assert user.outbox.datagrams == [Datagram(handshake(1), path)]


def test_control_sends_by_an_open_channel(user: RelayUser) -> None:
    """As type 5 to where its relay is; nothing but what has to do with handshakes."""
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    way = user.way_by(R)
    user.answer(R, label=0x01020304)
    sent = user.ways.carry(Datagram(handshake(2, 92), Path(way.endpoint)))
    relay = user.tunnels.path_of(R)
    assert relay is not None
    header = b"\5\0\0\0\4\3\2\1"
    assert sent == Datagram(header + handshake(2, 92), Path(relay))
    for data, path in (
        (handshake(4), way.endpoint),
        (b"", way.endpoint),
        (handshake(1), endpoint_of(3)),
    ):
        assert user.ways.carry(Datagram(data, Path(path))) is None
    user.tunnels.paths[R] = endpoint_of(4)
    assert user.ways.carry(Datagram(handshake(1), Path(way.endpoint))) is None
