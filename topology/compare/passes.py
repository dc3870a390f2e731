"""Which protocols pass a way: each is tried, none is asserted."""

import sys
from collections.abc import Callable

from topology.compare.server import ECHO_PORT, FILES_PORT, SMALL
from topology.compare.ways import Way
from topology.tunnels import Joined

_TIMEOUT = 15.0


def tried(way: Way, joined: Joined) -> dict[str, bool]:
    """Return for every protocol whether it passed."""
    return {name: attempt(way, joined) for name, attempt in _ATTEMPTS.items()}


def _http(way: Way, joined: Joined) -> bool:
    return _fetches(way, joined, f"http://{joined.right_v4}:{FILES_PORT}/{SMALL}")


def _ipv6(way: Way, joined: Joined) -> bool:
    return _fetches(way, joined, f"http://[{joined.right_v6}]:{FILES_PORT}/{SMALL}")


def _tcp(way: Way, joined: Joined) -> bool:
    """Whether any TCP passes: here as curl's CONNECT, of which nobody reads a word."""
    tunnel = ["--proxytunnel"] if "--proxy" in way.curl else []
    address = f"http://{joined.right_v4}:{FILES_PORT}/{SMALL}"
    return _fetches(way, joined, address, *tunnel)


def _udp(way: Way, joined: Joined) -> bool:
    if not way.is_tunnel and not way.socks:
        return False
    words = [sys.executable, "-m", "topology.compare.datagrams"]
    words += [joined.right_v4, str(ECHO_PORT), "0.2"]
    words += [str(way.socks)] if way.socks else []
    result = joined.left.run(words, timeout=_TIMEOUT, check=False)
    return result.returncode == 0 and '"timesMs": []' not in result.stdout


def _icmp(way: Way, joined: Joined) -> bool:
    if not way.is_tunnel:
        return False  # there is no way to ask a proxy for it
    ping = f"ping -c 1 -W 2 {joined.right_v4}"
    return joined.left.run(ping, check=False).returncode == 0


def _fetches(way: Way, joined: Joined, address: str, *words: str) -> bool:
    command = ["curl", "--silent", "--fail", "--globoff", "--noproxy", "", *way.curl]
    command += [*words, "--max-time", "5", "--output", "/dev/null", address]
    return joined.left.run(command, timeout=_TIMEOUT, check=False).returncode == 0


_ATTEMPTS: dict[str, Callable[[Way, Joined], bool]] = {
    "HTTP": _http,
    "any TCP": _tcp,
    "IPv6": _ipv6,
    "UDP": _udp,
    "ICMP": _icmp,
}
