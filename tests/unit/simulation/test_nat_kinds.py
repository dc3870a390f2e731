"""The words of RFC 4787, and that each kind is told from every other."""

import pytest

from meshnode.simulation.nat_kinds import BEHAVIOURS, NatBehaviour, NatKind, Scope
from meshnode.types import Endpoint

ONE, PORT, OTHER = (
    Endpoint("198.51.100.1", 1),
    Endpoint("198.51.100.1", 2),
    Endpoint("198.51.100.2", 1),
)


@pytest.mark.parametrize(
    ("scope", "alike"),
    [
        (Scope.ENDPOINT_INDEPENDENT, [True, True]),
        (Scope.ADDRESS_DEPENDENT, [True, False]),
        (Scope.ADDRESS_AND_PORT_DEPENDENT, [False, False]),
    ],
)
def test_a_scope_tells_endpoints_apart(scope, alike):
    """By address and port, by address, or not at all."""
    assert [scope.of(ONE) == scope.of(other) for other in (PORT, OTHER)] == alike
    assert scope.of(ONE) == scope.of(Endpoint("198.51.100.1", 1))


def test_every_kind_but_the_open_one_behaves_in_its_own_way():
    """No two are the same NAT by two names."""
    assert set(BEHAVIOURS) == set(NatKind) - {NatKind.OPEN}
    assert len(set(BEHAVIOURS.values())) == len(BEHAVIOURS)


def test_only_https_leaves_where_udp_is_blocked():
    """Elsewhere all TCP does."""
    blocked = BEHAVIOURS[NatKind.BLOCKED]
    assert [blocked.lets_tcp_out(port) for port in (80, 443)] == [False, True]
    assert NatBehaviour().lets_tcp_out(80)
