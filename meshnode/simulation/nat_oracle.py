"""Which pairs of hosts can speak directly, and what it takes: the judge of punching.

It reasons from what the NATs do, not from how anybody punches. `Technique` is the
least that suffices, where both sides learn from others how they are seen.
"""

import enum

from meshnode.simulation.nat_kinds import (
    BEHAVIOURS,
    Allocation,
    NatBehaviour,
    NatKind,
    Scope,
)


class Technique(enum.Enum):
    """What makes a direct path, from the cheapest; `RELAY` is that nothing does."""

    SEND = "one side lets anybody in: the other begins, and is answered"
    PUNCH = "both send to where the other is seen"
    OPENER = "the same, but the first datagram dies before it reaches the other NAT"
    PREDICTION = "the next ports of the sequence are tried"
    BLOCK_SEARCH = "a few samples tell the block of ports, and it is searched"
    BIRTHDAY = "many sockets on one side, many random ports tried on the other"
    RELAY = "no direct path; a relay"


def technique(one: NatKind, other: NatKind) -> Technique:
    """Return the least that joins a host behind *one* with a host behind *other*."""
    behaviours = [BEHAVIOURS.get(kind) for kind in (one, other)]
    if any(each is not None and each.blocks_udp for each in behaviours):
        return Technique.RELAY
    hidden = [each for each in behaviours if each is not None]
    if len(hidden) < 2 or any(_lets_anybody_in(each) for each in hidden):
        return Technique.SEND
    symmetric = [each for each in hidden if _is_symmetric(each)]
    if len(symmetric) == 2:
        return Technique.RELAY
    if symmetric:
        (cone,) = (each for each in hidden if not _is_symmetric(each))
        return _against(symmetric[0], cone)
    is_poisonable = any(each.poisonable for each in hidden)
    return Technique.OPENER if is_poisonable else Technique.PUNCH


def can_be_direct(one: NatKind, other: NatKind) -> bool:
    """Return whether any technique joins the two without a relay."""
    return technique(one, other) is not Technique.RELAY


def _against(symmetric: NatBehaviour, cone: NatBehaviour) -> Technique:
    """Return what finds the port of a symmetric NAT, for a host behind a cone."""
    if cone.filtering is not Scope.ADDRESS_AND_PORT_DEPENDENT:
        # The cone lets in any port of an address it has sent to.
        return Technique.PUNCH
    if symmetric.allocation is Allocation.SEQUENTIAL:
        return Technique.PREDICTION
    return Technique.BLOCK_SEARCH if symmetric.block else Technique.BIRTHDAY


def _is_symmetric(behaviour: NatBehaviour) -> bool:
    return behaviour.mapping is not Scope.ENDPOINT_INDEPENDENT


def _lets_anybody_in(behaviour: NatBehaviour) -> bool:
    """Whether the outer endpoint is one for all peers, and open to all."""
    scopes = {behaviour.mapping, behaviour.filtering}
    return scopes == {Scope.ENDPOINT_INDEPENDENT}
