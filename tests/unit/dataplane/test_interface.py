"""What a burst is."""

import pytest

from meshnode.dataplane.interface import Burst
from meshnode.types import Endpoint, Path

PATH = Path(Endpoint("192.0.2.1", 51820))


@pytest.mark.parametrize(
    ("size", "data", "wanted"),
    [
        (4, b"aaaabbbbcc", [b"aaaa", b"bbbb", b"cc"]),
        (4, b"aaaa", [b"aaaa"]),
        (32, b"short", [b"short"]),
    ],
)
def test_a_burst_gives_its_datagrams(
    size: int, data: bytes, wanted: list[bytes]
) -> None:
    """All have the segment size but the last."""
    burst = Burst(PATH, size, bytearray(data))
    assert burst.datagrams() == wanted
    assert burst.count == len(wanted)


def test_a_short_tail_can_be_taken_off() -> None:
    """Of several datagrams, if the last is shorter."""
    burst = Burst(PATH, 4, bytearray(b"aaaabbbbcc"))
    assert burst.has_short_tail
    whole, tail = burst.without_tail()
    assert whole == Burst(PATH, 4, bytearray(b"aaaabbbb"))
    assert tail == Burst(PATH, 2, bytearray(b"cc"))
    for data in (b"aaaabbbb", b"aaaa", b"aa"):
        assert not Burst(PATH, 4, bytearray(data)).has_short_tail
