"""A hub: one WireGuard device with many peers, of which one is real.

The others are keys that nobody has. Memory is the proportional set size of all
processes of the hub, once it is configured and before any session.
"""

import os
import re
import time
from base64 import b64encode
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from topology import measure
from topology.bench.columns import quantile
from topology.bench.results import Round
from topology.checks import await_answer
from topology.hosts import Host, Lab
from topology.tunnels import LISTEN_PORT, Joined, UserspaceWireGuard

MOST_PEERS = 60_000
"""As many as have an address in the hub's network."""

_HUB = IPv4Address("10.99.0.1")
_PREFIX = 16
_SETTLE = 1.0
_DEADLINE = 20.0


def measure_hub(implementation: UserspaceWireGuard, peers: int, seconds: int) -> Round:
    """Make a hub of *peers*, measure it, and remove it.

    The real peer is configured last, as it would be found last by a search in a row.
    """
    with Lab() as lab:
        near, far = lab.connect(lab.host("hub"), lab.host("peer"))
        hub = implementation.start(near.host)
        others = [b64encode(os.urandom(32)).decode() for _ in range(peers - 1)]
        began = time.monotonic()
        hub.set_config(hub_config(hub.keys.private, others))
        configured = time.monotonic() - began
        hub.bring_up(f"{_HUB}/{_PREFIX}")
        time.sleep(_SETTLE)
        memory = proportional_memory(near.host)
        # Not before: processes of one program share pages.
        peer = implementation.start(far.host)
        hub.set(f"peer {peer.public_key} allowed-ips {address(peers)}/32")
        peer.set(
            f"peer {hub.public_key} endpoint {near.v4}:{LISTEN_PORT} "
            f"allowed-ips {_HUB}/32"
        )
        peer.bring_up(f"{address(peers)}/{_PREFIX}")
        await_answer(far.host, str(_HUB), _DEADLINE)
        joined = Joined(near.host, far.host, str(_HUB), str(address(peers)), "", "")
        trips = measure.round_trips(joined, seconds=seconds)
        tcp = measure.tcp(joined, seconds=seconds)
    return Round(
        {
            f"hub.configure.{peers}": configured,
            f"hub.memory.{peers}": memory / 1e6,
            f"hub.tcp.{peers}": tcp.bits_per_second / 1e6,
            f"hub.rtt.{peers}": quantile(trips.times_ms, 0.5),
        }
    )


def hub_config(private: str, publics: Sequence[str]) -> str:
    """Return the configuration of a hub: the n-th peer (from 1) has `address(n)`."""
    lines = ["[Interface]", f"PrivateKey = {private}", f"ListenPort = {LISTEN_PORT}"]
    for number, public in enumerate(publics, start=1):
        lines += ["[Peer]", f"PublicKey = {public}"]
        lines.append(f"AllowedIPs = {address(number)}/32")
    return "\n".join(lines) + "\n"


def address(number: int) -> IPv4Address:
    """Return the inner address of the n-th peer."""
    return _HUB + number


def proportional_memory(host: Host) -> int:
    """Return the bytes of all processes in a host, shared pages by their share."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in host.processes())
    return sum(pss(text) for text in texts)


def pss(rollup: str) -> int:
    """Return the proportional set size in bytes that an smaps_rollup file tells."""
    match = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
