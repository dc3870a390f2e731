"""What the Vagrantfile needs to know of a topology: machines, cards, addresses.

    python3 -m vagrant.plan topology/two-hosts.toml

prints it as JSON. Only the standard library is needed, so that Vagrant can ask without
a virtual environment.

Every card is called as its LAN is, as in the other runners. Unlike these, a machine's
kernel can delay packets, so latency and jitter are real here. Delay, loss and rate are
applied where a packet leaves a machine.
"""

import hashlib
import ipaddress
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from topology.description import Description, Lan, NatPlace, Node, Runs
from topology.nat_rules import rules, variables
from topology.parsing import load
from topology.paths import routed_trails
from topology.reading import DescriptionError

MANAGEMENT = ipaddress.IPv4Network("192.168.250.0/24")
"""The network by which Vagrant reaches the machines; no topology may use it."""

_LOCALLY_ADMINISTERED = 0x02
_QUEUE = 10_000
"""Packets that may be under way: 100 Mbit/s for a second, more than fits in memory."""

# In which order the kernel finds its cards is its own affair; their addresses are not.
_CARD_FUNCTION = """\
card() {  # ADDRESS NAME MTU
  for old in /sys/class/net/*; do
    [ "$(cat "$old/address")" = "$1" ] || continue
    old=${old##*/}
    if [ "$old" != "$2" ]; then
      ip link set dev "$old" down
      ip link set dev "$old" name "$2"
    fi
    ip link set dev "$2" mtu "$3" up
    return 0
  done
  echo "no card has the address $1" >&2
  return 1
}
"""


def plan(description: Description) -> dict[str, object]:
    """Return what the Vagrantfile reads, as JSON values.

    Raises:
        DescriptionError: if a prefix overlaps the management network.
    """
    for prefix in (description.network.cidr, *(lan.prefix for lan in description.lans)):
        if prefix.overlaps(MANAGEMENT):
            raise DescriptionError(
                f"{description.source}: {prefix} overlaps {MANAGEMENT}, by which "
                f"Vagrant reaches the machines; take another"
            )
    return {
        "management": str(MANAGEMENT),
        "machines": [
            {
                "name": node.name,
                "meshnode": node.runs is Runs.MESHNODE,
                "cards": [
                    {"lan": lan.name, "mac": card_address(node.name, lan.name)}
                    for lan in description.lans_of(node.name)
                ],
                "script": "\n".join(_script(description, node)) + "\n",
            }
            for node in description.nodes
        ],
    }


def card_address(node: str, lan: str) -> str:
    """Return the Ethernet address of a node's card, the same in every run."""
    digest = bytearray(hashlib.blake2s(f"{node}/{lan}".encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | _LOCALLY_ADMINISTERED
    return digest.hex(":")


def _script(description: Description, node: Node) -> Iterator[str]:
    """Yield the lines of the script that names a machine and joins it to its LANs.

    It runs at every start of the machine and may run again.
    """
    yield "set -eu"
    yield f"hostnamectl set-hostname {shlex.quote(node.name)}"
    yield _CARD_FUNCTION
    for lan in description.lans_of(node.name):
        name = shlex.quote(lan.name)
        yield f"card {card_address(node.name, lan.name)} {name} {lan.mtu}"
        for address in _addresses(lan, node.name):
            # Duplicate address detection would hold an IPv6 address back.
            yield f"ip address replace {address} dev {name} nodad"
        if shape := _shape(lan):
            yield f"tc qdisc replace dev {name} root netem limit {_QUEUE} {shape}"
    if node.runs is Runs.ROUTER:
        yield "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
    if node.nat:
        yield from _hide(description, node.name, node.nat)
    yield from _routes(description, node)


def _addresses(lan: Lan, node: str) -> Iterator[str]:
    member = lan.member(node)
    assert member is not None
    yield f"{member.v4}/{lan.prefix.prefixlen}"
    if member.v6 and lan.prefix6:
        yield f"{member.v6}/{lan.prefix6.prefixlen}"


def _shape(lan: Lan) -> str:
    """Return netem's options for a LAN; empty if it is a plain one."""
    options = []
    if lan.latency or lan.jitter:
        # netem's jitter goes both ways from the middle; ours comes on top.
        middle, half = lan.latency + lan.jitter / 2, lan.jitter / 2
        options.append(f"delay {round(middle * 1e6)}us {round(half * 1e6)}us")
    if lan.loss:
        options.append(f"loss {lan.loss:.4%}")
    if lan.rate:
        options.append(f"rate {lan.rate}bit")
    return " ".join(options)


def _hide(description: Description, node: str, place: NatPlace) -> Iterator[str]:
    """Yield what makes a NAT, as in namespaces."""
    member = description.lan(place.outside).member(node)
    assert member is not None
    inside = [
        (lan.name, lan.prefix)
        for lan in description.lans_of(node)
        if lan.name != place.outside
    ]
    yield "nft -f - <<'END'"
    yield rules(place, place.outside, str(member.v4), inside) + "END"
    # They exist once a rule made the kernel load what they are of.
    for key, value in variables(place).items():
        yield f"sysctl -qw {key}={value}"


def _routes(description: Description, node: Node) -> Iterator[str]:
    for name, trail in routed_trails(description, node.name).items():
        if trail.routers:
            lan, first = description.lan(name), description.lan(trail.lans[0])
            prefixes = str(lan.prefix), str(lan.prefix6 or "")
            yield from _routes_by(first, trail.routers[0], prefixes)
    if node.gateway:
        shared = next(
            lan for lan in description.lans_of(node.name) if lan.member(node.gateway)
        )
        yield from _routes_by(shared, node.gateway, ("default", "default"))


def _routes_by(lan: Lan, gateway: str, prefixes: tuple[str, str]) -> Iterator[str]:
    member = lan.member(gateway)
    assert member is not None
    hops = str(member.v4), str(member.v6 or "")
    for version, prefix, hop in zip((4, 6), prefixes, hops, strict=True):
        if prefix and hop:
            yield f"ip -{version} route replace {prefix} via {hop}"


def main(arguments: Sequence[str]) -> int:
    """Print the plan of the file named; return the exit status."""
    if len(arguments) != 1:
        print("usage: python3 -m vagrant.plan FILE", file=sys.stderr)
        return 2
    try:
        print(json.dumps(plan(load(Path(arguments[0])))))
    except DescriptionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
