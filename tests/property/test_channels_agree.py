"""The fast engine relays, and sends and receives by relays, as the reference does."""

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshnode.channels import endpoint_of
from meshnode.codec import virtio
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    CloseChannel,
    Command,
    InstallSession,
    OpenChannel,
    RemovePeer,
    SetEndpoint,
    SetStandby,
    UseSession,
)
from meshnode.types import Endpoint, Path, Prefix, Source
from tests.inner_packets import ip_packet, udp_packet
from tests.property.test_engines_agree import ENGINES, Rig, drain, frames, inner
from tests.unit.dataplane.reference.halves import (
    SLOT,
    seal_data,
    session,
)

UDP_SEGMENT = 103
RELAY, NEXT, BEHIND = 1, 2, 3
"""A relay of ours, whom we relay to, and a peer that is behind the relay."""

ONWARD, LIMITED, BACK, NOWHERE, OURS, OTHER, CLOSED = range(50, 57)
"""Channels: for others; and those of ours, of which the last is not open."""

BEHIND_INDEX = 0x0A0B0C0D


class Crossing(Rig):
    """An engine between a relay, a peer behind it and others, all on loopback.

    `hosts` are the sockets of the peer in `SLOT`, of the relay, of whom we relay to,
    and of a stranger; `beside` is a second socket of our own.
    """

    def __init__(self, name: str, role: str, stack: ExitStack) -> None:
        super().__init__(name, role, stack)
        self.hosts = [self.peer, *(_opened(stack) for _ in range(3))]
        own = next(iter(self.engine._sockets))._socket.dup()
        beside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        beside.bind(("127.0.0.1", 0))
        self.beside = beside.getsockname()
        self.engine.use_sockets((own, beside))
        self.paths = [Path(Endpoint(*host.getsockname())) for host in self.hosts]
        # Its packets come from elsewhere than those of the peer in `SLOT`.
        prefix = (Prefix.parse("10.9.0.0/24"),)
        made = session(index=BEHIND_INDEX)
        self.apply(
            *(AddPeer(slot) for slot in (RELAY, NEXT, BEHIND, 5)),
            SetEndpoint(RELAY, self.paths[1]),
            SetEndpoint(NEXT, self.paths[2]),
            OpenChannel(ONWARD, SLOT, 0xFFFF0001, NEXT),
            OpenChannel(LIMITED, SLOT, 7, NEXT, rate=1000, quota=66_000),
            OpenChannel(BACK, NEXT, 8, SLOT, quota=300),
            OpenChannel(NOWHERE, SLOT, 9, 5),
            OpenChannel(OURS, RELAY, 0xFFFFFFFF),
            OpenChannel(OTHER, RELAY, 3),
            SetEndpoint(BEHIND, Path(endpoint_of(OURS))),
            AddAllowedIps(BEHIND, prefix),
            InstallSession(BEHIND, made),
            UseSession(BEHIND, made.local_index),
        )

    def send(self, host: int, datagrams: Sequence[bytes], to_beside: bool) -> None:
        """Let a host send datagrams of one size as one batch."""
        target = self.beside if to_beside else self.address
        data, size = b"".join(datagrams), len(datagrams[0])
        if len(datagrams) == 1 or not size or len(data) > 65_000:
            for datagram in datagrams:
                self.hosts[host].sendto(datagram, target)
            return
        segmented = [(17, UDP_SEGMENT, struct.pack("=H", size))]
        self.hosts[host].sendmsg((data,), segmented, 0, target)

    def outcome(self) -> object:
        """Return what everybody got, hears and reads."""
        reports, drops, traffic = self.effects()
        got = [drain(host) for host in self.hosts]
        facts = [self.view.read(slot) for slot in (RELAY, NEXT, BEHIND)]
        relayed = self.engine.relayed
        return got, Counter(reports), drops, traffic, facts, relayed


def _opened(stack: ExitStack) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.setblocking(False)
    return stack.enter_context(sock)


def wrapped(channel: int, content: bytes) -> bytes:
    """Return a type 5 datagram."""
    return struct.pack("<II", 5, channel) + content


CHANNELS = st.sampled_from(
    (ONWARD, ONWARD, ONWARD, LIMITED, LIMITED, BACK, NOWHERE, OURS, CLOSED, 0)
)
HOSTS = st.sampled_from((0, 0, 0, 0, 0, 1, 2, 3))


@st.composite
def relayed(draw: st.DrawFn) -> list[bytes]:
    """A batch for others: of one channel or of several, the last perhaps shorter."""
    size = draw(st.sampled_from((0, 1, 24, 32, 100, 1400)))
    count = draw(st.integers(1, 12))
    channels = draw(st.lists(CHANNELS, min_size=1, max_size=count))
    batch = [
        wrapped(channels[number * len(channels) // count], bytes((number,)) * size)
        for number in range(count)
    ]
    damage = draw(st.sampled_from((None, None, None, "tail", "cut", "other")))
    if damage == "tail":
        batch[-1] = batch[-1][: draw(st.integers(8, len(batch[-1])))]
    elif damage == "cut":
        batch[-1] = batch[-1][: draw(st.integers(1, 8))]
    elif damage == "other":
        batch[draw(st.integers(0, count - 1))] = bytes(len(batch[0]))
    if len(batch[0]) < len(batch[-1]):
        batch.reverse()
    return batch


@st.composite
def sealed(draw: st.DrawFn) -> list[bytes]:
    """A batch from the peer behind the relay, or from the one that is not."""
    packet = draw(
        st.sampled_from((FROM_BEHIND, FROM_BEHIND, b"", ip_packet(4, 99, b"x" * 9)))
    )
    if draw(st.integers(0, 9)) == 0:
        packet = draw(inner())
    first, count = draw(st.integers(0, 40)), draw(st.integers(1, 8))
    index = draw(st.sampled_from((BEHIND_INDEX, BEHIND_INDEX, session().local_index)))
    batch = [seal_data(packet, first + n, index=index) for n in range(count)]
    if draw(st.integers(0, 9)) == 0:
        batch[-1] = batch[-1][:-1] + b"\0"
    channel = draw(st.sampled_from((OURS, OURS, OURS, OTHER, ONWARD, None)))
    return batch if channel is None else [wrapped(channel, one) for one in batch]


FROM_BEHIND = udp_packet(4, b"behind").replace(bytes((10, 0)), bytes((10, 9)), 1)

COMMANDS = st.sampled_from(
    (
        CloseChannel(ONWARD),
        OpenChannel(ONWARD, SLOT, 77, NEXT),
        OpenChannel(LIMITED, SLOT, 7, NEXT, rate=1000, quota=66_000),
        OpenChannel(CLOSED, SLOT, 6, NEXT),
        OpenChannel(OURS, RELAY, 12),
        CloseChannel(OURS),
        SetEndpoint(BEHIND, Path(endpoint_of(OTHER))),
        SetEndpoint(BEHIND, Path(endpoint_of(OURS))),
        SetEndpoint(RELAY, Path(endpoint_of(OTHER))),
        SetEndpoint(NEXT, None),
        RemovePeer(NEXT),
        RemovePeer(RELAY),
    )
)

Step = Command | tuple[int, list[bytes], bool]
STEPS = st.lists(
    st.one_of(
        COMMANDS,
        st.tuples(HOSTS, relayed(), st.booleans()),
        st.tuples(HOSTS, relayed(), st.booleans()),
        st.tuples(st.just(1), sealed(), st.booleans()),
        st.tuples(st.just(1), sealed(), st.booleans()),
        st.tuples(HOSTS, sealed(), st.booleans()),
    ),
    min_size=4,
    max_size=16,
)


@settings(max_examples=200)
@given(steps=STEPS)
@example(steps=[(0, [wrapped(LIMITED, bytes(1400))] * 40, False)] * 3)
def test_both_take_alike_what_comes_by_relays(steps: list[Step]) -> None:
    """For others and for us: bytes, order, drops, reports, facts and counts."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            crossing = Crossing(name, "ingress", stack)
            for step in steps:
                if isinstance(step, tuple):
                    crossing.send(*step)
                else:
                    crossing.apply(step)
                crossing.pump()
            outcomes.append((crossing.packets(), crossing.outcome()))
    assert outcomes[0] == outcomes[1]


WAYS = st.sampled_from(("direct", "beside", "channel", "other", "closed", "none"))


def _way(crossing: Crossing, name: str) -> Path | None:
    if name == "direct":
        return crossing.path
    if name == "beside":
        source = Source("127.0.0.1", 0, crossing.beside[1])
        return Path(crossing.paths[3].remote, source)
    channels = {"channel": OURS, "other": OTHER, "closed": CLOSED}
    return Path(endpoint_of(channels[name])) if name in channels else None


@settings(max_examples=150)
@given(
    steps=st.lists(
        st.one_of(
            frames(),
            frames(),
            st.tuples(st.just("path"), WAYS),
            st.tuples(st.just("standby"), WAYS),
            st.sampled_from(
                (
                    CloseChannel(OURS),
                    OpenChannel(OURS, RELAY, 12),
                    OpenChannel(CLOSED, RELAY, 13),
                    SetEndpoint(RELAY, None),
                    RemovePeer(RELAY),
                )
            ),
        ),
        min_size=6,
        max_size=20,
    )
)
@example(
    steps=[
        ("path", "channel"),
        ("standby", "direct"),
        virtio.HEADER.pack(1, virtio.GSO_UDP_L4, 0, 1000, 20, 6)
        + udp_packet(4, bytes(64_000)),
    ]
)
def test_both_send_alike_by_relays(
    steps: list[bytes | tuple[str, str] | Command],
) -> None:
    """By a channel, by a socket beside, and by two ways at once."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            crossing = Crossing(name, "egress", stack)
            for step in steps:
                if isinstance(step, bytes):
                    crossing.kernel.send(step)
                elif isinstance(step, tuple):
                    made = SetEndpoint if step[0] == "path" else SetStandby
                    crossing.apply(made(SLOT, _way(crossing, step[1])))
                else:
                    crossing.apply(step)
                crossing.pump()
            outcomes.append((crossing.packets(), crossing.outcome()))
    assert outcomes[0] == outcomes[1]
