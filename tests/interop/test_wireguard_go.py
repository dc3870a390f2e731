"""Meshnode, by each of its engines, and wireguard-go talk to each other, both ways.

wireguard-go also meets itself: that proves the scenarios, not us.
"""

from collections.abc import Callable

import pytest

from tests.interop import scenarios
from topology.hosts import Lab
from topology.tunnels import UserspaceWireGuard, meshnode, wireguard_go

pytestmark = pytest.mark.root

FACTORIES: dict[str, Callable[[], UserspaceWireGuard]] = {
    "meshnode": meshnode,
    "fast": lambda: meshnode("fast"),
    "wireguard-go": wireguard_go,
}
MATRIX = (
    ("meshnode", "wireguard-go"),
    ("wireguard-go", "meshnode"),
    ("fast", "wireguard-go"),
    ("wireguard-go", "fast"),
    ("fast", "meshnode"),
    ("meshnode", "meshnode"),
    ("wireguard-go", "wireguard-go"),
)


@pytest.fixture(params=MATRIX, ids="-to-".join)
def both(request: pytest.FixtureRequest) -> scenarios.Implementations:
    """The implementation that begins, and the one that answers."""
    left, right = request.param
    return FACTORIES[left](), FACTORIES[right]()


@pytest.fixture(params=FACTORIES)
def one(request: pytest.FixtureRequest) -> UserspaceWireGuard:
    """Each implementation alone."""
    return FACTORIES[request.param]()


@pytest.mark.parametrize("outer", [4, 6], ids=["over-v4", "over-v6"])
@pytest.mark.parametrize("psk", [True, False], ids=["psk", "no-psk"])
def test_byte_counts_are_exact(
    lab: Lab, both: scenarios.Implementations, psk: bool, outer: int
) -> None:
    """A handshake and ten pings cost the same bytes as in the kernel."""
    key = scenarios.preshared_key() if psk else ""
    scenarios.exact_bytes(scenarios.pair(lab, both, outer=outer, preshared=(key, key)))


@pytest.mark.parametrize("outer", [4, 6], ids=["over-v4", "over-v6"])
def test_traffic_of_both_versions_passes(
    lab: Lab, both: scenarios.Implementations, outer: int
) -> None:
    """Pings and TCP pass in both directions, unharmed."""
    scenarios.traffic(scenarios.pair(lab, both, outer=outer))


def test_roaming_is_followed(lab: Lab, both: scenarios.Implementations) -> None:
    """A device that changes address, port and IP version is found again at once."""
    scenarios.roaming(scenarios.pair(lab, both))


@pytest.mark.parametrize("outer", [4, 6])
def test_source_addresses_stick_while_they_exist(
    lab: Lab, both: scenarios.Implementations, outer: int
) -> None:
    """Answers leave from where they were asked; an address that goes is given up."""
    two = scenarios.pair(lab, both, outer=outer)
    scenarios.sticky_source(two, outer, survives_loss=both[0].name != "wireguard-go")


def test_crypto_routing_filters_sources(
    lab: Lab, both: scenarios.Implementations
) -> None:
    """A source that belongs to another peer is dropped; its sender still roams."""
    scenarios.crypto_routing(scenarios.pair(lab, both))


def test_private_key_changes_under_traffic(
    lab: Lab, both: scenarios.Implementations
) -> None:
    """Both sides go on with the new key within a ping."""
    scenarios.key_change(scenarios.pair(lab, both))


def test_preshared_key_mismatch_is_refused(
    lab: Lab, both: scenarios.Implementations
) -> None:
    """Different pre-shared keys give no session, and the same ones do."""
    keys = scenarios.preshared_key(), scenarios.preshared_key()
    scenarios.preshared_mismatch(scenarios.pair(lab, both, preshared=keys))


def test_keepalive_holds_a_nat_open(lab: Lab, both: scenarios.Implementations) -> None:
    """Behind a NAT that forgets in 2 s we stay reachable with a keepalive of 1 s."""
    scenarios.behind_nat(lab, both)


def test_interfaces_move_between_namespaces(
    lab: Lab, both: scenarios.Implementations
) -> None:
    """The sockets stay in the namespace in which the interface was made."""
    scenarios.moved_interfaces(lab, both)


def test_large_configurations_pass(lab: Lab, one: UserspaceWireGuard) -> None:
    """Thousands of prefixes and dozens of peers are read back as they were set."""
    scenarios.configuration_sizes(one.start(lab.host("alone")))


def test_configuration_means_what_wg_says(lab: Lab, one: UserspaceWireGuard) -> None:
    """Keys, peers and prefixes behave as `wg` documents."""
    scenarios.configuration_semantics(one.start(lab.host("alone")))


def test_low_order_keys_get_no_packet(lab: Lab, one: UserspaceWireGuard) -> None:
    """A peer key that gives an all-zero secret never gets a handshake."""
    scenarios.low_order_keys(lab, one)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_session_is_replaced_under_traffic(lab: Lab) -> None:
    """After 120 s each side as initiator makes a new session and loses no packet."""
    pairs = []
    for number, (left, right) in enumerate(MATRIX[:4]):
        hosts = lab.host(f"left{number}"), lab.host(f"right{number}")
        ports = lab.connect(*hosts)
        both = FACTORIES[left](), FACTORIES[right]()
        pairs.append(scenarios.pair(lab, both, ports=ports))
    scenarios.rekeying(pairs, seconds=130)
