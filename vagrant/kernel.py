"""Meshnode in one machine, the kernel's own WireGuard in another, and a tunnel between.

Both begin a handshake in their turn, packets of all sizes go both ways, and how fast
they go is measured. The addresses are 10.254.0.1 (meshnode) and 10.254.0.2 (kernel).
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from topology.description import Description, Lan, Runs
from topology.hosts import wait_until
from topology.processes import LabError
from vagrant.journal import Journal
from vagrant.machines import Machine, Machines

OURS, KERNELS = "wg-ours", "wg-kernel"
_PORT = 51871
_SECONDS = 5
_ANSWERED = 20.0
_V4 = {OURS: "10.254.0.1", KERNELS: "10.254.0.2"}
_V6 = {OURS: "fd00:254::1", KERNELS: "fd00:254::2"}
_FULL_PACKET = 1420 - 28
"""Bytes of a ping that makes a tunnel packet of the usual MTU."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of the tunnel: its machine, interface, public key and outer address."""

    machine: Machine
    interface: str
    key: str
    address: str


def check(machines: Machines, description: Description, journal: Journal) -> None:
    """Check the tunnel between the first two meshnode nodes that share a LAN.

    Raises:
        LabError: naming what does not work.
    """
    lan, names = _pair(description)
    left, right = (machines.machine(name) for name in names)
    addresses = [str(member.v4) for name in names if (member := lan.member(name))]
    journal.figure("kernel of the machines", left.run("uname -r").stdout.strip())
    with journal.step("without a tunnel, TCP") as details:
        rate = _throughput(left, right, addresses[1], [])
        details.append(journal.rate("TCP without a tunnel", rate))
    with journal.step(f"{names[0]}: meshnode-wg, {names[1]}: the kernel") as details:
        ours = _end(left, OURS, f"meshnode-wg {OURS}", addresses[0])
        kernels = _end(
            right, KERNELS, f"ip link add {KERNELS} type wireguard", addresses[1]
        )
        for end, kind in ((ours, "tun"), (kernels, "wireguard")):
            details.append(f"{end.machine.name}: {end.interface} is a {kind} device")
            _must_be(end, kind)
        if not meshnode_processes(left):
            raise LabError(f"{names[0]}: no process of meshnode runs")
    try:
        for first, second in ((ours, kernels), (kernels, ours)):
            _one_begins(first, second, journal)
        _measure(ours, kernels, journal)
    finally:
        with journal.step("both interfaces go, and meshnode's processes end"):
            for end in (ours, kernels):
                end.machine.ip(f"link delete {end.interface}")
            wait_until(lambda: not meshnode_processes(left), "its processes end")


def meshnode_processes(machine: Machine) -> list[int]:
    """Return the ids of all processes of meshnode in a machine."""
    # The brackets keep the shell that runs this from being found, too.
    output = machine.run("pgrep -f [m]eshnode", check=False).stdout
    return [int(word) for word in output.split()]


def _pair(description: Description) -> tuple[Lan, tuple[str, str]]:
    nodes = {node.name for node in description.nodes if node.runs is Runs.MESHNODE}
    for lan in description.lans:
        names = [member.node for member in lan.members if member.node in nodes]
        if len(names) >= 2:
            return lan, (names[0], names[1])
    raise LabError(f"{description.source}: no two meshnode nodes share a LAN")


def _end(machine: Machine, interface: str, make: str, address: str) -> End:
    """Make one end of the tunnel, as yet without its peer."""
    key = machine.script(
        f"""
        umask 077
        {make} >&2
        wg genkey >/root/{interface}.key
        wg set {interface} private-key /root/{interface}.key listen-port {_PORT}
        ip address add {_V4[interface]}/24 dev {interface}
        ip address add {_V6[interface]}/64 dev {interface} nodad
        ip link set {interface} mtu 1420 up
        wg show {interface} public-key
        """
    )
    return End(machine, interface, key, address)


def _must_be(end: End, kind: str) -> None:
    (link,) = end.machine.ip(f"-d -j link show dev {end.interface}")
    found = link["linkinfo"]["info_kind"]
    if found != kind:
        raise LabError(f"{end.interface} of {end.machine.name} is a {found} device")


def _one_begins(first: End, second: End, journal: Journal) -> None:
    """Make the peers anew, so that *first* has to begin, and ping both ways."""
    who = "meshnode" if first.interface == OURS else "the kernel"
    with journal.step(f"{who} begins; pings of both versions and sizes") as details:
        for end, other in ((first, second), (second, first)):
            endpoint = f"endpoint {other.address}:{_PORT}" if end is first else ""
            allowed = f"{_V4[other.interface]}/32,{_V6[other.interface]}/128"
            end.machine.script(
                f"wg set {end.interface} peer {other.key} remove\n"
                f"wg set {end.interface} peer {other.key} "
                f"allowed-ips {allowed} {endpoint}"
            )
        for end, other in ((first, second), (second, first)):
            for address in (_V4[other.interface], _V6[other.interface]):
                trip = _ping(end.machine, address, "-s 56")
                details.append(f"{end.machine.name} → {address}: {trip}")
            _ping(end.machine, _V4[other.interface], f"-s {_FULL_PACKET} -M do")
        shown = second.machine.run(
            f"wg show {second.interface} latest-handshakes"
        ).stdout
        if shown.split() in ([], [first.key, "0"]):
            raise LabError(f"{second.interface} shows no handshake: {shown!r}")


def _ping(machine: Machine, address: str, options: str) -> str:
    """Ping thrice and return the median round trip.

    Raises:
        CommandFailed: if no answer comes.
    """
    output = machine.run(f"ping -n -c 3 -i 0.3 -w {_ANSWERED:g} {options} {address}")
    times = sorted(float(text) for text in re.findall(r"time=([\d.]+)", output.stdout))
    return f"{times[len(times) // 2]:g} ms"


def _measure(ours: End, kernels: End, journal: Journal) -> None:
    left, right, address = ours.machine, kernels.machine, _V4[KERNELS]
    for title, options in (
        ("TCP, meshnode → kernel", []),
        ("TCP, kernel → meshnode", ["-R"]),
    ):
        with journal.step(title) as details:
            rate = _throughput(left, right, address, options)
            details.append(journal.rate(title, rate))


def _throughput(
    client: Machine, server: Machine, address: str, options: list[str]
) -> float:
    """Return what iperf3's receiver got, in bits a second."""
    with _iperf_server(server, address):
        result = client.run(
            ["iperf3", "-J", "-c", address, "-t", str(_SECONDS), *options], check=False
        )
    report = json.loads(result.stdout or "{}")
    if result.returncode != 0 or "error" in report:
        raise LabError(f"iperf3: {report.get('error', result.stderr.strip())}")
    return float(report["end"]["sum_received"]["bits_per_second"])


@contextmanager
def _iperf_server(server: Machine, address: str) -> Iterator[None]:
    server.run(f"iperf3 -s -1 -D -B {address} -I /run/iperf3.pid")
    wait_until(
        lambda: bool(server.run("ss -Hltn sport = 5201").stdout), "iperf3 listens"
    )
    try:
        yield
    finally:
        server.run("pkill -F /run/iperf3.pid", check=False)
