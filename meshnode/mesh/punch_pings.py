"""The pings of hole punching, and which answer is one to which of them."""

from collections.abc import Callable
from typing import Final, NamedTuple

from meshnode.codec.probes import Probe
from meshnode.mesh.probes import Probes
from meshnode.types import Datagram, Endpoint, Path

MAX_OUTSTANDING: Final = 4096
"""Pings whose answer is waited for; the oldest is given up for a further one."""


class _Sent(NamedTuple):
    key: bytes
    remote: Endpoint
    port: int
    at: float


class PunchPings:
    """Sends pings to members, by WireGuard key; *send* takes what is to leave."""

    def __init__(self, probes: Probes, send: Callable[[Datagram, float], None]) -> None:
        self._probes = probes
        self._send = send
        self._sent: dict[int, _Sent] = {}

    def ping(self, key: bytes, path: Path, *, hops: int, now: float) -> None:
        """Ping the member by *path*; with so many hops at most, 0 for all."""
        number, data = self._probes.ping(key)
        self._sent[number] = _Sent(key, path.remote, path.port, now)
        if len(self._sent) > MAX_OUTSTANDING:
            del self._sent[next(iter(self._sent))]
        self._send(Datagram(data, path, hops), now)

    def answered(self, key: bytes, pong: Probe, path: Path) -> float | None:
        """Return when the ping left that *pong* answers, each once.

        None if the member was not pinged so, or the answer came by another path.
        """
        sent = self._sent.pop(pong.number, None)
        if sent is None or sent[:3] != (key, path.remote, path.port):
            return None
        return sent.at
