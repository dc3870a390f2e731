"""The internet of the namespaces: what passes, when, and what is lost on the way."""

import ipaddress
from random import Random

import pytest

from topology.emulation import (
    LONGEST_QUEUE,
    MOST_PACKETS,
    REORDER_DELAY,
    Conditions,
    Internet,
    lower_ttl,
)

PLACES = (
    ["198.18.0.1", "2001:db8::1"],
    ["198.18.0.2", "2001:db8::2", "192.168.2.0/24", "192.168.0.0/16"],
    ["198.18.0.3", "192.168.3.0/24"],
)


def checksum(header: bytes) -> int:
    """Return the sum over an IPv4 header: 0xffff if its checksum is right."""
    total = sum(
        int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2)
    )
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def packet(to: str, *, ttl: int = 64, size: int = 100, number: int = 0) -> bytes:
    """Return an IP packet of *size* bytes whose last two are *number*."""
    address = ipaddress.ip_address(to)
    body = bytes(size - 42) + number.to_bytes(2, "big")
    if address.version == 6:
        source = ipaddress.ip_address("2001:db8::1").packed
        head = b"\x60\0\0\0" + (size - 40).to_bytes(2, "big") + bytes([17, ttl])
        return head + source + address.packed + body
    head = bytearray(b"\x45\0" + size.to_bytes(2, "big") + bytes([0, 0, 0, 0, ttl, 17]))
    head += b"\0\0" + ipaddress.ip_address("198.18.0.1").packed + address.packed
    head[10:12] = (0xFFFF - checksum(head)).to_bytes(2, "big")
    return bytes(head) + bytes(20) + body


def internet(seed: int = 1, **conditions: float) -> Internet:
    """Return an internet of three members."""
    return Internet(Conditions(**conditions), PLACES, Random(seed))  # type: ignore[arg-type]


def receivers(net: Internet, now: float = 10.0) -> list[int]:
    """Return who has received by *now*."""
    return [receiver for receiver, _ in net.due(now)]


@pytest.mark.parametrize(
    ("to", "member"),
    [
        ("198.18.0.2", 1),
        ("198.18.0.3", 2),
        ("2001:db8::2", 1),
        ("192.168.2.9", 1),
        ("192.168.3.9", 2),
        ("192.168.9.9", 1),
    ],
)
def test_packets_go_to_who_has_the_longest_prefix(to: str, member: int) -> None:
    """Addresses are prefixes too."""
    net = internet()
    net.take(packet(to), 0, now=0.0)
    assert receivers(net) == [member]


@pytest.mark.parametrize("data", [b"", b"\x45" * 19, b"\x60" * 39, b"\x30" * 60])
def test_what_is_no_ip_packet_is_lost(data: bytes) -> None:
    """It harms nobody."""
    net = internet()
    net.take(data, 0, now=0.0)
    assert net.next_at() is None
    assert net.lost.total() == 1


@pytest.mark.parametrize("to", ["10.1.1.1", "ff02::2", "198.18.0.1"])
def test_nobody_gets_what_is_nobodys_or_ones_own(to: str) -> None:
    """Multicast too: members are hosts on a point-to-point line."""
    net = internet()
    net.take(packet(to), 0, now=0.0)
    assert receivers(net) == []
    assert net.lost == {"nobody has this address": 1}


def test_latency_is_kept_to_the_moment() -> None:
    """Not a packet before, all at it."""
    net = internet(latency=0.02)
    net.take(packet("198.18.0.2"), 0, now=1.0)
    assert net.next_at() == 1.02
    assert receivers(net, 1.0199) == []
    assert receivers(net, 1.02) == [1]
    assert net.next_at() is None


def test_without_jitter_packets_keep_their_order() -> None:
    """Equal times do not mix them."""
    net = internet(latency=0.02)
    for number in range(100):
        net.take(packet("198.18.0.2", number=number), 0, now=1.0)
    assert [data[-1] for _, data in net.due(2.0)] == list(range(100))


def test_jitter_comes_on_top_and_reorders() -> None:
    """Up to its size, as in the simulation."""
    net = internet(latency=0.1, jitter=0.1)
    for number in range(200):
        net.take(packet("198.18.0.2", number=number), 0, now=0.0)
    assert receivers(net, 0.1) == []
    numbers = [data[-1] for _, data in net.due(0.2)]
    assert numbers != sorted(numbers)
    assert len(numbers) == 200


def test_a_share_is_overtaken() -> None:
    """The others are on time."""
    net = internet(latency=0.1, reorder=0.3)
    for _ in range(1000):
        net.take(packet("198.18.0.2"), 0, now=0.0)
    assert len(net.due(0.1)) == pytest.approx(700, abs=60)
    assert len(net.due(0.1 + REORDER_DELAY)) == pytest.approx(300, abs=60)


def test_loss_takes_its_share_by_the_seed() -> None:
    """And counts it."""
    lost = []
    for _ in range(2):
        net = internet(seed=7, loss=0.2)
        for _ in range(1000):
            net.take(packet("198.18.0.2"), 0, now=0.0)
        lost.append(net.lost["bad luck"])
    assert lost[0] == lost[1] == pytest.approx(200, abs=50)


@pytest.mark.parametrize("mtu", [1280, 1300, 1360, 1492])
def test_what_is_larger_than_the_mtu_vanishes(mtu: int) -> None:
    """Without a word."""
    net = internet(mtu=mtu)
    net.take(packet("198.18.0.2", size=mtu), 0, now=0.0)
    net.take(packet("198.18.0.2", size=mtu + 1), 0, now=0.0)
    assert receivers(net) == [1]
    assert net.lost == {"larger than the MTU": 1}


@pytest.mark.parametrize("to", ["198.18.0.2", "2001:db8::2"])
def test_hops_take_from_the_ttl(to: str) -> None:
    """What has no more is lost; what is left has a right checksum."""
    net = internet(hops=3)
    for ttl in (1, 3, 4, 64, 255):
        net.take(packet(to, ttl=ttl), 0, now=0.0)
    arrived = [data for _, data in net.due(1.0)]
    at = 8 if "." in to else 7
    assert [data[at] for data in arrived] == [1, 61, 252]
    assert net.lost == {"its TTL ran out": 2}
    if "." in to:
        assert all(checksum(data[:20]) == 0xFFFF for data in arrived)


def test_checksums_stay_right_for_every_ttl() -> None:
    """Also where the sum carries."""
    for ttl in range(2, 256):
        for hops in (1, ttl - 1):
            lowered = lower_ttl(packet("198.18.0.2", ttl=ttl), hops)
            assert lowered is not None
            assert checksum(lowered[:20]) == 0xFFFF


def test_a_rate_spaces_packets_out() -> None:
    """Each of 100 bytes takes a millisecond out, and one in."""
    net = internet(rate=800_000, latency=0.02)
    for _ in range(3):
        net.take(packet("198.18.0.2"), 0, now=0.0)
    for at, count in ((0.0219, 0), (0.0221, 1), (0.0231, 1), (0.0241, 1)):
        assert len(net.due(at)) == count


def test_lines_of_different_members_do_not_wait_for_each_other() -> None:
    """But those to one member do."""
    net = internet(rate=800_000)
    net.take(packet("198.18.0.3"), 0, now=0.0)
    net.take(packet("198.18.0.3"), 1, now=0.0)
    assert receivers(net, 0.0021) == [2]
    assert receivers(net, 0.0031) == [2]


def test_queues_are_bounded() -> None:
    """By time where there is a rate, by number anyway."""
    net = internet(rate=800_000)
    for _ in range(200):
        net.take(packet("198.18.0.2"), 0, now=0.0)
    held = len(net.due(1.0))
    assert held == pytest.approx(LONGEST_QUEUE * 1000, abs=1)
    assert net.lost == {"full queue": 200 - held}
    net = internet()
    for _ in range(MOST_PACKETS + 5):
        net.take(packet("198.18.0.2"), 0, now=0.0)
    assert net.lost == {"too many under way": 5}


def test_trying_all_addresses_does_not_fill_the_memory() -> None:
    """Routes are remembered for a while only."""
    net = internet()
    for number in range(MOST_PACKETS + 10):
        net.take(packet(str(ipaddress.ip_address("10.0.0.0") + number)), 0, now=0.0)
    assert net.lost["nobody has this address"] == MOST_PACKETS + 10
    assert len(net._known) < 100
