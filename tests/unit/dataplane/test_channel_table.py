"""Channels by number, and how much may go on by them."""

from meshnode.dataplane.channel_table import MIN_BURST, Channel, ChannelTable
from meshnode.forwarding import OpenChannel

OPEN = OpenChannel(5, 1, 6, onward=2)


def test_a_channel_is_found_until_it_is_closed() -> None:
    """Closing it twice does no harm."""
    table = ChannelTable()
    table.open(OPEN)
    channel = table.find(5)
    assert channel is not None
    assert channel.command == OPEN
    for _ in range(2):
        table.close(5)
    assert table.find(5) is None


def test_a_peer_takes_its_channels_along() -> None:
    """Whichever end it was."""
    table = ChannelTable()
    for number, slot, onward in ((1, 1, 2), (2, 2, 1), (3, 1, None), (4, 2, None)):
        table.open(OpenChannel(number, slot, 9, onward))
    table.remove_slot(1)
    assert [number for number in range(6) if table.find(number)] == [4]


def test_without_limits_everything_goes_on() -> None:
    """Always."""
    channel = Channel(OPEN)
    assert [channel.take(64, 1500, now=1.0) for _ in range(100)] == [64] * 100


def test_the_rate_is_kept_to_in_whole_datagrams() -> None:
    """A burst at once, and then as time goes by; going back earns nothing."""
    channel = Channel(OpenChannel(5, 1, 6, 2, rate=10_000))
    assert channel.take(100, 1000, now=1.0) == MIN_BURST // 1000
    assert channel.take(1, 1000, now=1.0) == 0
    assert channel.take(9, 1000, now=1.5) == 5
    assert channel.take(1, 1000, now=0.5) == 0
    assert channel.take(1000, 1000, now=1000.0) == MIN_BURST // 1000


def test_a_high_rate_may_pass_some_of_it_at_once() -> None:
    """50 ms of 100 MB/s are 5 MB."""
    channel = Channel(OpenChannel(5, 1, 6, 2, rate=100_000_000))
    assert channel.take(10_000, 1000, now=1.0) == 5000


def test_a_quota_lasts_until_the_command_is_repeated() -> None:
    """The rate's memory is not wiped by that; other peers begin anew."""
    table = ChannelTable()
    command = OpenChannel(5, 1, 6, 2, rate=1, quota=2500)
    table.open(command)
    channel = table.find(5)
    assert channel is not None
    assert [channel.take(1, 1000, now=1.0) for _ in range(4)] == [1, 1, 0, 0]
    table.open(command)
    assert table.find(5) is channel
    assert [channel.take(1, 1000, now=1.0) for _ in range(3)] == [1, 1, 0]
    for _ in range(40):
        table.open(command)
        channel.take(2, 1000, now=1.0)
    assert channel.take(1, 1000, now=1.0) == 0
    table.open(OpenChannel(5, 3, 6, 2))
    assert table.find(5) is not channel
