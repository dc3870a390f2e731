"""Two engines joined by hand, for the tests of the engine and its parts."""

from random import Random

from meshnode.crypto.keys import PrivateKey
from meshnode.dataplane.traffic import (
    RECORD_BYTES,
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
)
from meshnode.forwarding import InstallSession, NeedSession, SessionConfirmed
from meshnode.types import Endpoint, Path, Prefix, Source
from meshnode.wireguard.config import DeviceChange, PeerChange
from meshnode.wireguard.engine import Engine

WALL = 1_700_000_000.0


class Node:
    """An engine with its key, its address and what it said last.

    `now` is the boottime of every call; `drain` collects into `events`, `commands`
    and `datagrams`.
    """

    def __init__(self, number, *, wall_time=WALL, mark=b"", now=100.0):
        self.random = Random(f"node {number}")
        self.key = PrivateKey(bytes([number]) * 32)
        self.public = self.key.public_key()
        self.path = Path(Endpoint(f"192.0.2.{number}", 51820), Source("192.0.2.99"))
        self.table = TrafficTable(bytearray(8 * RECORD_BYTES))
        self.egress = EgressRecorder(self.table)
        self.ingress = IngressRecorder(self.table)
        self.now = now
        self.engine = Engine(
            entropy=self.random.randbytes,
            traffic=ControlView(self.table),
            wall_time=wall_time,
            now=now,
            timestamp_mark=mark,
        )
        self.events, self.commands, self.datagrams = [], [], []

    def drain(self):
        """Take everything the engine has to say."""
        self.events, self.commands, self.datagrams = [], [], []
        while (event := self.engine.next_event()) is not None:
            self.events.append(event)
            if hasattr(event, "mark"):
                self.engine.mark_saved(event.mark)
        self.commands = self.engine.commands_to_forward()
        self.datagrams = self.engine.datagrams_to_send()

    def configure(self, *peers, **device):
        """Apply a change and drain."""
        change = DeviceChange(peers=list(peers), **device)
        self.engine.configure(change, now=self.now)
        self.drain()

    def up(self):
        """Set the link up and drain."""
        self.engine.set_link(mtu=1420, up=True, now=self.now)
        self.drain()

    def receive(self, data, path, *, queued=0):
        """Take a datagram and drain."""
        self.engine.receive_datagram(data, path, now=self.now, queued=queued)
        self.drain()

    def report(self, report):
        """Take a report and drain."""
        self.engine.handle_report(report, now=self.now)
        self.drain()

    def expire(self):
        """Go to the next deadline, handle it and drain; return its reason."""
        deadline = self.engine.next_deadline()
        self.now = max(self.now, deadline.at)
        self.engine.handle_deadline(now=self.now)
        self.drain()
        return deadline.reason

    def session(self):
        """Return the session installed last."""
        return [c.session for c in self.commands if isinstance(c, InstallSession)][-1]

    def drops(self):
        """Return the drop counts by the name of the reason."""
        return {r.name: count for r, count in self.engine.drop_counts().items()}


def make_pair():
    """Return two nodes that are peers of each other, up, and each in slot 0."""
    a, b = Node(1), Node(2)
    for node, other in ((a, b), (b, a)):
        prefix = Prefix.parse(f"10.0.0.{2 if node is a else 1}/32")
        peer = PeerChange(
            other.public, endpoint=other.path.remote, allowed_ips=[(True, prefix)]
        )
        node.configure(peer, private_key=node.key)
        node.up()
    return a, b


def advance(seconds, *nodes):
    """Let time pass for the nodes, without waking them."""
    for node in nodes:
        node.now += seconds


def handshake(a, b):
    """Let *a* make a session with *b*, confirmed by data; return both sessions."""
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    theirs = b.session()
    a.receive(b.datagrams[0].data, b.path)
    ours = a.session()
    b.report(SessionConfirmed(0, theirs.local_index))
    return ours, theirs
