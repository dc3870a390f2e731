"""Links between processes keep the order, and hold what nobody reads."""

from random import Random

from meshnode.simulation.channel import Channel


class FakeSchedule:
    """Runs what was scheduled, in the order of time."""

    def __init__(self):
        self.now = 0.0
        self.actions = []

    def at(self, time, action):
        """Remember an action."""
        self.actions.append((time, action))

    def run(self):
        """Do all that was scheduled."""
        for time, action in sorted(self.actions, key=lambda entry: entry[0]):
            self.now = max(self.now, time)
            action()
        self.actions.clear()


def make(slowness=0.0):
    """Return a schedule, a channel, and the lists of deliveries and settlings."""
    schedule, got, settled = FakeSchedule(), [], []
    channel = Channel(
        schedule,
        Random(1),
        got.append,
        settle=lambda: settled.append(len(got)),
        slowness=slowness,
    )
    return schedule, channel, got, settled


def test_a_quick_channel_delivers_at_once():
    """Before `put` returns, and nobody needs to settle."""
    _, channel, got, settled = make()
    channel.put(b"1")
    assert got == [b"1"]
    assert settled == []
    assert len(channel) == 0


def test_a_slow_channel_keeps_the_order():
    """However the delays are drawn."""
    schedule, channel, got, settled = make(slowness=1.0)
    messages = [bytes([number]) for number in range(50)]
    for message in messages:
        channel.put(message)
    assert len(channel) + len(got) == 50
    schedule.run()
    assert got == messages
    assert settled
    assert schedule.now <= 1.0


def test_a_closed_channel_holds_everything():
    """Until somebody reads again."""
    schedule, channel, got, _ = make()
    channel.close()
    channel.put(b"1")
    channel.put(b"2")
    schedule.run()
    assert got == []
    channel.open()
    assert got == [b"1", b"2"]
