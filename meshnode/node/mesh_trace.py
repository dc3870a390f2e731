"""The verb `trace` of the control socket: what becomes of a packet, and why."""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.hostplan import Service, Transport
from meshnode.manage.toml_reader import Table, choice, integer, text
from meshnode.mesh.describe import find_member
from meshnode.mesh.node import MeshNode
from meshnode.mesh.policy import describe_service
from meshnode.mesh.tracing import Flow, Knowledge, Trace, trace
from meshnode.node.mesh_admin import NoSuchMemberError
from meshnode.node.mesh_shell import MeshShell
from meshnode.types import Endpoint, Prefix
from meshnode.wireguard.config import DeviceStatus

Answered = Mapping[str, object]
Verb = Callable[[Table], Awaitable[Answered]]
Steered = Callable[[Prefix, Service, str, str, str], dict[str, Any] | None]
"""Takes destination, service, user, control group and domain; the rest may be ""."""

_TRANSPORTS = choice("tcp", "udp", "icmp")


class MeshTrace:
    """Answers `trace` from what is known at the moment.

    Args:
        shell: the mesh.
        device: gives the state of the interface.
        steered: gives the steering rule that a packet of this host meets.
    """

    def __init__(
        self,
        shell: MeshShell,
        device: Callable[[], DeviceStatus],
        steered: Steered,
    ) -> None:
        self._shell = shell
        self._device = device
        self._steered = steered

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {"trace": self._trace}

    async def _trace(self, args: Table) -> Answered:
        node = self._shell.node
        destination = args.get("to", text, None)
        source = args.optional("from", text)
        transport = Transport(args.get("transport", _TRANSPORTS, "icmp"))
        port = args.get("port", integer(0, 65535), 0)
        sender = [args.optional(key, text) for key in ("user", "group", "domain")]
        args.finish()
        if bool(port) == (transport is Transport.ICMP):
            raise ConfigError("tcp and udp need a port, icmp has none")
        end = _address(node, destination, version=None)
        begin = _own_address(node, end.version)
        if source is not None:
            begin = _address(node, source, version=end.version)
        if begin.version != end.version:
            raise ConfigError("both ends must be IPv4, or both IPv6")
        service = Service(transport, port, port)
        flow = Flow(begin, end, service)
        user, group, domain = (word or "" for word in sender)
        steer = None
        if source is None:
            steer = self._steered(end, service, user, group, domain)
        paths = {peer.public_key.raw: peer.endpoint for peer in self._device().peers}
        found = trace(flow, knowledge_of(node, paths))
        member = node.membership.by_address(end)
        mtu = node.sizes.base if member is None else node.packet_size(member.key)
        described = describe_trace(found)
        if steer is not None and steer["via"] != "mesh":
            described = {**described, **_elsewhere(steer)}
        full = node.roads.settings.full_tunnel
        return {
            **described,
            "mtu": mtu,
            "killSwitch": full is not None and full.kill_switch,
            "steer": steer,
        }


def knowledge_of(node: MeshNode, paths: Mapping[bytes, Endpoint | None]) -> Knowledge:
    """Return what *node* knows of ways; *paths* are where peers are, by key."""
    roads = node.roads
    full = roads.settings.full_tunnel
    return Knowledge(
        key=node.key,
        members={member.key: member for member in node.membership},
        overlay=roads.overlay,
        announced=tuple(one.prefix for one in roads.announced),
        routing=roads.routing,
        policy=roads.policy,
        directory=roads.directory(),
        unreachable={*node.neighbours.silent, *node.owners.unhealthy},
        has_session=node.has_session,
        path_of=paths.get,
        complaints=tuple(node.health.values()),
        exits=roads.settings.exits,
        outside=() if full is None else full.lan,
    )


def describe_trace(found: Trace) -> dict[str, Any]:
    """Return *found* as `meshnode trace --json` shows it."""
    flow = found.flow
    return {
        "from": _bare(flow.source),
        "to": _bare(flow.destination),
        "service": describe_service(flow.service),
        "prefix": None if found.prefix is None else str(found.prefix),
        "endsHere": found.ends_here,
        "isOutside": found.is_outside,
        "owners": [
            {
                "name": owner.name,
                "key": str(PublicKey(owner.key)),
                "metric": owner.metric,
                "weight": owner.weight,
                "answers": owner.answers,
                "hasSession": owner.has_session,
                "endpoint": None if owner.endpoint is None else str(owner.endpoint),
            }
            for owner in found.owners
        ],
        "allowed": found.verdict.allowed,
        "rule": found.verdict.rule,
        "verdict": str(found.verdict),
        "obstacles": list(found.obstacles),
    }


def _elsewhere(steer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is different about a packet that does not go by the mesh's routes."""
    obstacles = []
    if steer["via"] == "refuse":
        obstacles.append(f"steering rule {steer['rule']} of this host refuses it")
    return {"prefix": None, "owners": [], "endsHere": False, "obstacles": obstacles}


def _address(node: MeshNode, word: str, *, version: int | None) -> Prefix:
    """Return the address that *word* is, or that of the member it names."""
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        member = find_member(node, word)
        if member is None:
            raise NoSuchMemberError(
                f"{word!r} is neither an address nor a member; see: meshnode peers"
            ) from None
        return member.addresses[1 if version == 6 else 0]
    bits = 32 if address.version == 4 else 128
    return Prefix(address.version, int(address), bits)


def _own_address(node: MeshNode, version: int) -> Prefix:
    ours = node.membership.by_key(node.key)
    if ours is None:
        raise ConfigError("this node is no member now; see: meshnode status")
    return ours.addresses[1 if version == 6 else 0]


def _bare(address: Prefix) -> str:
    return str(address).partition("/")[0]
