"""Paths survive the way into the kernel's structures and back."""

import pytest

from meshnode.dataplane.fast.paths import round_trip
from meshnode.types import Endpoint, Path, Source


@pytest.mark.parametrize(
    "path",
    [
        Path(Endpoint("192.0.2.1", 51820)),
        Path(Endpoint("192.0.2.1", 65535), Source("198.51.100.7", 12)),
        Path(Endpoint("2001:db8::1", 1)),
        Path(Endpoint("2001:db8::1", 51820), Source("2001:db8::2", 3)),
        Path(Endpoint("fe80::1", 51820, 4), Source("fe80::2", 4)),
    ],
)
def test_nothing_is_lost(path: Path) -> None:
    """Host, port, zone, local address and interface."""
    assert round_trip(path) == path
