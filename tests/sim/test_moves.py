"""Stories of hosts that move, and of those who pretend they did."""

from meshnode.simulation.application import Kind
from meshnode.simulation.story import tell
from meshnode.types import Endpoint

NOBODY = Endpoint("203.0.113.9", 4242)


def _endpoint(world, where, who):
    key = world.hosts[who].public_key
    peers = world.hosts[where].engine.status().peers
    return next(peer.endpoint for peer in peers if peer.public_key == key)


def _captured(world, sender, label):
    """Record the datagrams of *sender* from now on whose name begins so."""
    seen = []

    def keep(flight):
        from meshnode.simulation.trace import describe

        if flight.sender == sender and describe(flight.data).startswith(label):
            seen.append(flight)
        return False

    world.network.drop_if(keep)
    return seen


def test_a_host_that_moves_is_followed(make_pair):
    """One packet from the new address is enough, and no handshake is needed."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.run(1)
    a.move()
    a.request("b")
    world.run(1)
    assert _endpoint(world, "b", "a") == a.endpoint
    number = b.request("a")
    world.run(1)
    assert number in b.application.answered, tell(world)
    assert len(world.trace.moments("a", "b", "initiation")) == 1


def test_a_move_to_the_other_family(make_pair):
    """From IPv4 to IPv6 inside one session."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.run(1)
    b.prefers_ipv6 = True
    world.administrator.tell_endpoint("a", "b")
    number = a.request("b")
    world.run(1)
    assert number in a.application.answered
    assert _endpoint(world, "b", "a") == Endpoint(a.addresses[6], 51820)
    assert len(world.trace.moments("a", "b", "initiation")) == 1


def test_both_move_while_one_still_knows_the_way(make_pair):
    """The mover is found again although it alone speaks to an old address first."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.run(1)
    b.move()
    lost = a.request("b")
    world.run(5)
    assert lost not in a.application.answered
    b.request("a")
    number = a.request("b")
    world.run(20)
    assert number in a.application.answered or a.request("b")
    world.run(20)
    assert _endpoint(world, "a", "b") == b.endpoint, tell(world)


def test_a_move_in_the_middle_of_a_handshake(make_pair):
    """The response goes to the old address; the retransmission mends it."""
    world = make_pair()
    a = world.hosts["a"]
    number = a.request("b")
    world.run(0.01)
    a.move()
    world.run(6)
    assert number in a.application.answered, tell(world)


def test_a_replayed_packet_moves_nobody(make_pair):
    """Accepted data that comes again, from elsewhere, changes no endpoint."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    seen = _captured(world, "a", "data")
    a.request("b")
    world.run(1)
    before = _endpoint(world, "b", "a")
    for flight in seen:
        world.inject(flight.data, source=NOBODY, to=b.endpoint, origin="a")
    assert _endpoint(world, "b", "a") == before == a.endpoint


def test_a_cookie_reply_moves_nobody(make_pair):
    """A true cookie reply from another address is used, and moves no endpoint."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    b.pretended_queue = 1000
    held = []
    release = world.network.drop_if(
        lambda flight: flight.sender == "b" and not held.append(flight)
    )
    number = a.request("b")
    world.run(1)
    release()
    world.inject(held[0].data, source=NOBODY, to=a.endpoint, origin="b")
    assert _endpoint(world, "a", "b") == b.endpoint
    world.run(6)
    assert number in a.application.answered, tell(world)


def test_packets_with_a_wrong_source_still_show_the_way(make_pair):
    """A packet that cryptokey routing refuses was authenticated all the same."""
    world = make_pair()
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.run(1)
    a.move()
    number = a.request("b", claim="b")
    world.run(1)
    assert number not in b.application.delivered
    assert _endpoint(world, "b", "a") == a.endpoint, tell(world)


def test_a_prefix_moves_to_another_peer():
    """Who lost a prefix is refused with it at once; who has it is heard."""
    from meshnode.simulation.world import World

    world = World(3)
    for name in "abc":
        world.add_host(name)
    world.introduce("a", "b")
    world.introduce("c", "b")
    a, b = world.hosts["a"], world.hosts["b"]
    a.request("b")
    world.hosts["c"].request("b")
    world.run(1)
    world.administrator.allow("b", "c", "a")
    refused = a.request("b")
    taken = world.hosts["c"].request("b", claim="a")
    world.run(1)
    assert refused not in b.application.delivered
    assert taken in b.application.delivered
    assert Kind.REQUEST
