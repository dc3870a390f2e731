"""The joiner's exchange with an issuer, over a UDP port of its own for a moment.

No device, no privilege, no child process: an `InlinePlane` carries the messages of a
`Joining` until it has its result or time is up. Where UDP gets no answer, TLS is tried
beside it.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final

from meshnode.codec.messages import Message
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.errors import HostError, MeshnodeError
from meshnode.host.clock import boottime
from meshnode.host.udp import UdpPair, open_udp_pair, receive_datagrams, send_datagram
from meshnode.manage.config_values import TlsSettings
from meshnode.mesh.introduction import introduce_joiner
from meshnode.mesh.joining import Joining, JoinResult
from meshnode.mesh.token import Token
from meshnode.node.inline_plane import InlinePlane
from meshnode.node.tls_joiner import TlsJoiner
from meshnode.types import Datagram, Endpoint, Path

CLAIM_SECONDS: Final = 120
"""How long an introduction may be used; the clocks may differ by 300 s besides."""

TLS_AFTER: Final = 2.0
"""Seconds without an answer by UDP until TLS is tried, too."""

_MAX_ENDPOINTS: Final = 8
_MAX_WAIT: Final = 0.5
_CLOCK_SKEW: Final = 300


class NoAnswerError(MeshnodeError):
    """Nobody answered in time."""

    exit_code = 4


def resolve(places: tuple[str, ...]) -> tuple[Endpoint, ...]:
    """Return the endpoints that `HOST:PORT` texts stand for, at most 8.

    Raises:
        HostError: if none of them can be resolved.
    """
    found: dict[Endpoint, None] = {}
    reasons = []
    for place in places:
        host, _, port = place.rpartition(":")
        try:
            answers = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_DGRAM
            )
        except (socket.gaierror, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such name"
            reasons.append(f"{place}: {reason}")
            continue
        for *_, address in answers:
            found[Endpoint(str(address[0]).partition("%")[0], int(address[1]))] = None
    if not found:
        raise HostError(f"cannot find the issuer ({'; '.join(reasons)})")
    return tuple(found)[:_MAX_ENDPOINTS]


def exchange(
    joining: Joining,
    *,
    token: Token,
    private_key: PrivateKey,
    endpoints: tuple[Endpoint, ...],
    tls: TlsSettings,
    timeout: float,
    on_progress: Callable[[str], None],
) -> JoinResult:
    """Run *joining* until it has its result, at most *timeout* seconds.

    *tls* is how the issuer is reached where UDP gets no answer.

    Raises:
        NoAnswerError: if nobody answered in time.
        JoinRefusedError: if the issuer refused.
    """
    pair = open_udp_pair(0)
    hosts = tuple(dict.fromkeys(endpoint.host for endpoint in endpoints))
    detour = TlsJoiner(token.issuer_key, hosts, tls, pair.port)
    try:
        return _Exchange(joining, token, private_key, endpoints, pair, detour).run(
            timeout, on_progress
        )
    finally:
        detour.close()
        pair.close()


class _Exchange:
    def __init__(
        self,
        joining: Joining,
        token: Token,
        private_key: PrivateKey,
        endpoints: tuple[Endpoint, ...],
        pair: UdpPair,
        detour: TlsJoiner,
    ) -> None:
        self._detour = detour
        self._detour_endpoint: Endpoint | None = None
        self._joining = joining
        self._token = token
        self._own_key = private_key.public_key().raw
        self._endpoints = endpoints
        self._pair = pair
        self._poller = select.poll()
        for one in pair.sockets():
            self._poller.register(one, select.POLLIN)
        self._plane = InlinePlane(
            private_key,
            PublicKey(token.issuer_key),
            endpoints,
            entropy=os.urandom,
            on_message=self._take,
            on_begun=self._introduce,
            now=boottime(),
            wall=time.time(),
        )

    def run(self, timeout: float, on_progress: Callable[[str], None]) -> JoinResult:
        """Go on until there is a result."""
        give_up_at = boottime() + timeout
        tls_at = boottime() + TLS_AFTER
        had_session = False
        while self._joining.result is None:
            now = boottime()
            if now >= give_up_at:
                raise NoAnswerError(self._complaint())
            for message in self._joining.messages_to_send(now=now):
                self._plane.send(message, now=now)
            self._plane.handle_deadline(now=now)
            self._send()
            if self._plane.has_session and not had_session:
                had_session = True
                by_tls = " by TLS" if self._detour_endpoint is not None else ""
                on_progress(f"the issuer answers{by_tls}")
            if not had_session and now >= tls_at and not self._detour.has_started:
                on_progress("UDP gets no answer: trying TLS")
                self._detour.start()
            self._follow_detour(now)
            self._wait(give_up_at)
        return self._joining.result

    def _follow_detour(self, now: float) -> None:
        endpoint = self._detour.endpoint
        if endpoint == self._detour_endpoint:
            return
        self._detour_endpoint = endpoint
        detours = () if endpoint is None else (endpoint,)
        places = (*detours, *self._endpoints)[:_MAX_ENDPOINTS]
        self._plane.set_endpoints(places, now=now)
        self._send()

    def _complaint(self) -> str:
        if self._plane.has_session:
            return "the issuer answered, and then no more: try again"
        tried = f"; by TLS: {self._detour.problem}" if self._detour.problem else ""
        return (
            "no answer from the issuer: the invite may be of another network, revoked "
            "or long expired, or UDP does not get through to "
            f"{', '.join(map(str, self._endpoints))}{tried}"
        )

    def _take(self, message: Message) -> None:
        self._joining.receive(message, wall=int(time.time()))

    def _introduce(self, endpoints: tuple[Endpoint, ...]) -> list[Datagram]:
        datagram = introduce_joiner(
            network_id=self._token.network_id,
            invite_private=self._token.invite_private,
            issuer_key=self._token.issuer_key,
            joiner_key=self._own_key,
            until=int(time.time()) + CLAIM_SECONDS,
            ephemeral=os.urandom(32),
        )
        return [Datagram(datagram, Path(endpoint)) for endpoint in endpoints]

    def _wait(self, give_up_at: float) -> None:
        deadlines = [give_up_at, self._joining.next_deadline()]
        due = self._plane.next_deadline()
        if due is not None:
            deadlines.append(due)
        left = max(min(deadlines) - boottime(), 0.0)
        ready = self._poller.poll(min(left, _MAX_WAIT) * 1000)
        by_number = {one.fileno(): one for one in self._pair.sockets()}
        for number, _ in ready:
            for datagram in receive_datagrams(by_number[number]):
                self._plane.receive(datagram, now=boottime())
        self._send()

    def _send(self) -> None:
        for datagram in self._plane.datagrams_to_send():
            try:
                send_datagram(self._pair, datagram)
            except (OSError, HostError):
                continue  # another candidate may do
