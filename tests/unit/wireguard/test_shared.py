"""The outbox is due until it is drained, and jitter stays in its range."""

import pytest

from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.forwarding import AddPeer
from meshnode.types import Endpoint, Path
from meshnode.wireguard.events import HandshakeGivenUp
from meshnode.wireguard.indices import IndexTable
from meshnode.wireguard.shared import Outbox, Shared
from meshnode.wireguard.timestamps import TimestampSource

PATH = Path(Endpoint("192.0.2.1", 1))


def make_shared(entropy):
    """Return what peers share, with that entropy."""
    return Shared(
        entropy=entropy,
        traffic=None,
        timestamps=TimestampSource(wall_time=1e9, now=0.0),
        indices=IndexTable(entropy),
        wall_offset=1e9,
    )


@pytest.mark.parametrize(
    "queue",
    [
        lambda shared: shared.send(b"x", PATH, now=7.0),
        lambda shared: shared.command(AddPeer(1), now=7.0),
        lambda shared: shared.report(
            HandshakeGivenUp(1, PublicKey(bytes(32))), now=7.0
        ),
    ],
)
def test_queued_output_is_due_at_once(queue):
    """A forgotten drain is a busy wake, not a stall."""
    shared = make_shared(bytes)
    assert shared.outbox.next_deadline() is None
    queue(shared)
    due = shared.outbox.next_deadline()
    assert (due.at, due.reason) == (7.0, "queued output")


def test_output_keeps_its_order():
    """Commands and datagrams come out as they went in."""
    shared = make_shared(bytes)
    shared.command(AddPeer(1), AddPeer(2), now=0.0)
    shared.command(AddPeer(3), now=0.0)
    assert list(shared.outbox.commands) == [AddPeer(1), AddPeer(2), AddPeer(3)]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [(b"\0\0\0\0", 0.0), (b"\0\0\0\x80", 0.1665), (b"\xff\xff\xff\xff", 0.333)],
)
def test_jitter_covers_its_range(octets, expected):
    """From nothing to just below the limit."""
    jitter = make_shared(lambda size: octets).jitter()
    assert 0.0 <= jitter < 0.333
    assert jitter == pytest.approx(expected)


def test_an_empty_outbox_is_not_due():
    """Nothing queued, nothing to wake for."""
    assert Outbox().next_deadline() is None


def test_ephemerals_are_told_to_who_asked():
    """With whom the handshake is, and what both share; else nobody hears of them."""
    shared = make_shared(lambda size: bytes(range(size)))
    peer, preshared = PublicKey(bytes(32)), PresharedKey.none()
    assert shared.new_ephemeral(peer, preshared) == bytes(range(32))
    told = []
    shared.key_log = lambda *words: told.append(words)
    ephemeral = shared.new_ephemeral(peer, preshared)
    assert told == [(ephemeral, peer, preshared)]
