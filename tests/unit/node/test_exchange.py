"""Joining over UDP on loopback: an issuer of its own answers, or does not."""

import os
import random
import select
import threading
import time
from collections.abc import Iterator

import pytest

from meshnode.codec.message_bytes import decode_message
from meshnode.crypto.keys import PrivateKey
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.dataplane.traffic import (
    RECORD_BYTES,
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
)
from meshnode.errors import HostError
from meshnode.forwarding import ProgramComplete, Reset
from meshnode.host.clock import boottime
from meshnode.host.udp import open_udp_pair, receive_datagrams, send_datagram
from meshnode.manage.config_values import TlsSettings
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.introduction import INTRODUCTION_TYPE
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.joining import Joining, JoinRefusedError, JoinResult
from meshnode.mesh.node import MeshNode
from meshnode.mesh.ports import StoredState
from meshnode.mesh.token import Token
from meshnode.mesh.trust import Trust
from meshnode.node.exchange import NoAnswerError, exchange, resolve
from meshnode.types import Datagram, Endpoint
from meshnode.wireguard import events
from meshnode.wireguard.config import DeviceChange
from meshnode.wireguard.engine import Engine
from tests.unit.mesh.node_parts import DAY, NOTHING, SETTINGS, World

TLS = TlsSettings(port=1)
"""Nobody serves there."""


class Issuer:
    """The founder's node over a real engine and a UDP port, in a thread."""

    def __init__(self, rng: random.Random) -> None:
        self.world = World(rng, began=int(time.time()) - 60)
        founder = self.world.founder
        assert founder.identity is not None
        self.pair = open_udp_pair(0)
        table = TrafficTable(bytearray(64 * RECORD_BYTES))
        self._seal = SealHalf(1, EgressRecorder(table))
        self._open = OpenHalf(1, IngressRecorder(table))
        now = boottime()
        self.engine = Engine(
            entropy=os.urandom,
            traffic=ControlView(table),
            wall_time=time.time(),
            now=now,
        )
        for half in (self._seal, self._open):
            half.apply(Reset(1), now=now)
            half.apply(ProgramComplete(), now=now)
        self.engine.configure(DeviceChange(private_key=founder.private), now=now)
        self.engine.set_link(mtu=1420, up=True, now=now)
        self.tunnels = EngineTunnels(self.engine)
        self.node = MeshNode(
            founder.identity,
            SETTINGS,
            StoredState(),
            tunnels=self.tunnels,
            entropy=os.urandom,
            now=now,
            wall=time.time(),
        )
        self.node.start(now=now, wall=time.time())
        self.is_deaf = False
        self.loses_first = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def place(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.pair.port}"

    def token(self) -> Token:
        """Return an invite."""
        private = PrivateKey(os.urandom(32))
        office = self.node.office
        assert office is not None
        expires = int(time.time()) + DAY
        office.invites.create(
            private.public_key().raw,
            NOTHING,
            uses=1,
            expires=expires,
            now=boottime(),
            wall=int(time.time()),
        )
        return Token(
            network_id=self.world.network_id,
            invite_private=private,
            issuer_key=self.node.key,
            endpoints=(self.place,),
            expires=expires,
            network="home",
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)
        self.pair.close()

    def _run(self) -> None:
        poller = select.poll()
        for one in self.pair.sockets():
            poller.register(one, select.POLLIN)
        while not self._stop.is_set():
            poller.poll(20)
            for one in self.pair.sockets():
                for datagram in receive_datagrams(one):
                    self._take(datagram)
            self._settle()

    def _take(self, datagram: Datagram) -> None:
        now = boottime()
        if self.is_deaf:
            return
        if self.loses_first:
            self.loses_first -= 1
            return
        if datagram.data[0] == INTRODUCTION_TYPE:
            self.node.receive_introduction(datagram.data, now=now, wall=time.time())
            self.tunnels.flush(now=now)
            self._settle()
        else:
            self._open.receive(datagram.data, datagram.path, now=now)
        self._settle()

    def _settle(self) -> None:
        now = boottime()
        for _ in range(20):
            self.tunnels.flush(now=now)
            while (event := self.engine.next_event()) is not None:
                match event:
                    case events.TimestampsReserved(mark):
                        self.engine.mark_saved(mark)
                    case events.ControlFrame(_, key, frame):
                        message = decode_message(frame)
                        self.node.receive_message(
                            key.raw, message, now=now, wall=time.time()
                        )
            for command in self.engine.commands_to_forward():
                self._open.apply(command, now=now)
                self._seal.apply(command, now=now)
            for handshake in self._open.handshakes():
                self.engine.receive_datagram(handshake.data, handshake.path, now=now)
            for report in [*self._open.reports(), *self._seal.reports()]:
                self.engine.handle_report(report, now=now)
            self._open.packets_to_deliver()
            self._open.moves()
            for datagram in self.engine.datagrams_to_send():
                send_datagram(self.pair, datagram)
            for burst in self._seal.bursts_to_send():
                for data in burst.datagrams():
                    send_datagram(self.pair, Datagram(data, burst.path))


@pytest.fixture
def issuer(rng: random.Random) -> Iterator[Issuer]:
    """An issuer that does not answer yet."""
    issuer = Issuer(rng)
    yield issuer
    issuer.close()


def join(
    issuer: Issuer,
    token: Token,
    *,
    timeout: float = 10.0,
    places: tuple[str, ...] = (),
    progress: list[str] | None = None,
) -> JoinResult:
    """Join as a host of its own."""
    host = issuer.world.host("alpha")
    request = create_join_request(
        host.signing,
        token.network_id,
        wireguard_key=host.key,
        invite_key=token.invite_private.public_key().raw,
        name="alpha",
    )
    joining = Joining(
        Trust(token.network_id), request, key=host.key, issuer_key=token.issuer_key
    )
    return exchange(
        joining,
        token=token,
        private_key=host.private,
        endpoints=resolve(places or token.endpoints),
        tls=TLS,
        timeout=timeout,
        on_progress=([] if progress is None else progress).append,
    )


def test_host_joins_over_udp(issuer: Issuer) -> None:
    """Without any privilege; it ends with all that a member begins with."""
    token = issuer.token()
    issuer.start()
    progress: list[str] = []
    result = join(issuer, token, progress=progress)
    assert result.charters == issuer.node.trust.chain()
    assert result.issuer_record == issuer.node.own.data
    assert progress == ["the issuer answers"]


def test_other_candidates_are_tried_too(issuer: Issuer) -> None:
    """The first may be a place that nobody is at."""
    token = issuer.token()
    issuer.start()
    assert join(issuer, token, places=("127.0.0.1:9", issuer.place))


def test_lost_datagrams_are_sent_again(issuer: Issuer) -> None:
    """The introduction and the initiation: both come again after five seconds."""
    token = issuer.token()
    issuer.loses_first = 2
    issuer.start()
    assert join(issuer, token, timeout=20.0)


def test_silence_ends_in_time(issuer: Issuer) -> None:
    """And the error names where nobody answered, and none of the invite's secret."""
    token = issuer.token()
    issuer.is_deaf = True
    issuer.start()
    began = boottime()
    with pytest.raises(NoAnswerError, match="no answer from the issuer") as raised:
        join(issuer, token, timeout=1.0)
    assert 1.0 <= boottime() - began < 5.0
    assert issuer.place in str(raised.value)
    assert raised.value.exit_code == 4


def test_used_invite_is_refused_with_its_reason(issuer: Issuer) -> None:
    """At once, not by silence."""
    token = issuer.token()
    issuer.start()
    join(issuer, token)
    with pytest.raises(JoinRefusedError, match="used up") as raised:
        join(issuer, token)
    assert raised.value.code == "used"


def test_places_are_resolved() -> None:
    """IPv6 in brackets, names by the host's resolver, each once, at most eight."""
    assert resolve(("192.0.2.1:5", "192.0.2.1:5")) == (Endpoint("192.0.2.1", 5),)
    assert resolve(("[2001:db8::1]:5",)) == (Endpoint("2001:db8::1", 5),)
    many = tuple(f"192.0.2.{number}:5" for number in range(1, 12))
    assert len(resolve(many)) == 8
    assert Endpoint("127.0.0.1", 7) in resolve(("localhost:7",))


@pytest.mark.parametrize("place", ["name.invalid:5", "a..b:5", f"{'x' * 70}.org:5"])
def test_places_that_are_nowhere_are_said(place: str) -> None:
    """One good one is enough."""
    with pytest.raises(HostError, match="cannot find the issuer"):
        resolve((place,))
    assert resolve((place, "192.0.2.1:5")) == (Endpoint("192.0.2.1", 5),)
