"""What NATs do, in the words of RFC 4787, and the kinds that a laboratory builds.

A kind stands for many devices of the field. Both runners know the same kinds: the
simulation by the behaviour here, the namespaces by nftables rules (`topology.nats`).
The standard library is enough for this module: plans are made where nothing else is.
"""

import enum
from collections.abc import Hashable
from typing import Final, Protocol

from meshnode.values import frozen

FIRST_PORT: Final = 1024
LAST_PORT: Final = 65535
"""The ports that a NAT gives out unless it keeps them in blocks or in sequence."""

FIRST_IN_SEQUENCE: Final = 20_000
SEQUENCE: Final = 2000
"""How many ports a sequential NAT uses before it begins anew."""

BLOCK: Final = 1024
"""Ports that a carrier-grade NAT sets aside for one subscriber."""

EXPIRY: Final = 30.0
"""Seconds an idle mapping lives: the shortest found among home gateways."""


class HasAddress(Protocol):
    """A host's address and a UDP port."""

    @property
    def host(self) -> str:
        """The numeric address."""

    @property
    def port(self) -> int:
        """The port, 0–65535."""


class Scope(enum.Enum):
    """How much of the far endpoint a mapping, or a filter, depends on."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"

    def of(self, remote: HasAddress) -> Hashable:
        """Return what of *remote* counts: two that give the same are treated alike."""
        match self:
            case Scope.ENDPOINT_INDEPENDENT:
                return None
            case Scope.ADDRESS_DEPENDENT:
                return remote.host
            case Scope.ADDRESS_AND_PORT_DEPENDENT:
                return remote.host, remote.port


class Allocation(enum.Enum):
    """Which outer port a new mapping gets."""

    PRESERVING = "the inner port, while no other mapping has it"
    OVERLOADING = "the inner port, unless another mapping speaks from it to that peer"
    SEQUENTIAL = "the one after the last"
    RANDOM = "any"


@frozen
class NatBehaviour:
    """All that tells one NAT from another.

    A mapping, and the leave it gives to answers, lives `expiry` seconds after the last
    datagram out, or either way if `refreshed_by_inbound`. With `block` each inner
    address has so many ports of its own. A NAT with `hairpin` lets inner hosts reach
    each other by their outer endpoints. One that is `poisonable` takes a refused
    datagram for its own: while it remembers that, its mapping to this peer needs
    another port. One that `blocks_udp` lets no datagram pass at all.
    """

    mapping: Scope = Scope.ENDPOINT_INDEPENDENT
    filtering: Scope = Scope.ADDRESS_AND_PORT_DEPENDENT
    allocation: Allocation = Allocation.OVERLOADING
    block: int = 0
    expiry: float = EXPIRY
    refreshed_by_inbound: bool = True
    hairpin: bool = False
    poisonable: bool = False
    blocks_udp: bool = False

    def lets_tcp_out(self, port: int) -> bool:
        """Return whether an inner host may connect to this TCP port outside."""
        return not self.blocks_udp or port == 443


class NatKind(enum.Enum):
    """The kinds; the value is what a topology file calls them."""

    OPEN = "open"
    FULL_CONE = "full-cone"
    ADDRESS_RESTRICTED = "address-restricted"
    PORT_RESTRICTED = "port-restricted"
    MASQUERADE = "masquerade"
    PORT_CHANGING = "port-changing"
    SYMMETRIC_SEQUENTIAL = "symmetric-sequential"
    SYMMETRIC_BLOCK = "symmetric-block"
    SYMMETRIC = "symmetric"
    SYMMETRIC_POISONABLE = "symmetric-poisonable"
    BLOCKED = "blocked"


_CONE: Final = Scope.ENDPOINT_INDEPENDENT
_SYMMETRIC: Final = Scope.ADDRESS_AND_PORT_DEPENDENT

BEHAVIOURS: Final = {
    NatKind.FULL_CONE: NatBehaviour(filtering=_CONE, allocation=Allocation.PRESERVING),
    NatKind.ADDRESS_RESTRICTED: NatBehaviour(
        filtering=Scope.ADDRESS_DEPENDENT, allocation=Allocation.PRESERVING
    ),
    NatKind.PORT_RESTRICTED: NatBehaviour(),
    NatKind.MASQUERADE: NatBehaviour(poisonable=True),
    NatKind.PORT_CHANGING: NatBehaviour(allocation=Allocation.RANDOM),
    NatKind.SYMMETRIC_SEQUENTIAL: NatBehaviour(
        _SYMMETRIC, allocation=Allocation.SEQUENTIAL
    ),
    NatKind.SYMMETRIC_BLOCK: NatBehaviour(
        _SYMMETRIC, allocation=Allocation.RANDOM, block=BLOCK
    ),
    NatKind.SYMMETRIC: NatBehaviour(_SYMMETRIC, allocation=Allocation.RANDOM),
    NatKind.SYMMETRIC_POISONABLE: NatBehaviour(
        _SYMMETRIC, allocation=Allocation.RANDOM, poisonable=True
    ),
    NatKind.BLOCKED: NatBehaviour(blocks_udp=True),
}
"""How each kind behaves; `NatKind.OPEN` is no NAT and has no behaviour."""
