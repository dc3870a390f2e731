"""Stories of peers that have to be found first, and of what passes beside packets."""

from meshnode.crypto.primitives import mac
from meshnode.errors import DropReason
from meshnode.simulation.application import inner_prefixes
from meshnode.simulation.story import tell
from meshnode.simulation.world import World
from meshnode.types import Datagram, Endpoint, Path, Prefix
from meshnode.wireguard.config import DeviceChange, PeerChange, SharedPrefix
from meshnode.wireguard.cookie import mac1_key
from meshnode.wireguard.events import (
    ControlFrame,
    EndpointWanted,
    HandshakeBegun,
    HandshakeGivenUp,
)

WRONG = [Endpoint("203.0.113.9", port) for port in (1, 2, 3)]
FRAME = b"\x01\x03\x00\x92\x06\x07"


class Seeker:
    """Hears the events of one host and tells it the candidates, after a while.

    `frames` are the control frames that came, `asked_at` the times of the questions.
    """

    def __init__(self, world, name, candidates=(), *, after=0.3):
        self.world = world
        self.host = world.hosts[name]
        self.candidates = candidates
        self.after = after
        self.asked_at, self.frames, self.begun, self.given_up = [], [], [], 0
        self.watch()

    def watch(self):
        """Listen to the control process that runs now."""
        self.host.control.on_event = self.hear

    def hear(self, event):
        """Take an event."""
        match event:
            case EndpointWanted(public_key=key):
                self.asked_at.append(self.world.now)
                if self.candidates:
                    self.world.after(self.after, lambda: self.tell(key))
            case ControlFrame(frame=frame):
                self.frames.append(frame)
            case HandshakeBegun(endpoints=endpoints):
                self.begun.append(endpoints)
            case HandshakeGivenUp():
                self.given_up += 1

    def tell(self, key):
        """Tell the engine where the peer may be."""
        engine = self.host.engine
        engine.set_candidates(key, self.candidates, now=self.host.now)
        self.host.settle()


def strangers(*, is_sought=True):
    """Return a world in which a knows b's key only, and b knows a's."""
    world = World(5)
    for name in "ab":
        world.add_host(name)
    for one, other in ("ab", "ba"):
        them = world.hosts[other]
        peer = PeerChange(
            them.public_key,
            is_sought=is_sought,
            allowed_ips=[(True, prefix) for prefix in inner_prefixes(them.index)],
        )
        world.hosts[one].configure(DeviceChange(peers=[peer]))
    return world


def test_a_peer_is_found_among_wrong_candidates():
    """Three are wrong and one is right: what waited is delivered and answered."""
    world = strangers()
    a, b = world.hosts["a"], world.hosts["b"]
    seeker = Seeker(world, "a", [*WRONG, b.endpoint])
    numbers = [a.request("b") for _ in range(3)]
    world.run(1)
    assert seeker.begun == [(*WRONG, b.endpoint)]
    assert set(numbers) <= set(a.application.answered), tell(world)
    assert a.engine.path_of(b.public_key).remote == b.endpoint
    assert len(world.trace.moments("a", "b", "initiation")) == 1
    world.run(300)
    assert len(world.trace.moments("a", "?", "initiation")) == 3


def test_a_peer_that_moved_is_found_again():
    """Its old place is silent; both ends are sought anew, and packets pass."""
    world = strangers()
    a, b = world.hosts["a"], world.hosts["b"]
    seeker = Seeker(world, "a", [*WRONG, b.endpoint])
    a.request("b")
    world.run(1)
    b.move()
    seeker.candidates = [b.endpoint]
    world.run(1)
    lost = a.request("b")
    world.run(25)
    assert lost not in a.application.answered
    number = a.request("b")
    world.run(1)
    assert number in a.application.answered, tell(world)


def test_nobody_is_asked_more_than_once_a_second():
    """Packets keep coming and nobody knows: one question a second, and no sending."""
    world = strangers()
    a = world.hosts["a"]
    seeker = Seeker(world, "a")
    for _ in range(40):
        a.request("b")
        world.run(0.1)
    gaps = [b - a for a, b in zip(seeker.asked_at, seeker.asked_at[1:], strict=False)]
    assert len(seeker.asked_at) >= 4
    assert min(gaps) >= 1.0
    assert world.trace.moments("a", "?", "initiation") == []
    world.run(120)
    assert seeker.given_up == 1
    assert world.trace.moments("a", "?", "initiation") == []


def test_a_peer_is_still_sought_after_control_crashed():
    """The packets wait on in egress, and the next control process asks for it."""
    world = strangers()
    a, b = world.hosts["a"], world.hosts["b"]
    Seeker(world, "a")
    number = a.request("b")
    world.run(1)
    a.supervisor.crash_control()
    world.run(1)
    a.supervisor.start_control()
    Seeker(world, "a", [b.endpoint]).tell(b.public_key)
    world.run(8)
    assert number in a.application.answered, tell(world)


def test_a_peer_nobody_seeks_is_refused_at_once():
    """Without somebody who looks for it there is nothing to wait for."""
    world = strangers(is_sought=False)
    seeker = Seeker(world, "a")
    world.hosts["a"].request("b")
    world.run(10)
    assert seeker.asked_at == []
    assert world.hosts["a"].workers.seal.drops[DropReason.NO_ENDPOINT] == 1


def test_control_frames_pass_beside_packets(make_pair):
    """In order with them, both ways, and no application sees one."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    at_a, at_b = Seeker(world, "a"), Seeker(world, "b")
    a.engine.send_control(b.public_key, FRAME, now=a.now)
    a.settle()
    world.run(1)
    assert at_b.frames == [FRAME + bytes(10)], tell(world)
    b.engine.send_control(a.public_key, FRAME, now=b.now)
    b.settle()
    number = b.request("a")
    world.run(1)
    assert at_a.frames == [FRAME + bytes(10)]
    assert number in b.application.answered
    assert list(a.application.delivered) == [number]


def test_an_introduction_arrives_before_the_initiation(make_pair):
    """What the mesh says first is heard first, and there is never an answer."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    seeker = Seeker(world, "a")
    body = (7).to_bytes(4, "little") + bytes(100)
    data = body + mac(mac1_key(b.public_key.raw), body)
    heard = []
    b.control.introductions = lambda data, path: heard.append((world.now, data, path))

    def before_sending():
        begun, seeker.begun = seeker.begun, []
        return [Datagram(data, Path(to)) for places in begun for to in places]

    a.control.before_sending = before_sending
    number = a.request("b")
    world.run(1)
    assert number in a.application.answered
    [(at, heard_data, path)] = heard
    assert heard_data == data
    assert path.remote == a.endpoint
    rows = [row.label for row in world.trace.rows if row.sender == "a" and row.receiver]
    assert rows[:2] == ["introduction", "initiation"]
    assert at < 1


def test_a_shared_prefix_is_carried_by_its_owners():
    """Both owners speak from it and get flows; when one goes the other has all."""
    world = World(7)
    for name in "abc":
        world.add_host(name)
    world.introduce("a", "b")
    world.introduce("a", "c")
    a, b, c = (world.hosts[name] for name in "abc")
    keys = b.public_key, c.public_key
    net = Prefix.parse("10.77.0.0/25")
    shared = SharedPrefix(net, ((keys[0], 1), (keys[1], 1)), keys)
    a.engine.share_prefixes([shared], now=a.now)
    # Without an address of its own each of the two speaks for the other.
    for them in (b, c):
        prefixes = [(False, prefix) for prefix in inner_prefixes(them.index)]
        peer = PeerChange(them.public_key, allowed_ips=prefixes)
        a.configure(DeviceChange(peers=[peer]))
    for them, other in ((b, "c"), (c, "b")):
        them.request("a")
        them.request("a", claim=other)
    world.run(1)
    assert len(a.application.delivered) == 4, tell(world)
    a.engine.share_prefixes([], now=a.now)
    a.settle()
    b.request("a")
    world.run(1)
    assert len(a.application.delivered) == 4
