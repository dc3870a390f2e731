"""Members reached by TLS where UDP is blocked: the endpoints that stand for them.

The process that speaks TLS hands datagrams over at a UDP port of the loopback address,
one for each server; to everything else that is an endpoint like others. It is ours
alone: no record and no cache has it. Who is to be reached so is `mesh.udp_watch`'s.
"""

import ipaddress
from collections.abc import Callable
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import Ping
from meshnode.deadlines import Deadline
from meshnode.mesh.dialling import Dialler
from meshnode.mesh.ports import PathTunnels
from meshnode.mesh.udp_watch import UdpWatch
from meshnode.ports import Entropy
from meshnode.types import Endpoint, Path

MAX_HOSTS: Final = 8
"""Addresses of a member that are tried by TLS."""

_NONCE_BYTES: Final = 8
_MAX_PROBED: Final = 2
"""UDP endpoints of a member that are asked whether UDP works again."""


class Detours:
    """The ways by TLS of one node.

    Args:
        homes: gives the keys of those that may serve TLS.
        dialler: knows where members are, and is told the detours.
        tunnels: speak to them.
        entropy: for jitter and nonces.
    """

    def __init__(
        self,
        *,
        homes: Callable[[], tuple[bytes, ...]],
        dialler: Dialler,
        tunnels: PathTunnels,
        entropy: Entropy,
    ) -> None:
        self.watch = UdpWatch(homes, entropy)
        self._dialler = dialler
        self._tunnels = tunnels
        self._entropy = entropy
        self._detours: dict[bytes, Endpoint] = {}

    @property
    def is_blocked(self) -> bool:
        """Whether members are reached by TLS, since UDP gets no answer."""
        return bool(self._detours)

    def wanted(self, *, now: float) -> dict[bytes, tuple[str, ...]]:
        """Return whom to reach by TLS, and the numeric addresses of each."""
        return {key: self._hosts_of(key, now) for key in self.watch.wanted}

    def set_detour(self, key: bytes, endpoint: Endpoint | None, *, now: float) -> None:
        """TLS reaches the member behind this local endpoint; None: it does not.

        TLS has proven who is there, so a session goes on there at once.
        """
        if endpoint is None:
            self._detours.pop(key, None)
            self._dialler.set_detour(key, None, now=now)
            self.watch.lost(key, now=now)
            return
        self._detours[key] = endpoint
        self.watch.connected(key, now=now)
        self._dialler.set_detour(key, endpoint, now=now)
        if self._tunnels.has_session(key):
            path = Path(endpoint)
            self._tunnels.set_path(key, path, now=now)
            self._tunnels.send_by(key, self._ping(), path, now=now)
        else:
            self._tunnels.send(key, self._ping(), now=now)

    def handshake_begun(self, key: bytes, *, now: float) -> None:
        """An initiation went to a member."""
        self.watch.asked(key, now=now)

    def asked(self, key: bytes, endpoint: Endpoint, *, now: float) -> None:
        """Something that is answered at once went to a member, to *endpoint*."""
        if _is_outside(endpoint):
            self.watch.asked(key, now=now)

    def session_started(self, key: bytes, *, now: float) -> None:
        """A session with a member is confirmed."""
        endpoint = self._tunnels.path_of(key)
        if endpoint is not None:
            self.heard(endpoint, now=now)

    def heard(self, endpoint: Endpoint, *, now: float) -> None:
        """Something authenticated came from *endpoint*."""
        if _is_outside(endpoint):
            self.watch.heard(now=now)

    def handle_deadline(self, *, now: float) -> None:
        """Do what is due."""
        self.watch.handle_deadline(now=now)
        for key in self.watch.take_probes(now=now):
            self._ask_by_udp(key, now)

    def next_deadline(self) -> Deadline | None:
        """Return when something is due."""
        return self.watch.next_deadline()

    def _ask_by_udp(self, key: bytes, now: float) -> None:
        candidates = self._dialler.candidates_of(key, now=now)
        outside = [one for one in candidates if _is_outside(one)][:_MAX_PROBED]
        if not self._tunnels.has_session(key):
            # The handshake goes to all candidates by itself.
            self._tunnels.send(key, self._ping(), now=now)
            return
        for endpoint in outside:
            self._tunnels.send_by(key, self._ping(), Path(endpoint), now=now)

    def _hosts_of(self, key: bytes, now: float) -> tuple[str, ...]:
        candidates = self._dialler.candidates_of(key, now=now)
        hosts = [one.host for one in candidates if _is_outside(one)]
        return tuple(dict.fromkeys(hosts))[:MAX_HOSTS]

    def _ping(self) -> Ping:
        return Ping(self._entropy(_NONCE_BYTES))


def _is_outside(endpoint: Endpoint) -> bool:
    """Whether it is an address of another host, reached by UDP."""
    if channel_of(endpoint) or endpoint.scope_id:
        return False
    return not ipaddress.ip_address(endpoint.host).is_loopback
