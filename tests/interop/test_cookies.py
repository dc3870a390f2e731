"""A responder under a flood asks for cookies, and who brings one gets its session.

The attacker sends initiations with a right mac1 over garbage from ever new addresses
(paper 5.3); the initiator is a peer that the responder does not know the address of,
so to begin with it looks like any other stranger.
"""

import os
import struct
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.interop.scenarios import RIGHT_V4, Pair, pair
from topology.hosts import Lab, Port, wait_until
from topology.processes import Process
from topology.tunnels import (
    LISTEN_PORT,
    UserspaceWireGuard,
    meshnode,
    wireguard_go,
)

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]

SOURCES = "10.66.0.0/16"
FLOOD_SECONDS = 30
PATIENCE = 22
"""Seconds for the session: an initiation is sent at 0, 5, 10, 15 and 20."""

INITIATION, RESPONSE, COOKIE_REPLY = 148, 92, 64
ZERO_MAC = bytes(16)


def on_one_cpu(implementation: UserspaceWireGuard) -> UserspaceWireGuard:
    """Run a program on one CPU, so that one flood overloads it on any machine."""
    cpu = str(max(os.sched_getaffinity(0)))
    return replace(
        implementation, command=("taskset", "-c", cpu, *implementation.command)
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through one end of a link, in whole frames."""

    sent_bytes: int
    received: int
    received_bytes: int


def traffic_of(port: Port) -> Traffic:
    """Read a link's counters: unlike the flood's own socket they miss no reply."""
    (link,) = port.host.ip(f"-j -s link show dev {port.interface}")
    sent, received = link["stats64"]["tx"], link["stats64"]["rx"]
    return Traffic(sent["bytes"], received["packets"], received["bytes"])


def start_flood(two: Pair, attacker: Port, target: Port, rate: int) -> Process:
    """Flood the right device with *rate* forged initiations a second."""
    attacker.host.ip(f"route add local {SOURCES} dev lo")
    target.host.ip(f"route add {SOURCES} via {attacker.v4}")
    words = [target.v4, LISTEN_PORT, two.right.public_key, "valid-mac1"]
    return attacker.host.start(
        [
            *(sys.executable, "-m", "topology.flood"),
            *map(str, [*words, rate, FLOOD_SECONDS, SOURCES]),
        ],
        environment={"PYTHONPATH": str(Path(__file__).parents[2])},
    )


def start_capture(port: Port, file: Path) -> Process:
    """Write the WireGuard datagrams of a link to *file*; return once that has begun."""
    capture = port.host.start(
        f"tcpdump -n -U --immediate-mode -Z root -i {port.interface} -w {file} "
        f"udp port {LISTEN_PORT}"
    )
    wait_until(lambda: "listening on" in capture.output, "a capture")
    return capture


def captured(file: Path) -> list[tuple[str, bytes]]:
    """Return the source address and UDP payload of all IPv4 datagrams in a capture."""
    data, offset = file.read_bytes(), 24
    datagrams = []
    while offset < len(data):
        (size,) = struct.unpack_from("=I", data, offset + 8)
        frame = data[offset + 16 :][:size]
        # Ethernet, IPv4 without options and UDP headers: 14, 20 and 8 bytes.
        datagrams.append((".".join(map(str, frame[26:30])), frame[42:]))
        offset += 16 + size
    return datagrams


def handshake_in(two: Pair, datagrams: list[tuple[str, bytes]]) -> list[str]:
    """Name the handshake messages between two devices in the order they passed."""
    names = {
        (two.right_port.v4, COOKIE_REPLY): "cookie",
        (two.right_port.v4, RESPONSE): "response",
        (two.left_port.v4, INITIATION): "initiation",
    }
    messages = []
    for source, payload in datagrams:
        name = names.get((source, len(payload)))
        if name == "initiation" and payload[-16:] != ZERO_MAC:
            name = "proven initiation"
        if name:
            messages.append(name)
    return messages


@pytest.mark.parametrize("responder", ["meshnode", "wireguard-go"])
def test_cookie_lets_an_initiator_through_a_flood(lab: Lab, responder: str) -> None:
    """Under load strangers get cookies, and the one who brings his gets a session."""
    # Meshnode asks for cookies from 1000 strangers a second on; wireguard-go when 128
    # handshakes wait, so it takes a rate above what one CPU can answer.
    both, rate = {
        "meshnode": ((wireguard_go(), meshnode()), 2500),
        "wireguard-go": ((meshnode(), on_one_cpu(wireguard_go())), 25000),
    }[responder]
    two = pair(lab, both)
    attacker, target = lab.connect(lab.host("attacker"), two.right_port.host)
    file = lab.directory / "handshake.pcap"
    capture = start_capture(two.left_port, file)
    flood = start_flood(two, attacker, target, rate)
    # Garbage is answered in no other way than by a cookie reply.
    wait_until(lambda: traffic_of(attacker).received > 100, "cookies for strangers")
    two.left.inside.run(f"ping -c 1 -w {PATIENCE} {RIGHT_V4}", timeout=PATIENCE + 2)
    assert flood.is_running, flood.output
    asked = traffic_of(attacker).received
    wait_until(lambda: traffic_of(attacker).received > asked + 100, "cookies go on")
    for process in (flood, capture):
        assert process.stop()
    # In the order of their first appearance: each may have been lost and repeated.
    messages = list(dict.fromkeys(handshake_in(two, captured(file))))
    assert messages == ["initiation", "cookie", "proven initiation", "response"]
    total = traffic_of(attacker)
    assert total.received_bytes < total.sent_bytes
