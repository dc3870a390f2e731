"""Data under either cipher goes the compiled ways, in one session."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshnode.codec import virtio
from meshnode.dataplane.fast.egress import FastEgress
from meshnode.dataplane.fast.ingress import FastIngress
from meshnode.dataplane.fast.sessions import OpenSession, SealSession
from meshnode.errors import DropReason
from meshnode.forwarding import SetCipher
from meshnode.types import Cipher
from tests.inner_packets import ip_packet, udp_packet
from tests.property.test_engines_agree import Rig
from tests.unit.dataplane.reference.halves import (
    INDEX,
    SLOT,
    needs_aes,
    open_data,
    seal_data,
    session,
)

FRAME = virtio.PLAIN + udp_packet(4, b"hello")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as opened:
        yield opened


def test_sessions_begin_with_the_first_cipher() -> None:
    """And with what the halves of the reference read and write."""
    sealing = SealSession(SLOT, session())
    opening = OpenSession(SLOT, session())
    assert sealing.cipher is opening.cipher is Cipher.CHACHA20_POLY1305
    assert opening.aes_opener is None
    assert sealing.counter == 0


@needs_aes
def test_counters_go_on_when_the_cipher_changes(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There and back, and without Python."""
    noted = []
    monkeypatch.setattr(FastEgress, "_send_exception", lambda *_: noted.append(True))
    rig = Rig("fast", "egress", stack)
    for cipher in (*Cipher, Cipher.CHACHA20_POLY1305):
        rig.apply(SetCipher(SLOT, INDEX, cipher))
        for _ in range(3):
            rig.kernel.send(FRAME)
        rig.pump()
    datagrams = rig.datagrams()
    assert [one[0] for one in datagrams] == [4, 4, 4, 8, 8, 8, 4, 4, 4]
    assert [open_data(one)[0] for one in datagrams] == list(range(9))
    assert not noted


@needs_aes
def test_only_the_first_batch_meets_python(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which then gives the session its second cipher."""
    noted = []
    original = FastIngress._receive_exception

    def note(self: FastIngress, now: float) -> None:
        noted.append(now)
        original(self, now)

    monkeypatch.setattr(FastIngress, "_receive_exception", note)
    rig = Rig("fast", "ingress", stack)
    packets = [ip_packet(4, 99, os.urandom(40)) for _ in range(6)]
    ciphers = (Cipher.CHACHA20_POLY1305, Cipher.AES_256_GCM)
    for number, packet in enumerate(packets):
        cipher = ciphers[number % 2]
        rig.peer.sendto(seal_data(packet, number, cipher=cipher), rig.address)
        rig.pump()
    assert rig.packets() == packets
    assert len(noted) == 2


@needs_aes
def test_one_window_for_both_ways(stack: ExitStack) -> None:
    """A counter that one has taken, the other takes for a replay."""
    rig = Rig("fast", "ingress", stack)
    sent = [
        (number, cipher)
        for number in range(0, 40, 2)
        for cipher in (Cipher.AES_256_GCM, Cipher.CHACHA20_POLY1305)
    ]
    packets = [ip_packet(4, 99, os.urandom(40)) for _ in sent]
    for packet, (number, cipher) in zip(packets, sent, strict=True):
        rig.peer.sendto(seal_data(packet, number, cipher=cipher), rig.address)
    rig.pump()
    assert rig.packets() == packets[::2]
    assert rig.engine.drops[DropReason.REPLAY] == 20
