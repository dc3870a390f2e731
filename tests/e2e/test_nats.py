"""What each kind of NAT does: one suite for the simulated ones and for the kernel's."""

import socket
from collections.abc import Iterator

import pytest

from meshnode.simulation.nat_kinds import BEHAVIOURS, BLOCK, Allocation, NatKind, Scope
from meshnode.types import Endpoint
from tests.nat_bench import (
    EXPIRY,
    Bench,
    behind,
    behind_two,
    in_namespaces,
    is_lost,
    seen,
    simulated,
)

RUNNERS = {"simulated": simulated, "namespaces": in_namespaces}
KINDS = [kind for kind in BEHAVIOURS if kind is not NatKind.BLOCKED]
PORT = 40000
SHORT = 3.0
"""Seconds an idle mapping lives where a test waits for its end."""
KEEPING = (Allocation.PRESERVING, Allocation.OVERLOADING)
KEEPING_KINDS = [kind for kind in KINDS if BEHAVIOURS[kind].allocation in KEEPING]


def _params(*kinds: NatKind, expiry: float = EXPIRY) -> list[object]:
    return [
        pytest.param(
            (runner, kind, expiry),
            id=f"{runner}-{kind.value}",
            marks=[pytest.mark.root] if runner == "namespaces" else [],
        )
        for runner in RUNNERS
        for kind in kinds
    ]


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest) -> Iterator[tuple[Bench, NatKind]]:
    """A bench that the tests of one kind share; they are told apart by `rebind`."""
    runner, kind, expiry = request.param
    with RUNNERS[runner](behind(kind, expiry)) as bench:
        for server in ("one", "two"):
            for port in (7001, 7002):
                bench.listen(server, port)
        yield bench, kind


@pytest.fixture
def bench(built: tuple[Bench, NatKind]) -> Bench:
    """The bench, with a NAT that knows nothing yet."""
    built[0].rebind("box")
    return built[0]


@pytest.fixture
def kind(built: tuple[Bench, NatKind]) -> NatKind:
    """The kind of the bench's NAT."""
    return built[1]


def _server(bench: Bench, name: str, port: int = 7001) -> Endpoint:
    return Endpoint(bench.address(name), port)


def _four(bench: Bench) -> list[Endpoint]:
    """Return how two ports of each of two servers see the desk's port."""
    return [
        seen(bench, "desk", PORT, _server(bench, server, port))
        for server in ("one", "two")
        for port in (7001, 7002)
    ]


@pytest.mark.parametrize("built", _params(*KINDS), indirect=True)
class TestEveryKind:
    """What RFC 4787 asks of a NAT, answered by each."""

    def test_mapping(self, bench: Bench, kind: NatKind) -> None:
        """Peers see one port or several, of the NAT's address, as its kind says."""
        behaviour = BEHAVIOURS[kind]
        mapped = _four(bench)
        assert {each.host for each in mapped} == {bench.outside("box")}
        ports = [each.port for each in mapped]
        is_one = behaviour.mapping is Scope.ENDPOINT_INDEPENDENT
        assert (len(set(ports)) == 1) == is_one
        if behaviour.allocation in KEEPING:
            assert set(ports) == {PORT}
        else:
            assert PORT not in ports
        if behaviour.allocation is Allocation.SEQUENTIAL:
            assert ports == [ports[0] + number for number in range(4)]
        if behaviour.block:
            assert {port // BLOCK for port in ports} == {ports[0] // BLOCK}

    def test_filtering(self, bench: Bench, kind: NatKind) -> None:
        """Who was spoken to is let in, and others as far as the kind says."""
        filtering = BEHAVIOURS[kind].filtering
        mapped = seen(bench, "desk", PORT, _server(bench, "one"))
        assert seen(bench, "one", 7001, mapped) == _server(bench, "one")
        by_port = filtering is Scope.ADDRESS_AND_PORT_DEPENDENT
        assert is_lost(bench, "one", 7002, mapped) == by_port
        by_address = filtering is not Scope.ENDPOINT_INDEPENDENT
        assert is_lost(bench, "two", 7001, mapped) == by_address

    def test_nobody_is_let_in_first(self, bench: Bench, kind: NatKind) -> None:
        """Not even by the kinds that let everybody in later."""
        bench.listen("desk", PORT)
        assert is_lost(bench, "one", 7001, Endpoint(bench.outside("box"), PORT))

    def test_rebinding_forgets(self, bench: Bench, kind: NatKind) -> None:
        """The old mapping leads nowhere; a new one is made as the first was."""
        mapped = seen(bench, "desk", PORT, _server(bench, "one"))
        bench.rebind("box")
        assert is_lost(bench, "one", 7001, mapped)
        seen(bench, "desk", PORT, _server(bench, "two"))


@pytest.mark.parametrize("built", _params(*KEEPING_KINDS), indirect=True)
class TestKindsThatKeepThePort:
    """There one knows the outer endpoint before anybody saw it."""

    def test_low_ttl_opens(self, bench: Bench, kind: NatKind) -> None:
        """A datagram that dies behind the NAT makes a mapping, one before it none."""
        outer = Endpoint(bench.outside("box"), PORT)
        assert is_lost(bench, "desk", PORT, _server(bench, "one"), ttl=1)
        assert is_lost(bench, "desk", PORT, _server(bench, "two"), ttl=2)
        assert seen(bench, "two", 7001, outer) == _server(bench, "two")
        bench.rebind("box")
        assert is_lost(bench, "desk", PORT, _server(bench, "one"), ttl=1)
        assert is_lost(bench, "one", 7001, outer)

    def test_early_datagrams_poison(self, bench: Bench, kind: NatKind) -> None:
        """Who comes before being asked is answered from another port, by some kinds."""
        behaviour = BEHAVIOURS[kind]
        outer = Endpoint(bench.outside("box"), PORT)
        assert is_lost(bench, "two", 7001, outer)
        assert seen(bench, "desk", PORT, _server(bench, "one")) == outer
        answer = seen(bench, "desk", PORT, _server(bench, "two"))
        assert (answer != outer) == behaviour.poisonable
        # What lets everybody in lets in the peer too, unless it took it for its own.
        assert is_lost(bench, "two", 7001, outer) == behaviour.poisonable
        assert seen(bench, "two", 7001, answer) == _server(bench, "two")


@pytest.mark.parametrize(
    "built",
    _params(
        NatKind.FULL_CONE,
        NatKind.ADDRESS_RESTRICTED,
        NatKind.MASQUERADE,
        NatKind.SYMMETRIC,
        expiry=SHORT,
    ),
    indirect=True,
)
def test_idle_mappings_expire(bench: Bench, kind: NatKind) -> None:
    """Those in use do not; and what poisoned the NAT is forgotten too."""
    outer = Endpoint(bench.outside("box"), PORT)
    assert is_lost(bench, "two", 7001, outer)
    mapped = seen(bench, "desk", PORT, _server(bench, "one"))
    for _ in range(4):
        bench.pause(SHORT / 3)
        seen(bench, "desk", PORT, _server(bench, "one"))
        seen(bench, "one", 7001, mapped)
    bench.pause(SHORT + 1)
    assert is_lost(bench, "one", 7001, mapped)
    bench.pause(SHORT + 1)
    if BEHAVIOURS[kind].allocation in KEEPING:
        assert seen(bench, "desk", PORT, _server(bench, "two")) == outer


@pytest.mark.parametrize(
    "built", _params(NatKind.FULL_CONE, NatKind.PORT_RESTRICTED), indirect=True
)
def test_hairpin(bench: Bench, kind: NatKind) -> None:
    """Inner hosts meet by their outer endpoints only where the NAT sends back in."""
    mapped = seen(bench, "desk", PORT, _server(bench, "one"))
    if kind is NatKind.FULL_CONE:
        inner = seen(bench, "sofa", 50000, mapped)
        assert inner == Endpoint(bench.outside("box"), 50000)
        assert seen(bench, "desk", PORT, inner) == mapped
    else:
        assert is_lost(bench, "sofa", 50000, mapped)


@pytest.mark.parametrize(
    "built", _params(NatKind.PORT_RESTRICTED, NatKind.MASQUERADE), indirect=True
)
class TestTwoHostsOnePort:
    """As Linux does it: a port is shared while no two speak from it to one peer."""

    def test_the_second_gets_another_port_and_keeps_it(
        self, bench: Bench, kind: NatKind
    ) -> None:
        """Once it has it, for all peers."""
        assert seen(bench, "sofa", PORT, _server(bench, "one")).port == PORT
        ports = {each.port for each in _four(bench)}
        assert len(ports) == 1
        assert PORT not in ports

    def test_a_later_collision_changes_the_port_for_some(
        self, bench: Bench, kind: NatKind
    ) -> None:
        """So the mapping is no longer independent of the peer."""
        assert seen(bench, "sofa", PORT, _server(bench, "two")).port == PORT
        ports = [each.port for each in _four(bench)]
        assert ports[:2] == [PORT, PORT]
        assert ports[2] == ports[3] != PORT

    def test_answers_find_the_host_that_asked(
        self, bench: Bench, kind: NatKind
    ) -> None:
        """Though both have the same outer endpoint."""
        outer = seen(bench, "sofa", PORT, _server(bench, "one"))
        assert seen(bench, "desk", PORT, _server(bench, "two")) == outer
        assert seen(bench, "one", 7001, outer) == _server(bench, "one")
        assert seen(bench, "two", 7001, outer) == _server(bench, "two")


@pytest.mark.parametrize("built", _params(NatKind.BLOCKED), indirect=True)
def test_blocked_lets_no_datagram_pass(bench: Bench, kind: NatKind) -> None:
    """In neither direction."""
    assert is_lost(bench, "desk", PORT, _server(bench, "one"))
    assert is_lost(bench, "one", 7001, Endpoint(bench.outside("box"), PORT))


@pytest.mark.root
@pytest.mark.parametrize("port", [443, 80])
def test_blocked_lets_https_out_alone(port: int) -> None:
    """The kernel's rules agree with what the behaviour says of TCP."""
    with in_namespaces(behind(NatKind.BLOCKED)) as bench:
        server = bench.open("one", socket.SOCK_STREAM)
        server.bind((bench.address("one"), port))
        server.listen()
        client = bench.open("desk", socket.SOCK_STREAM)
        client.settimeout(0.5)
        connected = client.connect_ex((bench.address("one"), port)) == 0
        assert connected == BEHAVIOURS[NatKind.BLOCKED].lets_tcp_out(port)


@pytest.mark.parametrize(
    "runner", ["simulated", pytest.param("namespaces", marks=pytest.mark.root)]
)
def test_a_nat_behind_a_nat(runner: str) -> None:
    """The outer one decides what peers see; either lets in only who was spoken to."""
    described = behind_two(NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC_BLOCK)
    with RUNNERS[runner](described) as bench:
        for port in (7001, 7002):
            bench.listen("one", port)
            bench.listen("two", port)
        mapped = _four(bench)
        assert {each.host for each in mapped} == {bench.outside("carrier")}
        assert len({each.port for each in mapped}) > 1
        assert len({each.port // BLOCK for each in mapped}) == 1
        assert seen(bench, "one", 7001, mapped[0]) == _server(bench, "one")
        assert is_lost(bench, "one", 7002, mapped[0])
        bench.rebind("box")
        assert is_lost(bench, "one", 7001, mapped[0])
