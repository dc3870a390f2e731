"""What a new worker is told of channels and standby paths."""

from meshnode.forwarding import OpenChannel, SetStandby
from meshnode.types import Endpoint, Path
from meshnode.wireguard.ways import Ways

PATH = Path(Endpoint("192.0.2.1", 1))


def test_what_ended_is_not_told() -> None:
    """A closed channel, or a standby path that was taken back."""
    ways = Ways()
    ways.open(OpenChannel(5, 1, 6))
    ways.set_standby(SetStandby(1, PATH))
    assert list(ways.commands()) == [SetStandby(1, PATH), OpenChannel(5, 1, 6)]
    assert ways.close(5)
    assert not ways.close(5)
    for _ in range(2):
        ways.set_standby(SetStandby(1, None))
    assert list(ways.commands()) == []


def test_a_peer_takes_along_what_was_its() -> None:
    """At either end of a channel: its slot will be somebody else's."""
    ways = Ways()
    for number, slot, onward in ((1, 1, 2), (2, 2, 1), (3, 1, None), (4, 2, None)):
        ways.open(OpenChannel(number, slot, 9, onward))
    for slot in (1, 2):
        ways.set_standby(SetStandby(slot, PATH))
    ways.remove_slot(1)
    assert list(ways.commands()) == [SetStandby(2, PATH), OpenChannel(4, 2, 9)]
