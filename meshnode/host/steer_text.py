"""The nftables table of one network's steering: pure, a plan in, its text out.

Theory of operation. What a connection meets is decided once, by its first packet, and
kept in its conntrack mark: the number of the rule. So a rule that comes or goes, or an
address that is forgotten, never moves a connection that is there. Rules then do one of
four things to every packet of it: give it a mark that a routing rule sends into the
tunnel; the mark of our own outer packets, which stay outside; the mark of a door; or
refuse it.

A door's mark makes a routing rule deliver the packet to this very host, where `arrive`
hands it to the socket that listens there (tproxy), its addresses untouched: so the
socket tells where it was going, and no address is translated.

Never steered are: what the process behind the doors sends, known by its group id, or
it would meet itself; packets that have a mark already; answers; members' addresses;
and what is for this host, its links, or many. What this host forwards for others (its
LAN, its containers) is steered as its own, but has no user and no control group.
"""

from collections.abc import Iterable, Iterator, Mapping

from meshnode.host.firewall import collapse, port_ranges, table_name
from meshnode.host.nft import FAMILY
from meshnode.hostplan import Service, Transport
from meshnode.steering import Door, SteerPlan, SteerStep, ViaDirect, ViaMesh, ViaNowhere

Learnt = Mapping[tuple[int, str], int]
"""Seconds that an address is known for, by the index of the step and the address."""

MAX_LEARNT = 65_535
"""Addresses of one step and IP version."""

_WORD = {4: "ip", 6: "ip6"}
_KIND = {4: "ipv4_addr", 6: "ipv6_addr"}
_LOCALHOST = {4: "127.0.0.1", 6: "[::1]"}
_DOOR_BIT = 0x80
_MAX_COMMENT = 127
_LINK_LOCAL = ("ip daddr 169.254.0.0/16 return", "ip6 daddr fe80::/10 return")


def steer_table_name(network: str) -> str:
    """Return the name of the steering table of *network*."""
    return f"{table_name(network)}_steer"


def set_name(index: int, address: str) -> str:
    """Return the set that holds *address* if the step with *index* has learnt it."""
    return f"learnt{index}_{6 if ':' in address else 4}"


def counter_name(index: int) -> str:
    """Return the counter of the step with *index*."""
    return f"rule{index}"


def door_mark(plan: SteerPlan, door: Door) -> int:
    """Return the mark of what goes to *door*."""
    return plan.mark | _DOOR_BIT | door.number


def door_mask(plan: SteerPlan) -> tuple[int, int]:
    """Return value and mask of the marks of all doors."""
    return plan.mark | _DOOR_BIT, 0xFFFFFFFF & ~(_DOOR_BIT - 1)


def steer_text(plan: SteerPlan, learnt: Learnt) -> str:
    """Return the commands for nft that put the table in place of the one before."""
    table = f"table {FAMILY} {steer_table_name(plan.network)}"
    steps = list(enumerate(plan.steps))
    lines = [f"add {table}", f"delete {table}", f"{table} {{"]
    for index, step in steps:
        lines += _sets(index, step, learnt)
        lines.append(f"\tcounter {counter_name(index)} {{ }}")
    lines += _chain("refused", "", _refusal())
    for index, step in steps:
        lines += _step_chains(plan, index, step)
    lines += _chain("rules", "", _rules(steps))
    lines += _chain("classify", "", _classify(plan))
    hook = "type route hook output priority mangle; policy accept;"
    ours = [f"meta skgid {plan.group} return", "jump classify"]
    lines += _chain("begin", hook, ours)
    hook = "type filter hook prerouting priority mangle; policy accept;"
    lines += _chain("pass", hook, _pass(plan))
    hook = "type filter hook prerouting priority mangle + 1; policy accept;"
    lines += _chain("arrive", hook, _arrive(plan))
    hook = "type nat hook postrouting priority srcnat; policy accept;"
    lines += _chain("leave", hook, _leave(plan))
    return "\n".join([*lines, "}", ""])


def learnt_text(network: str, learnt: Learnt) -> str:
    """Return the commands that add *learnt*, or let it be known for longer.

    An element's time cannot be changed; so it is added (or is there), deleted and
    added anew, and the kernel does all three at once.
    """
    table = f"{FAMILY} {steer_table_name(network)}"
    lines = []
    for (index, address), seconds in learnt.items():
        place = f"element {table} {set_name(index, address)}"
        element = f"{{ {address} timeout {seconds}s }}"
        lines += [f"add {place} {element}", f"delete {place} {{ {address} }}"]
        lines.append(f"add {place} {element}")
    return "\n".join([*lines, ""])


def _chain(name: str, hook: str, rules: Iterable[str]) -> list[str]:
    lines = [f"\t\t{rule}" for rule in rules]
    if not lines and hook:
        return []
    return [f"\tchain {name} {{", *([f"\t\t{hook}"] if hook else []), *lines, "\t}"]


def _sets(index: int, step: SteerStep, learnt: Learnt) -> Iterator[str]:
    for version in (4, 6):
        prefixes = collapse(step.to, version)
        if prefixes:
            yield f"\tset to{index}_{version} {{"
            yield f"\t\ttype {_KIND[version]}; flags interval;"
            yield f"\t\telements = {{ {', '.join(prefixes)} }}"
            yield "\t}"
        if step.learns:
            name = f"learnt{index}_{version}"
            yield f"\tset {name} {{"
            yield f"\t\ttype {_KIND[version]}; flags timeout; size {MAX_LEARNT};"
            if len(step.learns) <= _MAX_COMMENT:
                # By this another process knows what the addresses stand for.
                yield f'\t\tcomment "{step.learns}"'
            known = ", ".join(
                f"{address} timeout {seconds}s"
                for (of, address), seconds in learnt.items()
                if (of, set_name(of, address)) == (index, name)
            )
            if known:
                yield f"\t\telements = {{ {known} }}"
            yield "\t}"


def _refusal() -> Iterator[str]:
    yield "meta l4proto tcp reject with tcp reset"
    yield "reject with icmpx admin-prohibited"


def _step_chains(plan: SteerPlan, index: int, step: SteerStep) -> list[str]:
    """Return what is done to every packet of a step, and to the first before that."""
    name = counter_name(index)
    done = list(_chain(name, "", [f"counter name {name}", *_treatment(plan, step)]))
    if isinstance(step.way, ViaNowhere):
        return done
    mark = f"ct mark set {_hex(_connection_mark(plan, index))}"
    return [*done, *_chain(f"take{index}", "", [mark, f"goto {name}"])]


def _treatment(plan: SteerPlan, step: SteerStep) -> Iterator[str]:
    match step.way:
        case ViaNowhere():
            yield "goto refused"
        case ViaMesh():
            yield f"meta mark set {_hex(plan.mark)} accept"
        case ViaDirect():
            yield f"meta mark set {_hex(plan.fwmark)} accept"
        case Door() as door:
            mark = _hex(door_mark(plan, door))
            for version, transport in _openings(door):
                yield (
                    f"meta nfproto ipv{version} meta l4proto {transport.value} "
                    f"meta mark set {mark} accept"
                )
            # What no proxy can carry must not leave by another way.
            yield "goto refused"


def _rules(steps: list[tuple[int, SteerStep]]) -> Iterator[str]:
    for index, step in steps:
        name = counter_name(index) if isinstance(step.way, ViaNowhere) else ""
        for destination in _destinations(index, step):
            for service in _services(step.services):
                for sender in _senders(step):
                    words = [destination, service, sender]
                    match = " ".join(word for word in words if word)
                    yield f"{match} goto {name or f'take{index}'}".strip()


def _destinations(index: int, step: SteerStep) -> Iterator[str]:
    if not step.has_destination:
        yield ""
    for version in (4, 6):
        if any(prefix.version == version for prefix in step.to):
            yield f"{_WORD[version]} daddr @to{index}_{version}"
        if step.learns:
            yield f"{_WORD[version]} daddr @learnt{index}_{version}"


def _services(services: tuple[Service, ...]) -> Iterator[str]:
    if not services:
        yield ""
    for transport in (Transport.TCP, Transport.UDP):
        ranges = [s for s in services if s.transport is transport]
        if ranges:
            yield f"{transport.value} dport {{ {', '.join(port_ranges(ranges))} }}"


def _senders(step: SteerStep) -> Iterator[str]:
    """Yield the words that match who sends; nothing if nobody of them is there."""
    if step.uids == ():
        return
    users = ""
    if step.uids is not None:
        users = f"meta skuid {{ {', '.join(map(str, sorted(set(step.uids))))} }}"
    if step.groups is None:
        yield users
        return
    for group in step.groups:
        yield f'{users} socket cgroupv2 level {group.level} "{group.path}"'.strip()


def _classify(plan: SteerPlan) -> Iterator[str]:
    yield "meta mark != 0 return"
    yield "ct direction reply return"
    yield "fib daddr type != unicast return"
    yield from _LINK_LOCAL
    for version in (4, 6):
        members = collapse(plan.overlay, version)
        if members:
            yield f"{_WORD[version]} daddr {{ {', '.join(members)} }} return"
    kept = [
        f"{_hex(_connection_mark(plan, index))} : goto {counter_name(index)}"
        for index, step in enumerate(plan.steps)
        if not isinstance(step.way, ViaNowhere)
    ]
    if kept:
        yield f"ct mark vmap {{ {', '.join(kept)} }}"
    if any(isinstance(step.way, ViaDirect) for step in plan.steps):
        # Where a full tunnel is in use, all that leaves with this mark has it kept.
        yield f"ct mark {_hex(plan.fwmark)} meta mark set {_hex(plan.fwmark)} accept"
    yield "ct state != new return"
    # Conntrack takes a connection from before its own time for a new one.
    yield "tcp flags & (fin | syn | rst | ack) != syn return"
    yield "jump rules"


def _pass(plan: SteerPlan) -> Iterator[str]:
    """Yield what steers packets of others that this host forwards."""
    if plan.forwards:
        yield f'iifname != {{ "{plan.interface}", "lo" }} jump classify'


def _arrive(plan: SteerPlan) -> Iterator[str]:
    for door in plan.doors:
        for version, transport in _openings(door):
            yield (
                f"meta mark {_hex(door_mark(plan, door))} "
                f"meta nfproto ipv{version} meta l4proto {transport.value} "
                f"tproxy {_WORD[version]} to "
                f"{_LOCALHOST[version]}:{door.port(transport, version)} accept"
            )


def _leave(plan: SteerPlan) -> Iterator[str]:
    """Yield what gives a packet the address of the interface that it now leaves by.

    Its own was chosen when it was to go another way.
    """
    ways = {type(step.way) for step in plan.steps}
    if ViaMesh in ways:
        yield (f'oifname "{plan.interface}" meta mark {_hex(plan.mark)} masquerade')
    if ViaDirect in ways:
        for version in (4, 6):
            members = collapse(plan.overlay, version)
            if members:
                # Our outer packets, which have that mark too, have no such source.
                yield (
                    f'oifname != {{ "{plan.interface}", "lo" }} '
                    f"meta mark {_hex(plan.fwmark)} "
                    f"{_WORD[version]} saddr {{ {', '.join(members)} }} masquerade"
                )


def _openings(door: Door) -> Iterator[tuple[int, Transport]]:
    """Yield what *door* takes, by IP version and protocol."""
    for version in (4, 6):
        for transport in (Transport.TCP, Transport.UDP):
            if door.port(transport, version):
                yield version, transport


def _connection_mark(plan: SteerPlan, index: int) -> int:
    return plan.mark | index + 1


def _hex(mark: int) -> str:
    return f"{mark:#010x}"
