"""How members are reached and what our network lets through, as plain values.

Keys are those of `meshnode.mesh.describe`: only ever added to.
"""

from typing import Any, Final

from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.describe import NO_PATH, describe_path, name_of
from meshnode.mesh.node import MeshNode
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.trust import VerifiedMember
from meshnode.mesh.why import Pair, judge_pair
from meshnode.types import Endpoint

_MAPPINGS = {
    Mapping.UNKNOWN: "not seen yet",
    Mapping.ENDPOINT_INDEPENDENT: "one port for all destinations",
    Mapping.ENDPOINT_DEPENDENT: "another port for every destination",
}


def describe_why(
    node: MeshNode, member: VerifiedMember, *, port: int, now: float, wall: float
) -> dict[str, Any]:
    """Return how *member* is reached, what was tried, and what would help.

    *port* is our UDP port, *now* boottime seconds, *wall* the same on the clock.
    """
    key = member.key
    path = describe_path(node, key, now=now, wall=wall)
    kind = None if path["kind"] == NO_PATH else PathKind(path["kind"])
    said = node.reach.said_by(key, now=now)
    ours, theirs = node.nat_view.hint, NatHint() if said is None else said.nat
    attempts = node.puncher.describe(key)
    is_blocked = node.detours.is_blocked
    verdict = judge_pair(Pair(kind, ours, theirs, attempts, is_blocked, port))
    return {
        "name": member.certificate.name,
        "isDirect": kind in (PathKind.LAN, PathKind.DIRECT),
        "path": path,
        "reason": verdict.reason,
        "remedies": list(verdict.remedies),
        "ours": _nat(ours),
        "theirs": _nat(theirs),
        "relays": [
            {
                "via": [name_of(node, relay) for relay in way.relays],
                "isOpen": way.is_open,
                "rttMs": way.milliseconds,
            }
            for way in node.relays.describe(key)
        ],
        "attempts": [
            {
                "endpoint": _place(attempt.endpoint),
                "how": attempt.how.value,
                "openers": attempt.openers,
                "pings": attempt.pings,
                "milliseconds": attempt.milliseconds,
            }
            for attempt in attempts
        ],
    }


_FILTERS: Final = {
    None: None,
    True: "anybody",
    False: "whom was sent to",
}
"""How users are told of filtering (RFC 4787, section 5)."""


def describe_netcheck(node: MeshNode, *, port: int) -> dict[str, Any]:
    """Return what our network lets through, as the node has seen it."""
    facts = node.nat_view.facts()
    is_blocked = node.detours.is_blocked
    works = facts.answers or node.is_in_touch
    return {
        "port": port,
        "udp": "blocked" if is_blocked else "works" if works else "not known yet",
        "seen": None if facts.seen is None else str(facts.seen),
        "ipv6": [
            endpoint.host
            for endpoint in node.reach.own_candidates()
            if endpoint.version == 6
        ],
        "nat": {
            **_nat(facts.hint),
            "preservesPort": facts.preserves_port,
            "answers": facts.answers,
            "hairpin": node.lifetime.hairpin,
            "letsIn": _FILTERS[node.lifetime.lets_in],
            "lifetime": {
                "atLeast": node.lifetime.lived or None,
                "below": node.lifetime.died,
            },
        },
        "keepalive": node.lifetime.keepalive,
        "relays": [
            {"name": name_of(node, hint.key), "rttMs": hint.milliseconds}
            for hint in node.relays.best()
        ],
    }


def _place(endpoint: Endpoint) -> str:
    return str(endpoint) if endpoint.port else f"{endpoint.host}, any port"


def _nat(hint: NatHint) -> dict[str, Any]:
    ports = [hint.first_port, hint.last_port] if hint.first_port else None
    return {"mapping": _MAPPINGS[hint.mapping], "ports": ports}
