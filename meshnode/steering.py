"""Which traffic of this host goes where: the rules, and which one a packet meets.

Pure values. `SteerRule` is what the configuration says; `SteerPlan` what the host is
told, with users as numbers and everything that has to be looked up looked up. The
first rule that matches wins, and `first_match` says which that is.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from meshnode.hostplan import Service, Transport
from meshnode.types import Prefix
from meshnode.values import frozen

MAX_RULES: Final = 100
"""Of one network; the number of a rule is kept in seven bits of a mark."""

MAX_DOORS: Final = 30
"""Different exits and proxies that rules of one network may name."""


@frozen
class ViaMesh:
    """Into the tunnel, packet by packet, to whom the routes of the mesh say."""

    def __str__(self) -> str:
        return "mesh"


@frozen
class ViaExit:
    """Through the proxy that the member *name* offers as an exit."""

    name: str

    def __str__(self) -> str:
        return f"exit:{self.name}"


@frozen
class ViaProxy:
    """Through a proxy: scheme "socks5" or "http", a host (address or name), a port.

    `password_file` is an absolute path, "" for none.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password_file: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{who}{host}:{self.port}"


@frozen
class ViaDirect:
    """Past the tunnel, as if there were no mesh."""

    def __str__(self) -> str:
        return "direct"


@frozen
class ViaNowhere:
    """Refused, so that the application hears of it at once."""

    def __str__(self) -> str:
        return "refuse"


Via = ViaMesh | ViaExit | ViaProxy | ViaDirect | ViaNowhere


@frozen
class SteerRule:
    """One rule; within a field any element matches, and every field that is not empty.

    `to` and `domains` are one field: the destination is in a prefix, or was learnt to
    be a name's (or that of a name below it). `users` are names or numbers; `groups` are
    paths of control groups, which hold all groups below them. `ports` are TCP's and
    UDP's. A rule without any of these matches everything.
    """

    via: Via
    to: tuple[Prefix, ...] = ()
    domains: tuple[str, ...] = ()
    ports: tuple[Service, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@frozen
class SteeredFlow:
    """A flow of which is asked where it goes.

    `destination` is a single address. `users` are all the words for who sends, name
    and number, none if that is unknown, and `group` the path of its control group or
    "". `domain` is the name that the application asked for or ""; `learnt` are the
    indices of the rules that know the destination by a name.
    """

    destination: Prefix
    service: Service
    users: frozenset[str] = frozenset()
    group: str = ""
    domain: str = ""
    learnt: frozenset[int] = frozenset()


@frozen
class ControlGroup:
    """A control group as the kernel is told of it.

    `path` is relative to where nft looks for it, `level` its depth from 1, and `inode`
    what it is known by: another group of the same path is another group.
    """

    path: str
    level: int
    inode: int


@frozen
class Door:
    """Where the traffic for one proxy is handed in: local ports, 0 for none.

    `number` is 1 to `MAX_DOORS`.
    """

    number: int
    tcp4: int = 0
    tcp6: int = 0
    udp4: int = 0
    udp6: int = 0

    def port(self, transport: Transport, version: int) -> int:
        """Return the port for TCP or UDP over IP *version*."""
        ports = {
            (Transport.TCP, 4): self.tcp4,
            (Transport.TCP, 6): self.tcp6,
            (Transport.UDP, 4): self.udp4,
            (Transport.UDP, 6): self.udp6,
        }
        return ports[transport, version]


@frozen
class SteerStep:
    """A rule as the host carries it out.

    `learns` is a domain whose addresses are added while it is in force, "" if none are
    (of several the first will do). `uids` are those of
    its users and `groups` their control groups, None for everybody; if none of them
    is there, it matches nothing. `way` is a `Door`, or one of the ways that need none.
    """

    way: Door | ViaMesh | ViaDirect | ViaNowhere
    to: tuple[Prefix, ...] = ()
    learns: str = ""
    services: tuple[Service, ...] = ()
    uids: tuple[int, ...] | None = None
    groups: tuple[ControlGroup, ...] | None = None

    @property
    def has_destination(self) -> bool:
        """Whether it matches some destinations only."""
        return bool(self.to or self.learns)


@frozen
class SteerPlan:
    """All of one network's steering, whole.

    `fwmark` is the mark of our outer packets; `mark` the first of 256 of our own, of
    which packets and connections have one; `tunnel_table` and `local_table` are routing
    tables of our own; `group` is the group id of the process that carries what is
    handed in, which is never steered, as is what goes to `overlay`, the addresses of
    members. `forwards` says that the host forwards packets of others.
    """

    network: str
    interface: str
    fwmark: int
    mark: int
    tunnel_table: int
    local_table: int
    group: int
    overlay: tuple[Prefix, ...]
    steps: tuple[SteerStep, ...]
    forwards: bool = False

    @property
    def doors(self) -> tuple[Door, ...]:
        """The doors that steps lead to, each once, in order."""
        found = [step.way for step in self.steps if isinstance(step.way, Door)]
        return tuple(dict.fromkeys(found))


def first_match(rules: Sequence[SteerRule], flow: SteeredFlow) -> int | None:
    """Return the index of the rule that *flow* meets, None if it meets none."""
    for index, rule in enumerate(rules):
        if _matches(index, rule, flow):
            return index
    return None


def rules_for_name(rules: Sequence[SteerRule], name: str) -> tuple[int, ...]:
    """Return the indices of the rules that want to know the addresses of *name*."""
    return tuple(
        index for index, rule in enumerate(rules) if _is_below(name, rule.domains)
    )


def normal_name(name: str) -> str:
    """Return *name* in lower case and without a final dot."""
    return name.lower().removesuffix(".")


def holds(prefix: Prefix, address: Prefix) -> bool:
    """Whether *address*, a single one, is in *prefix*."""
    if prefix.version != address.version:
        return False
    shift = (32 if prefix.version == 4 else 128) - prefix.length
    return prefix.network >> shift == address.network >> shift


def _matches(index: int, rule: SteerRule, flow: SteeredFlow) -> bool:
    if rule.to or rule.domains:
        known = index in flow.learnt or _is_below(flow.domain, rule.domains)
        if not known and not any(holds(one, flow.destination) for one in rule.to):
            return False
    if rule.ports and not any(_serves(one, flow.service) for one in rule.ports):
        return False
    if rule.users and flow.users.isdisjoint(rule.users):
        return False
    return not rule.groups or any(_is_group(flow.group, one) for one in rule.groups)


def _is_below(name: str, domains: Iterable[str]) -> bool:
    name = normal_name(name)
    return any(name == one or name.endswith(f".{one}") for one in domains)


def _is_group(group: str, rule: str) -> bool:
    group, rule = group.strip("/"), rule.strip("/")
    return group == rule or group.startswith(f"{rule}/")


def _serves(rule: Service, service: Service) -> bool:
    same = rule.transport is service.transport
    return same and rule.first <= service.first <= rule.last
