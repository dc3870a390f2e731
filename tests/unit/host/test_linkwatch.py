"""Watching a device; everything with a real one is tested as root."""

import os

import pytest

from meshnode.errors import HostError
from meshnode.host.linkwatch import LinkWatch


def test_descriptor_without_a_device_is_refused_and_leaks_nothing() -> None:
    """A watch needs a TUN descriptor."""
    before = set(os.listdir("/proc/self/fd"))
    reading, writing = os.pipe()
    with pytest.raises(HostError):
        LinkWatch(reading)
    os.close(reading)
    os.close(writing)
    assert set(os.listdir("/proc/self/fd")) == before
