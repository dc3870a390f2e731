"""Probes that members ask for, to learn about the NATs before them.

A member says where to, and by whom; that must be the address at which we see itself,
or it could be to somebody else's harm. Who is asked by another member for a third takes
that member's word only if it serves the network (rendezvous or relay). Each gets a few
a second. What is sent is shorter than the frame that asks for it.
"""

from collections.abc import Callable
from typing import Final

from meshnode.codec.messages import ProbeMe, ProbeThem
from meshnode.mesh.budgets import Budgets
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.probes import Probes
from meshnode.types import Datagram, Endpoint, Path

RATE: Final = 4.0
BURST: Final = 8.0
"""Probes a second, and at once, that one member may ask for."""


class ProbeRequests:
    """Answers `ProbeMe` and `ProbeThem`; members are named by WireGuard keys.

    Args:
        tunnels: the sessions.
        probes: seals.
        send: takes what is to leave.
        is_member: whether a key is a member's.
        serves: whether that member is rendezvous or relay.
    """

    def __init__(
        self,
        *,
        tunnels: Tunnels,
        probes: Probes,
        send: Callable[[Datagram, float], None],
        is_member: Callable[[bytes], bool],
        serves: Callable[[bytes], bool],
    ) -> None:
        self._tunnels = tunnels
        self._probes = probes
        self._send = send
        self._is_member = is_member
        self._serves = serves
        self._budgets = Budgets(rate=RATE, burst=BURST)

    def receive_me(self, key: bytes, message: ProbeMe, *, now: float) -> None:
        """The member wants a probe at one of its own endpoints."""
        place = self._tunnels.path_of(key)
        if place is None or place.host != message.to.host:
            return
        if not self._budgets.spend(key, 1.0, now=now):
            return
        if message.by is None:
            self._probe(key, message.probe_key, message.to, now)
        elif message.by != key and self._is_member(message.by):
            asked = ProbeThem(key, message.probe_key, message.to)
            self._tunnels.send(message.by, asked, now=now)

    def receive_them(self, key: bytes, message: ProbeThem, *, now: float) -> None:
        """The member says that another one wants a probe."""
        if not self._serves(key) or not self._is_member(message.origin):
            return
        if self._budgets.spend(message.origin, 1.0, now=now):
            self._probe(message.origin, message.probe_key, message.to, now)

    def _probe(self, key: bytes, probe_key: bytes, to: Endpoint, now: float) -> None:
        self._probes.know(key, probe_key)
        if self._probes.can_reach(key):
            _, data = self._probes.ping(key)
            self._send(Datagram(data, Path(to)), now)
