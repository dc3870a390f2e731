"""What a node knows, as plain values for commands and scripts.

Keys are camelCase and only ever added to; keys of WireGuard are base64, times wall
seconds.
"""

import ipaddress
from dataclasses import asdict
from typing import Any

from meshnode.channels import channel_of
from meshnode.codec.records import Role
from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.mesh.events import MeshEvent
from meshnode.mesh.exit_view import describe_exit
from meshnode.mesh.node import MeshNode
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.roads import as_routes
from meshnode.mesh.routes import DEFAULT_ROUTES, offered_exit_routes
from meshnode.mesh.trust import VerifiedMember, overlay_ipv6, ula_prefix
from meshnode.types import Endpoint, Prefix
from meshnode.wireguard.config import PeerStatus

NO_PATH = "none"
DIRECT = PathKind.DIRECT.value
_DAY = 86_400
_WARN_BEFORE = 28 * _DAY
"""Seconds before its end that a certificate is complained of."""


def describe_status(node: MeshNode, *, wall: float) -> dict[str, Any]:
    """Return the facts of `meshnode status` that the mesh knows."""
    ours = node.own.certificate
    charter = node.trust.charter
    v6 = overlay_ipv6(node.trust.network_id, node.key)
    policy = node.sync.policy
    return {
        "network": charter.name,
        "networkId": charter.network_id.hex(),
        "cidr": str(charter.cidr),
        "ula": str(ula_prefix(charter.network_id)),
        "charter": charter.version,
        "authorities": len(charter.authorities),
        "name": ours.name,
        "key": str(PublicKey(node.key)),
        "ipv4": str(ipaddress.IPv4Address(ours.ipv4)),
        "ipv6": str(ipaddress.IPv6Address(v6)),
        "groups": list(ours.groups),
        "subnets": [str(subnet) for subnet in ours.subnets],
        "roles": role_names(ours.roles),
        "certificate": {
            "serial": ours.serial.hex(),
            "notBefore": ours.not_before,
            "notAfter": ours.not_after,
            "memberSince": ours.member_since,
        },
        "isIssuer": node.office is not None,
        "isInTouch": node.is_in_touch,
        "members": len(node.membership),
        "neighbours": [name_of(node, key) for key in node.neighbours.chosen],
        "silent": len(node.neighbours.silent),
        "policy": 0 if policy is None else policy.version,
        "recordsDigest": node.records.tree.root[0].hex(),
        "endpoints": [str(one) for one in node.reach.own_candidates()],
        "candidates": [
            {"endpoint": str(endpoint), "kind": kind.value}
            for endpoint, kind in node.reach.own_kinds().items()
        ],
        "exit": describe_exit(node.roads, node.owners.unhealthy),
        "health": complaints(node, wall=wall),
    }


def complaints(node: MeshNode, *, wall: float) -> list[str]:
    """Return everything that is wrong with the node, and what soon will be."""
    return [*node.health.values(), *_expiries(node, wall)]


def describe_peers(
    node: MeshNode, wireguard: dict[bytes, PeerStatus], *, now: float, wall: float
) -> list[dict[str, Any]]:
    """Return the members but ourselves; *wireguard* has the tunnels' side by key.

    *now* is boottime seconds, *wall* the same moment on the clock.
    """
    silent = frozenset(node.neighbours.silent)
    neighbours = frozenset(node.neighbours.chosen)
    found = []
    for member in sorted(node.membership, key=lambda m: m.certificate.name):
        if member.key == node.key:
            continue
        facts = _peer(node, member, wireguard.get(member.key), now)
        facts["path"] = describe_path(node, member.key, now=now, wall=wall)
        facts["isNeighbour"] = member.key in neighbours
        facts["isSilent"] = member.key in silent
        found.append(facts)
    return found


def describe_path(
    node: MeshNode, key: bytes, *, now: float, wall: float
) -> dict[str, Any]:
    """Return how the member with *key* is reached at present.

    `kind` is lan, direct, tls, relayed or, without a session, none; `via` names the
    relays; `rttMs` is null as long as nothing was measured; `standby` is the kind of
    the path that waits, or null. *now* is boottime seconds, *wall* the same on the
    clock.
    """
    state = node.paths.describe(key)
    endpoint = node.tunnels.path_of(key)
    if endpoint is None or not node.has_session(key):
        kind, endpoint, state = NO_PATH, None, None
    elif state is not None:
        kind = state.kind.value
    else:
        kind = PathKind.RELAYED.value if channel_of(endpoint) else DIRECT
    is_relayed = endpoint is not None and channel_of(endpoint) != 0
    standby = None if state is None else state.standby
    return {
        "kind": kind,
        "endpoint": None if endpoint is None or is_relayed else str(endpoint),
        "via": [name_of(node, one) for one in state.via] if state else [],
        "rttMs": _milliseconds(None if state is None else state.seconds),
        "loss": round(state.loss, 3) if state else 0.0,
        "standby": None if standby is None else standby.value,
        "standbyRttMs": _milliseconds(None if state is None else state.standby_seconds),
        "standbyLoss": round(state.standby_loss, 3) if state else 0.0,
        "since": round(wall - (now - state.since)) if state else None,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def count_paths(node: MeshNode) -> dict[str, int]:
    """Return how many members with a session are reached by each kind of path."""
    counts: dict[str, int] = {}
    for member in node.membership:
        kind = describe_path(node, member.key, now=0.0, wall=0.0)["kind"]
        if kind != NO_PATH:
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def describe_routes(node: MeshNode) -> list[dict[str, Any]]:
    """Return every announced prefix with its owners, and what became of it."""
    routing = node.roads.routing
    unhealthy = node.owners.unhealthy
    states: dict[Prefix, str] = dict.fromkeys(routing.accepted, "accepted")
    taken = routing.exclusive.get(node.roads.exits.chosen, ())
    states |= {one: "accepted" for one in taken if one in DEFAULT_ROUTES}
    for offered in routing.offered:
        states.setdefault(offered.prefix, "not accepted")
    reasons = {(one.prefix, one.key): one.why.value for one in routing.refused}
    for one in routing.refused:
        states.setdefault(one.prefix, "refused")
    forwards: dict[Prefix, set[bytes]] = {
        shared.prefix: {share.key for share in shared.forward}
        for shared in routing.shared
    }
    for key, prefixes in routing.exclusive.items():
        for prefix in prefixes:
            forwards.setdefault(prefix, {key})
    found: dict[Prefix, list[dict[str, Any]]] = {}
    for member in sorted(node.membership, key=lambda m: m.certificate.name):
        for route in () if member.member is None else member.member.routes:
            is_ours = member.key == node.key
            found.setdefault(route.prefix, []).append(
                {
                    "name": member.certificate.name,
                    "metric": route.metric,
                    "weight": route.weight,
                    "healthy": member.key not in unhealthy,
                    "forwards": member.key in forwards.get(route.prefix, ())
                    and not is_ours,
                    "refused": reasons.get((route.prefix, member.key), ""),
                }
            )
            if is_ours:
                states[route.prefix] = "announced"
    return [
        {
            "prefix": str(prefix),
            "state": states.get(prefix, "not accepted"),
            "owners": owners,
        }
        for prefix, owners in sorted(
            found.items(), key=lambda i: (i[0].version, i[0].network, i[0].length)
        )
    ]


def describe_event(event: MeshEvent) -> dict[str, Any]:
    """Return *event* as `meshnode watch` tells it."""
    name = type(event).__name__
    facts = {
        _camel(key): str(PublicKey(value)) if isinstance(value, bytes) else value
        for key, value in asdict(event).items()
    }
    return {"event": name[0].lower() + name[1:], **facts}


def role_names(roles: Role) -> list[str]:
    """Return the names of these roles, in lower case."""
    return [
        (role.name or "").lower()
        for role in Role
        if role is not Role.NONE and role in roles
    ]


def name_of(node: MeshNode, key: bytes) -> str:
    """Return the name of the member with this key, or the key."""
    member = node.membership.by_key(key)
    return str(PublicKey(key)) if member is None else member.certificate.name


def find_member(node: MeshNode, text: str) -> VerifiedMember | None:
    """Return the member that *text* means: a name, overlay address or key."""
    member = node.membership.by_name(text)
    if member is not None:
        return member
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _find_key(node, text)
    bits = 32 if address.version == 4 else 128
    return node.membership.by_address(Prefix(address.version, int(address), bits))


def _find_key(node: MeshNode, text: str) -> VerifiedMember | None:
    try:
        return node.membership.by_key(PublicKey.from_base64(text).raw)
    except ConfigError:
        return None


def _camel(key: str) -> str:
    head, *tail = key.split("_")
    return head + "".join(part.title() for part in tail)


def _peer(
    node: MeshNode, member: VerifiedMember, status: PeerStatus | None, now: float
) -> dict[str, Any]:
    certificate = member.certificate
    v4, v6 = (str(address).partition("/")[0] for address in member.addresses)
    endpoint = None if status is None else status.endpoint
    kind = None
    if endpoint is not None:
        kind = node.reach.dialler.kind_of(member.key, endpoint, now=now)
    routes = () if member.member is None else member.member.routes
    has_session = node.has_session(member.key)
    return {
        "name": certificate.name,
        "key": str(PublicKey(member.key)),
        "ipv4": v4,
        "ipv6": v6,
        "groups": list(certificate.groups),
        "roles": role_names(certificate.roles),
        "routes": [str(route.prefix) for route in routes],
        "offersExit": bool(offered_exit_routes(as_routes(member))),
        "isExitInUse": member.key == node.roads.exits.chosen,
        "notAfter": certificate.not_after,
        "memberSince": certificate.member_since,
        "hasSession": has_session,
        "endpoint": shown_endpoint(endpoint),
        "cipher": _cipher_of(status) if has_session else "",
        "mtu": node.packet_size(member.key),
        "endpointKind": None if kind is None else kind.value,
        "lastHandshake": 0 if status is None else status.last_handshake[0],
        "receivedBytes": 0 if status is None else status.received_bytes,
        "sentBytes": 0 if status is None else status.sent_bytes,
        "gateways": [name_of(node, key) for key in certificate.gateways],
    }


def shown_endpoint(endpoint: Endpoint | None) -> str | None:
    """Return an endpoint as text; a channel is no address that means anything."""
    return None if endpoint is None or channel_of(endpoint) else str(endpoint)


def _cipher_of(status: PeerStatus | None) -> str:
    """Return what data is sent under, "" if there is no session."""
    return "" if status is None or status.cipher is None else status.cipher.label


def _expiries(node: MeshNode, wall: float) -> list[str]:
    """Say which papers end soon."""
    ours = node.own.certificate
    # A certificate for an hour is no concern while two thirds of it have not passed.
    third = (ours.not_after - ours.not_before) / 3
    ends = [("our certificate", ours.not_after, min(_WARN_BEFORE, third))]
    if node.office is not None:
        until = node.office.issuer.not_after
        ends.append(("our permission to issue", until, _WARN_BEFORE))
    texts = []
    for what, at, warn_before in ends:
        left = at - wall
        if left < 0:
            texts.append(f"{what} has ended")
        elif left < warn_before:
            texts.append(f"{what} ends in {int(left // _DAY)} days")
    return texts
