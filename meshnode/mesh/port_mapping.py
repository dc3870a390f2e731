"""Ask a router to forward our UDP port: the client of PCP and NAT-PMP, sans-IO.

    mapping.receive_datagram(data, source, now=...)
    mapping.handle_deadline(now=...)     # at mapping.next_deadline()
    mapping.close(now=...)               # gives the port back; go on until is_closed

    mapping.datagrams_to_send()          # all go to mapping.router
    mapping.external                     # where the router forwards from, or None

PCP is asked first. A router that says it does not know PCP, or says nothing to two
requests, is asked by NAT-PMP; one that answers neither is left alone for ten minutes.
IPv6 is PCP's alone: there a mapping is a hole in the router's firewall. A mapping is
renewed after half of its lifetime, and at once when the router began anew. A refused
renewal does not end a mapping: only its lifetime does.
"""

import enum
import ipaddress
from typing import Final

from meshnode.codec import natpmp, pcp
from meshnode.deadlines import Deadline, earliest
from meshnode.errors import CodecError
from meshnode.mesh.jitter import spread
from meshnode.mesh.router_clock import RouterClock
from meshnode.ports import NEVER, Entropy
from meshnode.types import Endpoint

LIFETIME: Final = 7200
MAX_LIFETIME: Final = 86400
RENEW_AFTER_LEAST: Final = 4.0

PCP_FIRST_WAIT: Final = 3.0
PCP_LONGEST_WAIT: Final = 1024.0
PCP_PROBES: Final = 2
NATPMP_FIRST_WAIT: Final = 0.25
NATPMP_TRIES: Final = 9

ABSENT_PAUSE: Final = 600.0
"""Seconds until a router that answers nothing, or cannot help, is asked again."""

SHORT_PAUSE: Final = 30.0
REBOOT_PAUSE: Final = 5.0
"""Renewals after a router began anew are spread over as much: all its hosts ask."""

CHANGE_PAUSE: Final = 10.0
"""Seconds between two requests, however often the host's network changes."""

CLOSE_WAIT: Final = 0.25
CLOSE_TRIES: Final = 3

_LASTING: Final = (natpmp.Result.NOT_AUTHORIZED, natpmp.Result.UNSUPPORTED_OPCODE)
_NO_PCP: Final = (pcp.Result.UNSUPP_VERSION, pcp.Result.UNSUPP_OPCODE)


class Protocol(enum.Enum):
    """What is spoken with the router."""

    PCP = "pcp"
    NAT_PMP = "nat-pmp"


class PortMapping:
    """Our UDP *port* at one router.

    Args:
        router: where it takes requests, with a zone if that is link-local.
        client: our address that is mapped, which requests must come from.
        port: 1–65535, inside; outside it is what we wish for.
        nonce: 12 bytes that nobody else knows. The same ones after a restart: a router
            lets only them renew what they made.
        entropy: for jitter.
        now: boottime seconds.
    """

    def __init__(
        self,
        router: Endpoint,
        client: str,
        *,
        port: int,
        nonce: bytes,
        entropy: Entropy,
        now: float,
    ) -> None:
        self.router = router
        self.client = client
        self.port = port
        self.problem = ""
        self.protocol = Protocol.PCP
        self._nonce = nonce
        self._entropy = entropy
        self._is_ipv6 = ":" in client
        self._has_pcp = self._is_ipv6
        self._clock = RouterClock(drift=1 / 16, both=True)
        self._external: Endpoint | None = None
        self._until = 0.0
        # When the next request is due, and how many went unanswered before it.
        self._due = now
        self._tries = 0
        self._natpmp_host = ""
        self._asked_at = NEVER
        self._to_send: list[bytes] = []
        self._is_closing = False
        self.is_closed = False

    @property
    def external(self) -> Endpoint | None:
        """Where others reach our port, as long as the router forwards it."""
        return self._external

    # --- inputs ---

    def receive_datagram(self, data: bytes, source: Endpoint, *, now: float) -> None:
        """Take an answer or an announcement; what is not the router's is ignored."""
        if source != self.router or self.is_closed:
            return
        try:
            if data[:1] == bytes((natpmp.VERSION,)):
                self._take_natpmp(natpmp.parse_answer(data), now)
            else:
                self._take_pcp(pcp.parse_answer(data), now)
        except CodecError:
            return

    def handle_deadline(self, *, now: float) -> None:
        """Ask what is due, and part with what has ended."""
        if self.is_closed:
            return
        if self._external is not None and now >= self._until:
            self._external = None
            self.problem = "the router did not renew the mapping"
        if now >= self._due:
            self._ask(now)

    def network_changed(self, *, now: float) -> None:
        """Ask soon, whatever is known: at this address may be another router now."""
        if self._tries == 0:
            self._due = min(self._due, max(now, self._asked_at + CHANGE_PAUSE))

    def close(self, *, now: float) -> None:
        """Give the port back, as far as the router may have given it to us."""
        self._is_closing = True
        if self._external is None and self._tries == 0:
            self.is_closed = True
        self._tries, self._due = 0, now

    # --- outputs ---

    def datagrams_to_send(self) -> list[bytes]:
        """Return what is to be sent to `router` from `client`."""
        datagrams, self._to_send = self._to_send, []
        return datagrams

    def next_deadline(self) -> Deadline | None:
        """Return when `handle_deadline` is due."""
        if self.is_closed:
            return None
        due = Deadline(self._due, "a port mapping is asked for")
        if self._external is None:
            return due
        return earliest(due, Deadline(self._until, "a port mapping ends"))

    # --- asking ---

    def _ask(self, now: float) -> None:
        if self._is_closing:
            if self._tries == CLOSE_TRIES:
                self.is_closed = True
                return
            wait = CLOSE_WAIT
        elif self.protocol is Protocol.PCP:
            if self._tries == PCP_PROBES and not self._has_pcp:
                self._speak_natpmp(now)
                return
            wait = min(PCP_FIRST_WAIT * 2.0**self._tries, PCP_LONGEST_WAIT)
            wait *= 0.9 + 0.2 * self._draw()
            if self._tries == PCP_PROBES:
                self.problem = "the router does not answer"
        else:
            if self._tries == NATPMP_TRIES:
                self._pause(ABSENT_PAUSE, "no router answers PCP or NAT-PMP", now)
                return
            wait = NATPMP_FIRST_WAIT * 2.0**self._tries
        self._to_send.append(self._request())
        self._asked_at = now
        self._tries = min(self._tries + 1, 16)
        self._due = now + wait

    def _request(self) -> bytes:
        lifetime = 0 if self._is_closing else LIFETIME
        wish = self.port if self._external is None else self._external.port
        wish = 0 if self._is_closing else wish
        if self.protocol is Protocol.PCP:
            return pcp.map_request(self.client, self._nonce, self.port, wish, lifetime)
        if not self._natpmp_host and not self._is_closing:
            return natpmp.address_request()
        return natpmp.map_request(self.port, wish, lifetime)

    def _speak_natpmp(self, now: float) -> None:
        self.protocol = Protocol.NAT_PMP
        self._clock = RouterClock(drift=1 / 8, both=False)
        self._natpmp_host = ""
        self._tries, self._due = 0, now

    def _pause(self, seconds: float, problem: str, now: float) -> None:
        """Ask again later, and with PCP first: it may be another router then."""
        self.problem = problem
        if self.protocol is Protocol.NAT_PMP and self._external is None:
            self.protocol = Protocol.PCP
            self._clock = RouterClock(drift=1 / 16, both=True)
        self._natpmp_host = ""
        self._tries, self._due = 0, now + spread(seconds, self._entropy)

    # --- answers ---

    def _take_pcp(self, answer: pcp.Answer, now: float) -> None:
        if self.protocol is not Protocol.PCP:
            return
        if isinstance(answer, pcp.Refused) and answer.result in _NO_PCP:
            if self._tries and not self._is_ipv6 and not self._is_closing:
                self._has_pcp = False
                self._speak_natpmp(now)
            elif self._tries:
                self._pause(ABSENT_PAUSE, _name(pcp.Result(answer.result)), now)
            return
        if not isinstance(answer, pcp.Announced) and answer.nonce != self._nonce:
            return
        self._has_pcp = True
        has_restarted = self._clock.note(answer.epoch, now=now)
        match answer:
            case pcp.Mapped(lifetime=0):
                self._ended(now)
            case pcp.Mapped():
                if answer.internal_port == self.port:
                    self._take_mapping(answer.external, answer.lifetime, now)
            case pcp.Refused(lifetime=lifetime, result=result):
                if self._tries:
                    wait = min(max(lifetime, SHORT_PAUSE), ABSENT_PAUSE)
                    self._refused(pcp.Result, result, wait, now)
            case pcp.Announced():
                if has_restarted:
                    self._renew_soon(now)

    def _take_natpmp(self, answer: natpmp.Answer, now: float) -> None:
        if self.protocol is Protocol.PCP:
            is_refusal = isinstance(answer, natpmp.Refused)
            if is_refusal and self._tries and not self._is_ipv6:
                self._has_pcp = False
                self._speak_natpmp(now)
            return
        has_restarted = self._clock.note(answer.epoch, now=now)
        if self._tries == 0:
            # Not asked for: an announcement, or an answer that was doubled.
            if has_restarted:
                self._renew_soon(now)
            return
        match answer:
            case natpmp.Refused(result=result):
                wait = ABSENT_PAUSE if result in _LASTING else SHORT_PAUSE
                self._refused(natpmp.Result, result, wait, now)
            case natpmp.ExternalAddress(host=host):
                if not self._natpmp_host and not self._is_closing:
                    self._natpmp_host = host
                    self._tries, self._due = 0, now
            case natpmp.Mapped(lifetime=0):
                self._ended(now)
            case natpmp.Mapped(internal_port=port):
                if port == self.port and self._natpmp_host:
                    external = Endpoint(self._natpmp_host, answer.external_port)
                    self._take_mapping(external, answer.lifetime, now)

    def _take_mapping(self, external: Endpoint, lifetime: int, now: float) -> None:
        if self._is_closing:
            return  # an answer from before; the next one is to the end
        if external.port == 0 or ipaddress.ip_address(external.host).is_unspecified:
            self._pause(SHORT_PAUSE, "the router has no outside address", now)
            return
        lasts = min(lifetime, MAX_LIFETIME)
        self._external, self._until = external, now + lasts
        self.problem = ""
        self._natpmp_host = ""  # the next renewal asks for it again
        renew_after = lasts * (0.5 + 0.125 * self._draw())
        self._tries, self._due = 0, now + max(renew_after, RENEW_AFTER_LEAST)

    def _refused(
        self, names: type[enum.IntEnum], result: int, wait: float, now: float
    ) -> None:
        if self._is_closing:
            self.is_closed = True
            return
        known = result in names.__members__.values()
        name = _name(names(result)) if known else f"error {result}"
        self._pause(wait, f"the router refuses: {name}", now)

    def _ended(self, now: float) -> None:
        """The router says that it forwards nothing."""
        self._external = None
        if self._is_closing:
            self.is_closed = True
        else:
            self._pause(SHORT_PAUSE, "the router ended the mapping", now)

    def _renew_soon(self, now: float) -> None:
        if self._external is not None and not self._is_closing:
            self._due = min(self._due, now + REBOOT_PAUSE * self._draw())

    def _draw(self) -> float:
        return int.from_bytes(self._entropy(2), "little") / 65536


def _name(result: enum.IntEnum) -> str:
    return result.name.lower().replace("_", " ")
