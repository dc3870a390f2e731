"""Bytes from a router, or from who pretends to be one, and from a stranger on the LAN.

No exception but `CodecError` from the codecs, none at all from the machines, and none
of it makes a mapping, a place or an answer.
"""

import random
from collections.abc import Callable

import pytest

from meshnode.codec import natpmp, pcp
from meshnode.codec.lan import ANNOUNCEMENT_SIZE, parse_announcement, parse_word
from meshnode.errors import CodecError
from meshnode.mesh.lan_discovery import GROUP4, LanDiscovery
from meshnode.mesh.port_mapping import PortMapping
from meshnode.types import Endpoint, Path, Source
from tests import routers

ROUTER = Endpoint("192.168.7.1", natpmp.PORT)
ROUNDS = 4000
REQUEST = pcp.map_request("192.168.7.5", b"twelve bytes", 51820, 51820, 7200)
SAMPLES = (
    routers.pcp_answer(REQUEST, epoch=9, lifetime=60),
    routers.pcp_answer(REQUEST, epoch=9, lifetime=60, result=8),
    routers.pcp_announcement(77),
    routers.natpmp_address(9, "203.0.113.1"),
    routers.natpmp_mapping(9, 51820, 51820, 60),
    bytes.fromhex("0081000100000005"),
)


def mutations(rng: random.Random, sample: bytes) -> list[bytes]:
    """Return the sample changed in some places, cut, lengthened, and noise."""
    changed = bytearray(sample)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return [
        bytes(changed),
        sample[: rng.randrange(len(sample))],
        sample + rng.randbytes(rng.randint(1, 40)),
        rng.randbytes(rng.randint(0, 120)),
    ]


@pytest.mark.parametrize(
    "parse",
    [natpmp.parse_answer, pcp.parse_answer, parse_announcement, parse_word],
)
def test_codecs_refuse_with_one_error(
    rng: random.Random, parse: Callable[[bytes], object]
) -> None:
    """Whatever the bytes are."""
    for _ in range(ROUNDS):
        for data in mutations(rng, rng.choice(SAMPLES)):
            try:
                parse(data)
            except CodecError:
                continue


def test_mapping_survives_any_bytes(rng: random.Random) -> None:
    """It goes on asking, and says nothing that could not be reached."""
    mapping = PortMapping(
        *(ROUTER, "192.168.7.5"),
        port=51820,
        nonce=b"twelve bytes",
        entropy=rng.randbytes,
        now=0.0,
    )
    now, sent = 0.0, 0
    for _ in range(ROUNDS):
        deadline = mapping.next_deadline()
        assert deadline is not None
        now = max(now, min(deadline.at, now + rng.random()))
        mapping.handle_deadline(now=now)
        for data in mutations(rng, rng.choice(SAMPLES)):
            mapping.receive_datagram(data, ROUTER, now=now)
        sent += len(mapping.datagrams_to_send())
        if mapping.external is not None:
            assert mapping.external.port > 0
            assert mapping.external.host != "0.0.0.0"
    assert sent < 2 * ROUNDS


def test_stranger_on_the_lan_makes_nothing(rng: random.Random) -> None:
    """All lengths, mutations of a true announcement, and noise of the right length."""
    network_id, us, them = rng.randbytes(16), rng.randbytes(32), rng.randbytes(32)
    link = Source("192.168.7.6", 2)

    def discovery(key: bytes, network: bytes) -> LanDiscovery:
        return LanDiscovery(
            network_id=network,
            key=key,
            port=51820,
            is_member=lambda key: True,
            entropy=rng.randbytes,
        )

    other = discovery(them, network_id)
    other.set_links((link,), now=0.0)
    other.handle_deadline(now=0.0, wall=1.7e9)
    (true,) = [one.data for one in other.datagrams_to_send()]
    ours = discovery(us, network_id)
    ours.set_links((Source("192.168.7.5", 2),), now=0.0)
    path = Path(Endpoint(link.host, 4000), Source("192.168.7.5", 2))
    now = 0.0
    for number in range(ROUNDS):
        noise = rng.randbytes(ANNOUNCEMENT_SIZE)
        for data in (*mutations(rng, true), noise, true[: number % len(true)]):
            if data == true:
                continue
            now += 0.1
            ours.receive_datagram(data, path, now=now, wall=1.7e9)
    assert ours.changes() == []
    assert ours.datagrams_to_send() == []
    # The true one is heard all the same: so the noise was refused for what it is.
    ours.receive_datagram(true, path, now=now + 60, wall=1.7e9)
    assert ours.changes() == [(them, (Endpoint(link.host, 51820),))]
    assert [one.path.remote for one in ours.datagrams_to_send()] != [GROUP4]
