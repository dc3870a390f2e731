"""Reading and writing whole frames, and what the errors mean."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from meshnode.dataplane.interface import DeviceGoneError
from meshnode.dataplane.reference.device import TunDevice


@pytest.fixture
def pair() -> Iterator[tuple[TunDevice, socket.socket]]:
    """A device whose frames are datagrams of a socket pair."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        device = TunDevice(ours.detach())
        yield device, theirs
        device.close()


def test_frames_pass_whole(pair: tuple[TunDevice, socket.socket]) -> None:
    """One read gives one frame, one write makes one; None when nothing waits."""
    device, kernel = pair
    assert device.read() is None
    kernel.send(b"first")
    kernel.send(b"second")
    assert device.read() == b"first"
    assert device.read() == b"second"
    assert device.read() is None
    assert device.write((b"head", b"body")) == 0
    assert kernel.recv(100) == b"headbody"


def fail(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let the system calls fail."""

    def refuse(*arguments: object) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "read", refuse)
    monkeypatch.setattr(os, "writev", refuse)


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.ENOBUFS, errno.EAGAIN])
def test_passing_errors_are_no_end(
    pair: tuple[TunDevice, socket.socket], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A device that is down or finds fault with a frame is still there."""
    fail(monkeypatch, code)
    assert pair[0].read() is None
    assert pair[0].write((b"head", b"body")) == code


@pytest.mark.parametrize("code", [errno.EBADFD, errno.ENODEV])
def test_a_deleted_device_is_the_end(
    pair: tuple[TunDevice, socket.socket], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Both directions say so, by an error of its own."""
    fail(monkeypatch, code)
    with pytest.raises(DeviceGoneError, match="deleted"):
        pair[0].read()
    with pytest.raises(DeviceGoneError, match="deleted"):
        pair[0].write((b"head", b"body"))
