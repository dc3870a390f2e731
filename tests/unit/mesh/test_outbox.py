"""Outputs wait in order, and are due at once."""

import pytest

from meshnode.mesh.events import RoutesChanged
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import DropRecord, KeepWallMark
from meshnode.types import Datagram, Endpoint, Path


def test_empty_outbox_is_never_due() -> None:
    """An idle node sleeps."""
    assert Outbox().next_deadline() is None


@pytest.mark.parametrize("kind", ["changes", "datagrams", "received", "events"])
def test_anything_that_waits_is_due_at_once(kind: str) -> None:
    """At the moment that it was queued; until it was taken."""
    outbox = Outbox()
    match kind:
        case "changes":
            outbox.keep(DropRecord(bytes(8)), KeepWallMark(1), now=3.0)
            assert outbox.changes == [DropRecord(bytes(8)), KeepWallMark(1)]
        case "datagrams":
            place = Path(Endpoint("192.0.2.1", 1))
            outbox.send(Datagram(b"x", place, hops=3), now=3.0)
            assert outbox.datagrams == [Datagram(b"x", place, hops=3)]
        case "received":
            place = Path(Endpoint("100::1", 9))
            outbox.receive(Datagram(b"x", place), now=3.0)
            assert outbox.received == [Datagram(b"x", place)]
        case "events":
            outbox.report(RoutesChanged(), now=3.0)
    deadline = outbox.next_deadline()
    assert deadline is not None
    assert deadline.at == 3.0
    getattr(outbox, kind).clear()
    assert outbox.next_deadline() is None
