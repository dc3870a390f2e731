"""A NAT agrees with a model that remembers all traffic and nothing else."""

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from meshnode.simulation.nat import Drop, Nat, Packet
from meshnode.simulation.nat_kinds import Allocation, NatBehaviour, Scope
from meshnode.types import Endpoint

OUTSIDE = "203.0.113.9"
INNER = [
    Endpoint(f"192.168.1.{host}", port) for host in (2, 3) for port in (4000, 4001)
]
REMOTE = [Endpoint(f"198.51.100.{host}", port) for host in (1, 2) for port in (71, 72)]
EXPIRY = 10.0

behaviours = st.builds(
    NatBehaviour,
    mapping=st.sampled_from(Scope),
    filtering=st.sampled_from(Scope),
    allocation=st.sampled_from(
        [Allocation.PRESERVING, Allocation.SEQUENTIAL, Allocation.RANDOM]
    ),
    block=st.sampled_from([0, 1024]),
    expiry=st.just(EXPIRY),
    refreshed_by_inbound=st.booleans(),
)

# Seconds until a packet, its ends, and whether it leaves or comes to a port in use.
traffic = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 4.0, 9.0, 10.0, 11.0]),
        st.booleans(),
        st.sampled_from(INNER),
        st.sampled_from(REMOTE),
        st.integers(0, 5),
    ),
    max_size=40,
)


class Passed(NamedTuple):
    """What kept something alive: when, whose, with whom, by which port.

    `made_for` is the remote that the mapping was made for: what comes in from another
    keeps it alive, too, but is none that leaves by it.
    """

    at: float
    inner: Endpoint
    remote: Endpoint
    port: int
    made_for: Endpoint


@dataclass
class Model:
    """All that passed."""

    behaviour: NatBehaviour
    log: list[Passed] = field(default_factory=list)

    def living(self, now: float) -> list[Passed]:
        """Return what counts still."""
        return [one for one in self.log if now - one.at < EXPIRY]

    def note_sent(
        self, now: float, inner: Endpoint, remote: Endpoint, port: int
    ) -> None:
        """Log what left."""
        self.log.append(Passed(now, inner, remote, port, made_for=remote))

    def note_received(
        self, now: float, inner: Endpoint, remote: Endpoint, port: int
    ) -> None:
        """Log what came in, by a port that one living mapping has."""
        made_for = next(one.made_for for one in self.living(now) if one.port == port)
        self.log.append(Passed(now, inner, remote, port, made_for))

    def port(self, inner: Endpoint, remote: Endpoint, now: float) -> int | None:
        """Return the port that a living mapping has for this, None if there is none."""
        scope = self.behaviour.mapping.of
        ports = {
            one.port
            for one in self.living(now)
            if one.inner == inner and scope(one.made_for) == scope(remote)
        }
        assert len(ports) <= 1
        return ports.pop() if ports else None

    def owner(self, remote: Endpoint, port: int, now: float) -> Endpoint | None:
        """Return who gets what comes from *remote*, None if nobody does."""
        scope = self.behaviour.filtering.of
        owners = {
            one.inner
            for one in self.living(now)
            if one.port == port and scope(one.remote) == scope(remote)
        }
        assert len(owners) <= 1
        return owners.pop() if owners else None


@given(behaviours, traffic)
def test_a_nat_does_what_its_traffic_says(behaviour, packets):
    """Mappings are kept and shared as far as they should be, and filters hold."""
    nat, model, now = Nat(behaviour, OUTSIDE, Random(1)), Model(behaviour), 0.0
    ports = [4000]
    for pause, leaves, inner, remote, number in packets:
        now += pause
        if leaves:
            known = model.port(inner, remote, now)
            taken = {one.port for one in model.living(now)}
            sent = nat.outbound(Packet(inner, remote, b""), now=now)
            assert isinstance(sent, Packet)
            assert (sent.source.host, sent.destination) == (OUTSIDE, remote)
            port = sent.source.port
            assert port == known if known is not None else port not in taken
            model.note_sent(now, inner, remote, port)
            ports.append(port)
        else:
            port = ports[-1 - number % len(ports)]
            owner = model.owner(remote, port, now)
            came = nat.inbound(Packet(remote, Endpoint(OUTSIDE, port), b""), now=now)
            if owner is None:
                assert came in (Drop.NO_MAPPING, Drop.FILTERED)
            else:
                assert isinstance(came, Packet)
                assert (came.source, came.destination) == (remote, owner)
                if behaviour.refreshed_by_inbound:
                    model.note_received(now, owner, remote, port)
    assert {(one.inner, one.port) for one in model.living(now)} == set(
        nat.mappings(now)
    )


@given(st.booleans(), traffic)
def test_flows_of_an_overloading_nat_are_never_confused(poisonable, packets):
    """At any moment a port and a peer belong to one inner endpoint at most."""
    behaviour = NatBehaviour(expiry=EXPIRY, poisonable=poisonable)
    nat, now = Nat(behaviour, OUTSIDE, Random(1)), 0.0
    flows: dict[tuple[Endpoint, int], tuple[float, Endpoint]] = {}
    for pause, leaves, inner, remote, number in packets:
        now += pause
        if leaves:
            sent = nat.outbound(Packet(inner, remote, b""), now=now)
            assert isinstance(sent, Packet)
            flow = remote, sent.source.port
            at, owner = flows.get(flow, (now - EXPIRY, inner))
            assert owner == inner or now - at >= EXPIRY
            flows[flow] = now, inner
        else:
            flow = remote, 4000 + number % 2
            outer = Endpoint(OUTSIDE, flow[1])
            came = nat.inbound(Packet(remote, outer, b""), now=now)
            at, owner = flows.get(flow, (now - EXPIRY, inner))
            if now - at < EXPIRY:
                assert isinstance(came, Packet)
                assert came.destination == owner
                flows[flow] = now, owner
            else:
                assert isinstance(came, Drop)
