"""Choosing an engine, and what a burst is."""

import pytest

from meshnode.dataplane.interface import Burst, open_engine
from meshnode.errors import ConfigError
from meshnode.types import Endpoint, Path

PATH = Path(Endpoint("192.0.2.1", 51820))


def test_the_reference_engine_opens() -> None:
    """The engine every installation has."""
    factory = open_engine("reference")
    assert callable(factory.egress)
    assert callable(factory.ingress)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("fast", "not built"), ("", "no engine"), ("Fast", "no engine")],
)
def test_other_engines_are_refused(name: str, reason: str) -> None:
    """An engine that is not there is never replaced in silence; the remedy is named."""
    with pytest.raises(ConfigError, match=reason) as refusal:
        open_engine(name)
    assert "reference" in str(refusal.value)


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
    assert Burst(PATH, size, bytearray(data)).datagrams() == wanted
