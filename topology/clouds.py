"""LANs that are an internet: routers, distance and bad luck between their members.

Each member has a TUN device, and one process carries the packets (`topology.emulator`).
So latency, jitter, reordering and the TTL are real, which a bridge cannot do; and what
is larger than the MTU vanishes without a word.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from topology import blackholes, emulator
from topology.description import Lan
from topology.emulation import Conditions
from topology.hosts import Host, Lab, Port, wait_until

_USUAL_MTU = 1500
_ROOT = Path(__file__).parents[1]


class CloudLan:
    """One internet: who is in it, and who is cut off.

    *carrier* is where its process runs; *places* are the addresses and prefixes that
    each member answers to or forwards to.
    """

    def __init__(
        self, carrier: Host, lan: Lan, places: Mapping[str, Sequence[str]]
    ) -> None:
        self.name = lan.name
        self._carrier = carrier
        self._lan = lan
        self._places = places
        self._hosts: dict[str, Host] = {}

    def attach(self, lab: Lab, host: Host, *, v4: str, v6: str = "") -> Port:
        """Plug *host* in; its interface is called as the LAN is.

        *v4* and *v6* are addresses with their prefix length; either may be empty.
        """
        mtu = max(_USUAL_MTU, self._lan.mtu)  # the way is narrow, not the door
        host.ip(f"tuntap add dev {self.name} mode tun")
        lab.note_interface(host, self.name)
        host.ip(f"link set dev {self.name} mtu {mtu} up")
        for address in filter(None, (v4, v6)):
            host.add_address(self.name, address)
        self._hosts[host.name] = host
        return Port(host, self.name, v4.partition("/")[0], v6.partition("/")[0])

    def carry(self, lab: Lab) -> None:
        """Start the process, once all members are there."""
        lan = self._lan
        conditions = Conditions(
            latency=lan.latency,
            jitter=lan.jitter,
            loss=lan.loss,
            reorder=lan.reorder,
            rate=lan.rate,
            mtu=lan.mtu,
            hops=lan.hops,
        )
        members = [
            {"namespace": host.namespace, "places": self._places[name]}
            for name, host in self._hosts.items()
        ]
        config = {
            "device": self.name,
            "seed": self.name,
            "conditions": asdict(conditions),
            "members": members,
        }
        path = lab.directory / f"internet-{self.name}.json"
        path.write_text(json.dumps(config))
        process = self._carrier.start(
            [sys.executable, "-m", emulator.__name__, str(path)],
            environment={"PYTHONPATH": str(_ROOT)},
        )
        wait_until(
            lambda: emulator.READY in process.output, f"{self.name} carries packets"
        )

    def unplug(self, host: Host) -> None:
        """Let nothing pass between *host* and the others."""
        for other in self._others(host):
            self.part(host, other)

    def plug(self, host: Host) -> None:
        """Undo `unplug`."""
        for other in self._others(host):
            self.join(host, other)

    def part(self, one: Host, other: Host) -> None:
        """Lose every packet between two members, without a sign."""
        for receiver, sender in ((one, other), (other, one)):
            blackholes.begin(receiver, self.name, self._places[sender.name])

    def join(self, one: Host, other: Host) -> None:
        """Undo `part`."""
        for receiver, sender in ((one, other), (other, one)):
            blackholes.end(receiver, self.name, self._places[sender.name])

    def _others(self, host: Host) -> list[Host]:
        return [other for name, other in self._hosts.items() if name != host.name]
