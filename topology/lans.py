"""Ethernet segments with several hosts, and what can go wrong in them.

Each is a bridge in a namespace that holds bridges only, so a host sees nothing but its
own end of a cable. Loss and cuts happen there too: a host cannot tell them from a
network that fails somewhere on the way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from topology.clouds import CloudLan
from topology.description import Lan
from topology.hosts import Host, Lab, Port

_BURST = "32kb"
_LONGEST_QUEUE = "50ms"


class Switches:
    """The namespace that holds all segments of a laboratory."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        # No node can have this name, as it has an underscore.
        self.host = lab.host("the_switches")
        self.host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        # Some kernels let bridges look into IP, and cut what a port is too narrow for.
        for kind in ("iptables", "ip6tables"):
            key = f"net.bridge.bridge-nf-call-{kind}"
            if Path("/proc/sys", *key.split(".")).exists():
                self.host.sysctl(key, 0)
        self.host.nft("table netdev switches {}")
        self._ports = 0
        self._lans = 0

    def lan(
        self, name: str, *, mtu: int = 1500, loss: float = 0.0, rate: int = 0
    ) -> "HostLan":
        """Add a segment; see `HostLan` for what the arguments mean."""
        self._lans += 1
        bridge = f"lan{self._lans}"
        self.host.ip(f"link add name {bridge} mtu {mtu} type bridge")
        self._lab.note_interface(self.host, bridge)
        self.host.ip(f"link set dev {bridge} up")
        return HostLan(self, name, bridge, mtu, loss, rate)

    def cloud(self, lan: Lan, places: Mapping[str, Sequence[str]]) -> CloudLan:
        """Add a LAN that is an internet; its process is among the bridges."""
        return CloudLan(self.host, lan, places)

    def next_port(self) -> int:
        """Return a number that no other port of these switches has."""
        self._ports += 1
        return self._ports


class HostLan:
    """One segment: its members, the share of packets it loses, who is cut off.

    `mtu` is in bytes, `loss` from 0 to 1, `rate` in bits a second for each member and
    direction, 0 for no limit.
    """

    def __init__(
        self,
        switches: Switches,
        name: str,
        bridge: str,
        mtu: int,
        loss: float,
        rate: int,
    ) -> None:
        self.name = name
        self._switches = switches
        self._bridge = bridge
        self._mtu = mtu
        self._loss = loss
        self._rate = rate
        self._sockets: dict[str, int] = {}
        self._cuts: set[frozenset[str]] = set()

    def attach(self, lab: Lab, host: Host, *, v4: str, v6: str = "") -> Port:
        """Plug *host* in; its interface is called as the segment is.

        *v4* and *v6* are addresses with their prefix length; either may be empty.
        """
        number = self._switches.next_port()
        self._sockets[host.name] = number
        socket, switch = f"port{number}", self._switches.host
        lab.cable((host, self.name), (switch, socket), mtu=self._mtu)
        host.ip(f"link set dev {self.name} address {_mac(number)}")
        switch.ip(f"link set dev {socket} master {self._bridge}")
        for address in filter(None, (v4, v6)):
            host.add_address(self.name, address)
        if self._rate:
            for end, interface in ((host, self.name), (switch, socket)):
                end.run(
                    f"tc qdisc add dev {interface} root tbf rate {self._rate}bit "
                    f"burst {_BURST} latency {_LONGEST_QUEUE}"
                )
        if self._loss:
            self._load_rules(host.name)
        return Port(host, self.name, v4.partition("/")[0], v6.partition("/")[0])

    def unplug(self, host: Host) -> None:
        """Let nothing pass between *host* and the segment; its link stays up."""
        self._switches.host.ip(f"link set dev port{self._sockets[host.name]} nomaster")

    def plug(self, host: Host) -> None:
        """Undo `unplug`."""
        socket = f"port{self._sockets[host.name]}"
        self._switches.host.ip(f"link set dev {socket} master {self._bridge}")

    def part(self, one: Host, other: Host) -> None:
        """Lose every packet between two members, without a sign."""
        self._cuts.add(frozenset((one.name, other.name)))
        self._load_rules(one.name)
        self._load_rules(other.name)

    def join(self, one: Host, other: Host) -> None:
        """Undo `part`."""
        self._cuts.discard(frozenset((one.name, other.name)))
        self._load_rules(one.name)
        self._load_rules(other.name)

    def _load_rules(self, name: str) -> None:
        """Replace the rules for what comes from a member."""
        socket = f"port{self._sockets[name]}"
        rules = []
        if self._loss:
            lost = max(1, round(self._loss * 1e6))
            # numgen gives at most 999,999: nft takes no comparison with more.
            some = f"numgen random mod 1000000 < {lost} " if lost < 1e6 else ""
            rules.append(f"{some}drop")
        for pair in self._cuts:
            if name in pair:
                (other,) = pair - {name}
                rules.append(f"ether daddr {_mac(self._sockets[other])} drop")
        chain = f"netdev switches {socket}"
        self._switches.host.nft(
            f"add chain {chain} "
            f'{{ type filter hook ingress device "{socket}" priority 0; }}\n'
            f"flush chain {chain}\n"
            + "".join(f"add rule {chain} {rule}\n" for rule in rules)
        )


def _mac(number: int) -> str:
    """Return a locally administered Ethernet address."""
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
