"""What becomes of a packet: its route, who carries it, and what stands in the way.

Pure: the same knowledge and question give the same answer, and asking changes nothing
and sends nothing. Whether the policy lets the packet in is decided where it arrives;
every node has the same policy and members, so it can be told here.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from meshnode.codec.records import Role
from meshnode.hostplan import Service
from meshnode.mesh.policy import Directory, Verdict, explain
from meshnode.mesh.policy_text import AccessPolicy
from meshnode.mesh.ports import Share
from meshnode.mesh.prefixes import contains
from meshnode.mesh.routes import RoutingTable
from meshnode.mesh.trust import VerifiedMember
from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

_DEFAULT_METRIC = 0


@frozen
class Flow:
    """The traffic that is asked about; both ends are single addresses."""

    source: Prefix
    destination: Prefix
    service: Service


@frozen
class Knowledge:
    """What a node knows when it is asked.

    `members` are those that count, ourselves too, by WireGuard key. `announced` are
    our own prefixes; `unreachable` the keys of who does not answer; `has_session` and
    `path_of` tell of the tunnels; `complaints` are the texts of `status`. `exits` names
    those we leave by, none without a full tunnel; `outside` stays outside of that.
    """

    key: bytes
    members: dict[bytes, VerifiedMember]
    overlay: tuple[Prefix, ...]
    announced: tuple[Prefix, ...]
    routing: RoutingTable
    policy: AccessPolicy
    directory: Directory
    unreachable: Collection[bytes]
    has_session: Callable[[bytes], bool]
    path_of: Callable[[bytes], Endpoint | None]
    complaints: tuple[str, ...] = ()
    exits: tuple[str, ...] = ()
    outside: tuple[Prefix, ...] = ()


@frozen
class TracedOwner:
    """One who accepts traffic to the prefix.

    `weight` is its part of the flows, 0 if it carries none now.
    """

    key: bytes
    name: str
    metric: int
    weight: int
    answers: bool
    has_session: bool
    endpoint: Endpoint | None


@frozen
class Trace:
    """The answer.

    `prefix` is the most specific one that holds the destination, None if there is
    none; `ends_here` if it is ours. Of several owners those with a weight share the
    flows. `obstacles` is empty if the packet should arrive. `is_outside` says that it
    takes no part in the mesh: it leaves beside the full tunnel.
    """

    flow: Flow
    prefix: Prefix | None
    ends_here: bool
    owners: tuple[TracedOwner, ...]
    verdict: Verdict
    obstacles: tuple[str, ...]
    is_outside: bool = False


def trace(flow: Flow, known: Knowledge) -> Trace:
    """Follow *flow* as far as this node can see."""
    verdict = explain(
        known.policy, known.directory, flow.source, flow.destination, flow.service
    )
    ours = _our_prefix(flow.destination, known)
    prefix, shares = _way(flow.destination, known)
    if ours is not None and (prefix is None or ours.length >= prefix.length):
        prefix, shares = ours, {}
    owners = tuple(
        _owner(key, weight, prefix, known) for key, weight in shares.items() if prefix
    )
    ends_here = prefix is not None and prefix == ours
    outside = _longest(flow.destination, known.outside)
    if outside is not None and (prefix is None or outside.length >= prefix.length):
        return Trace(flow, outside, False, (), verdict, (), is_outside=True)
    obstacles = (
        *_missing_route(flow.destination, prefix, known),
        *_silence(owners, known),
        *_hosts_complaints(prefix, known),
    )
    if not verdict.allowed and not (ends_here and _is_ours(flow.source, known)):
        carriers = [one.name for one in owners if one.weight]
        names = [_name(known.key, known)] if ends_here else carriers
        where = f" at {' or '.join(names)}" if names else ""
        obstacles = (*obstacles, f"the policy denies it{where}: no rule")
    return Trace(flow, prefix, ends_here, owners, verdict, obstacles)


def _is_ours(address: Prefix, known: Knowledge) -> bool:
    """Whether it is our own address: what we send to ourselves is not filtered."""
    ours = known.members.get(known.key)
    return ours is not None and address in ours.addresses


def _our_prefix(address: Prefix, known: Knowledge) -> Prefix | None:
    ours = known.members.get(known.key)
    own = (*(() if ours is None else ours.addresses), *known.announced)
    return _longest(address, own)


def _way(address: Prefix, known: Knowledge) -> tuple[Prefix | None, dict[bytes, int]]:
    """Return the prefix that a packet follows, and the weight of each owner."""
    routing = known.routing
    ways: dict[Prefix, tuple[Sequence[Share], Sequence[bytes]]] = {
        prefix: ((Share(key, 1),), (key,))
        for key, prefixes in routing.exclusive.items()
        for prefix in prefixes
    }
    for shared in routing.shared:
        ways[shared.prefix] = (shared.forward, shared.accept)
    prefix = _longest(address, ways)
    if prefix is None:
        return None, {}
    forward, accept = ways[prefix]
    weights = {share.key: share.weight for share in forward}
    return prefix, {key: weights.get(key, 0) for key in (*weights, *accept)}


def _longest(address: Prefix, prefixes: Collection[Prefix]) -> Prefix | None:
    holding = [prefix for prefix in prefixes if contains(prefix, address)]
    return max(holding, key=lambda prefix: prefix.length, default=None)


def _owner(
    key: bytes, weight: int, prefix: Prefix | None, known: Knowledge
) -> TracedOwner:
    member = known.members[key]
    routes = () if member.member is None else member.member.routes
    metrics = [route.metric for route in routes if route.prefix == prefix]
    return TracedOwner(
        key=key,
        name=member.certificate.name,
        metric=metrics[0] if metrics else _DEFAULT_METRIC,
        weight=weight,
        answers=key not in known.unreachable,
        has_session=known.has_session(key),
        endpoint=known.path_of(key),
    )


def _missing_route(
    address: Prefix, prefix: Prefix | None, known: Knowledge
) -> Iterator[str]:
    """Say why there is no way, as far as somebody offered one."""
    if prefix is not None:
        return
    if any(contains(own, address) for own in known.overlay):
        yield from _stranded_stock(address, known)
        return
    if known.exits:
        exits = ", ".join(known.exits)
        yield f"no exit that is used ({exits}) carries IPv{address.version}: dropped"
        return
    reasons = [
        f"{offered.prefix} behind {_name(offered.key, known)} is not accepted here: "
        "see accept under [routes] of the configuration"
        for offered in known.routing.offered
        if contains(offered.prefix, address)
    ]
    reasons += [
        f"{refused.prefix} behind {_name(refused.key, known)} does not count: "
        f"{refused.why.value}"
        for refused in known.routing.refused
        if contains(refused.prefix, address)
    ]
    yield from reasons or [f"no member announces a prefix with {_bare(address)}"]


def _stranded_stock(address: Prefix, known: Knowledge) -> Iterator[str]:
    for member in known.members.values():
        if address in member.addresses:
            yield f"no gateway of {member.certificate.name} is a member"
            return
    yield f"no member has the address {_bare(address)}"


def _silence(owners: tuple[TracedOwner, ...], known: Knowledge) -> Iterator[str]:
    carriers = [one for one in owners if one.weight]
    if carriers and not any(one.answers for one in carriers):
        names = ", ".join(one.name for one in carriers)
        yield f"{names} {'does' if len(carriers) == 1 else 'do'} not answer"
    for one in carriers:
        is_stock = Role.STOCK in known.members[one.key].certificate.roles
        if is_stock and one.endpoint is None:
            yield f"{one.name} was not heard of yet: it runs no meshnode, so it begins"


def _hosts_complaints(prefix: Prefix | None, known: Knowledge) -> Iterator[str]:
    for text in known.complaints:
        if prefix is not None and str(prefix) in text.replace(",", " ").split():
            yield text


def _name(key: bytes, known: Knowledge) -> str:
    member = known.members.get(key)
    return "nobody" if member is None else member.certificate.name


def _bare(address: Prefix) -> str:
    return str(address).partition("/")[0]
