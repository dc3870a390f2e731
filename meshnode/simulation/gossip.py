"""A network of gossiping nodes over mailboxes, light enough for thousands of them.

The nodes run the real `Sync`, `RecordSet`, `Membership`, `Neighbours`, `Publishing` and
`Rendezvous`. What is left out: WireGuard (sessions are there at once; what their
handshakes and passive keepalives would be is counted, and nothing is lost with them),
bytes (messages arrive as values, their length is that of the encoded frame in its
packet), and records verified more than once (`SharedTrust`).

Everything is decided by the seed.
"""

import copy
import heapq
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from meshnode.codec.message_bytes import encode_message
from meshnode.codec.messages import Message, Publish, Published, Refresh
from meshnode.codec.record_bytes import decode_endpoints, parse_envelope
from meshnode.codec.records import Endpoints, Role
from meshnode.deadlines import Deadline, DeadlineHeap, earliest
from meshnode.mesh.clock import WallMark
from meshnode.mesh.documents import create_endpoints
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.membership import MemberChange, Membership
from meshnode.mesh.neighbours import Neighbours
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import SharedPrefix, TunnelPeer
from meshnode.mesh.publishing import Publishing
from meshnode.mesh.record_set import Merge, RecordSet
from meshnode.mesh.rendezvous import Rendezvous
from meshnode.mesh.sync import Sync
from meshnode.mesh.trust import VerifiedMember
from meshnode.ports import NEVER
from meshnode.simulation.population import EPOCH, Person, Population
from meshnode.types import Cipher, Endpoint

# IPv4 and UDP, and WireGuard's header and tag.
_PACKET_OVERHEAD: Final = 28 + 32
_PADDING: Final = 16

# What a message costs beside it if the session of a pair is older: handshake, and what
# each side then says of ciphers.
_REKEY_AFTER: Final = 120.0
INITIATOR_BYTES: Final = 148 + 48 + 2 * 28
_RESPONDER_BYTES: Final = 92 + 48 + 2 * 28
KEEPALIVE_BYTES: Final = 60
"""A keepalive: who does not answer data within ten seconds sends one."""

SERVERS: Final = 5
"""Members that serve as rendezvous."""

_PLACE: Final = Endpoint("198.51.100.1", 51820)

Fate = Callable[[Random], tuple[float, ...]]
"""The delays in seconds after which copies of a message arrive; none: it is lost."""


def steady(random: Random) -> tuple[float, ...]:
    """One copy, after 10 to 100 ms: a network that spans a continent."""
    return (0.01 + 0.09 * random.random(),)


def troubled(random: Random) -> tuple[float, ...]:
    """Of ten messages one is lost, one comes twice, one a second late."""
    chance = random.random()
    if chance < 0.1:
        return ()
    if chance < 0.2:
        return (*steady(random), *steady(random))
    return (1.0 + random.random(),) if chance < 0.3 else steady(random)


@dataclass(slots=True)
class Meter:
    """What a node sent, in messages and bytes of IP packets; messages it received."""

    messages: int = 0
    bytes: int = 0
    received: int = 0


class Node:
    """One node of the simulated network; also its own `Tunnels`, which never fail."""

    def __init__(self, world: "GossipWorld", key: bytes) -> None:
        self.key = key
        self.meter = Meter()
        self.changes: list[MemberChange] = []
        self.records = RecordSet()
        self.membership = Membership(self.records)
        self._world = world
        self.restart(EPOCH)

    def restart(self, wall: float) -> None:
        """Lose everything but the records, which are on disk, and begin again."""
        world = self._world
        self.outbox = Outbox()
        self.neighbours = Neighbours(self.key, world.random.randbytes)
        self.sync = Sync(
            self.key,
            trust=world.population.trust,
            records=self.records,
            neighbours=self.neighbours,
            tunnels=self,
            outbox=self.outbox,
            clock=WallMark(int(wall), self.outbox, now=world.now),
            entropy=world.random.randbytes,
        )
        book = EndpointBook(world.verify_endpoints)
        self.rendezvous = Rendezvous(book, self)
        self.publishing = Publishing(
            key=self.key,
            sign=lambda said: world.sign_endpoints(self.key, said),
            tunnels=self,
            own=self.rendezvous,
            rendezvous_keys=lambda: world.rendezvous,
            entropy=world.random.randbytes,
        )
        for member in self.membership:
            self._meet(member)

    def begin_with(self, other: "Node") -> None:
        """Have the same records as *other*, quickly."""
        self.records = copied(other.records)
        self.membership = copied(other.membership)
        self.membership._records = self.records
        self.restart(EPOCH + self._world.now)

    def take(self, news: tuple[object, ...]) -> None:
        """Let the view and the neighbours follow what happened to the set."""
        merges = [one for one in news if isinstance(one, Merge)]
        if merges:
            wall = EPOCH + self._world.now
            self._follow(self.membership.update(*merges, wall=wall))
        self.outbox.changes.clear()

    def receive(self, sender: bytes, message: Message) -> None:
        """Take a message, if it comes from a member."""
        if self.membership.by_key(sender) is None:
            return
        now = self._world.now
        match message:
            case Publish():
                self.rendezvous.receive_publish(sender, message, now=now)
            case Refresh():
                self.rendezvous.receive_refresh(sender, message, now=now)
            case Published():
                self.publishing.receive_published(sender, message, now=now)
        self.take(self.sync.receive(sender, message, now=now, wall=EPOCH + now))

    def say_where(self) -> None:
        """Begin to publish an endpoint record."""
        now = self._world.now
        self.publishing.set_candidates((_PLACE,), now=now, wall=int(EPOCH + now))
        self._world.arm(self)

    def next_deadline(self) -> Deadline | None:
        """Return when something is due."""
        return earliest(
            self.sync.next_deadline(),
            self.publishing.next_deadline(),
            self.rendezvous.next_deadline(),
        )

    def handle_deadline(self) -> None:
        """Do what is due."""
        now = self._world.now
        self._follow(self.membership.handle_deadline(wall=EPOCH + now))
        self.take(self.sync.handle_deadline(now=now, wall=EPOCH + now))
        self.publishing.handle_deadline(now=now, wall=int(EPOCH + now))
        self.rendezvous.handle_deadline(now=now, wall=int(EPOCH + now))

    def publish(self, data: bytes) -> None:
        """Spread a record of our own making."""
        now = self._world.now
        self.take(self.sync.publish(data, now=now, wall=EPOCH + now))
        self._world.arm(self)

    def _follow(self, changes: tuple[MemberChange, ...]) -> None:
        for change in changes:
            self.changes.append(change)
            if change.after is None:
                self.neighbours.remove(change.member.key, now=self._world.now)
                self.sync.forget(change.member.key)
            elif change.before is None:
                self._meet(change.after)

    def _meet(self, member: VerifiedMember) -> None:
        if Role.STOCK not in member.certificate.roles:
            self.neighbours.add(member.key, now=self._world.now)

    # `Tunnels`, of which gossip uses one verb.

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Put the message into the mailbox of the node with this key."""
        self._world.post(self, key, message)

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Sessions are there already."""

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Sessions stay."""

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """No packets flow."""

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Everybody is found."""

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Nothing waits."""

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return None: there are no paths."""
        return None

    def has_session(self, key: bytes) -> bool:
        """Return True: with everybody."""
        return True

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Return none: nobody has an index."""
        return ()

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Not used."""

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Nothing is encrypted."""

    def dial_again(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def is_wanted(self, key: bytes) -> bool:
        """Say yes: whoever is dialled is dialled for users."""
        return True

    def is_watched(self, key: bytes) -> bool:
        """Say no: all traffic is told."""
        return False

    def last_received(self, key: bytes) -> float:
        """Return `NEVER`: no packets flow."""
        return NEVER

    def last_data_sent(self, key: bytes) -> float:
        """Return `NEVER`: no packets flow."""
        return NEVER

    def take_questions(self) -> dict[bytes, Endpoint]:
        """Return none."""
        return {}

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Return none: no packets flow."""
        return 0, 0


class GossipWorld:
    """Nodes, mailboxes and virtual time.

    Args:
        seed: decides everything.
        fate: what becomes of messages.
    """

    def __init__(self, seed: int | str, *, fate: Fate = steady) -> None:
        self.now = 0.0
        self.random = Random(f"{seed}/gossip")
        self.population = Population(Random(f"{seed}/population"))
        self.nodes: dict[bytes, Node] = {}
        self.fate = fate
        self.blocks: Callable[[bytes, bytes], bool] = lambda sender, receiver: False
        """Whether messages from one key to another are lost."""
        self.on_step: Callable[[Node], None] = lambda node: None
        """Told of every node that took a step."""
        self._letters: list[tuple[float, int, bytes, bytes, Message]] = []
        self._posted = 0
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()
        self._measured: tuple[Message | None, int] = (None, 0)
        self.people: dict[bytes, Person] = {}
        self.rendezvous: list[bytes] = []
        """Who keeps endpoint records; some of those that `populate` starts."""
        # When the session of a pair began; whom the node that acts sends to.
        self._sessions: dict[tuple[bytes, bytes], float] = {}
        self._sent_to: set[bytes] = set()

    def sign_endpoints(self, key: bytes, endpoints: Endpoints) -> bytes:
        """Return an endpoint record of the member with *key*."""
        signing_key = self.people[key].signing_key
        return create_endpoints(signing_key, self.population.network_id, endpoints)

    def verify_endpoints(self, key: bytes, data: bytes) -> Endpoints:
        """Return what a record says: nobody forges one here."""
        return decode_endpoints(parse_envelope(data).body)

    def add_node(self, key: bytes) -> Node:
        """Start a node that knows nobody."""
        node = self.nodes[key] = Node(self, key)
        self.arm(node)
        return node

    def stop(self, node: Node) -> None:
        """Let a node vanish without a word."""
        del self.nodes[node.key]
        self._deadlines.set(node.key, None)

    def populate(self, running: int, stock: int = 0) -> list[Node]:
        """Start nodes that know each other, and stock members that run nothing."""
        people = [
            self.population.add(role=Role.RENDEZVOUS if number < SERVERS else Role.NONE)
            for number in range(running)
        ]
        self.rendezvous = [person.key for person in people[:SERVERS]]
        records = [self.population.word(person) for person in people]
        gateway = people[0].key
        records += [self.population.stock_record(gateway) for _ in range(stock)]
        first = self.add_node(people[0].key)
        for data in records:
            first.publish(data)
        self._letters.clear()
        first.meter = Meter()
        for person in people[1:]:
            node = self.add_node(person.key)
            node.begin_with(first)
            self.arm(node)
        self.people = {person.key: person for person in people}
        for node in self.nodes.values():
            node.say_where()
        return list(self.nodes.values())

    def partition(self, half: frozenset[bytes]) -> None:
        """Let nothing pass between *half* and the others."""
        self.blocks = lambda sender, receiver: (sender in half) != (receiver in half)

    def heal(self) -> None:
        """Let everything pass."""
        self.blocks = lambda sender, receiver: False

    def post(self, sender: Node, receiver: bytes, message: Message) -> None:
        """Send a message on its way; it counts as sent wherever it ends."""
        sender.meter.messages += 1
        sender.meter.bytes += self._length(message)
        self._count_handshake(sender, receiver)
        self._sent_to.add(receiver)
        if receiver not in self.nodes or self.blocks(sender.key, receiver):
            return
        for delay in self.fate(self.random):
            self._posted += 1
            letter = (self.now + delay, self._posted, sender.key, receiver, message)
            heapq.heappush(self._letters, letter)

    def arm(self, node: Node) -> None:
        """Wake *node* when it wants to be."""
        self._deadlines.set(node.key, node.next_deadline())

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.run_until(lambda: False, within=seconds)

    def run_until(self, condition: Callable[[], bool], *, within: float) -> bool:
        """Let time pass until *condition* holds; return whether it does."""
        end = self.now + within
        while not condition():
            deadline = self._deadlines.next()
            wake = deadline.at if deadline else end
            letter = self._letters[0][0] if self._letters else end
            if min(wake, letter) >= end:
                self.now = end
                return condition()
            if letter <= wake:
                self._deliver()
            else:
                self.now = max(self.now, wake)
                for key in self._deadlines.pop_due(self.now):
                    self._step(self.nodes[key], Node.handle_deadline)
        return True

    def roots(self) -> set[tuple[bytes, int]]:
        """Return the different digests that nodes have: one if all sets are equal."""
        return {node.records.tree.root for node in self.nodes.values()}

    def _deliver(self) -> None:
        at, _, sender, receiver, message = heapq.heappop(self._letters)
        self.now = max(self.now, at)
        # It may have been on its way when the network fell apart.
        if receiver in self.nodes and not self.blocks(sender, receiver):
            node = self.nodes[receiver]
            node.meter.received += 1
            self._sent_to.clear()
            self._step(node, lambda node: node.receive(sender, message))
            if sender not in self._sent_to:
                node.meter.bytes += KEEPALIVE_BYTES

    def _count_handshake(self, sender: Node, receiver: bytes) -> None:
        """Count one if the session of the two is too old, or there is none."""
        pair = min(sender.key, receiver), max(sender.key, receiver)
        if self.now < self._sessions.get(pair, NEVER) + _REKEY_AFTER:
            return
        self._sessions[pair] = self.now
        sender.meter.bytes += INITIATOR_BYTES
        if receiver in self.nodes:
            self.nodes[receiver].meter.bytes += _RESPONDER_BYTES

    def _step(self, node: Node, act: Callable[[Node], None]) -> None:
        act(node)
        self.arm(node)
        self.on_step(node)

    def _length(self, message: Message) -> int:
        if self._measured[0] is not message:
            frame = len(encode_message(message))
            padded = -(-frame // _PADDING) * _PADDING
            self._measured = (message, padded + _PACKET_OVERHEAD)
        return self._measured[1]


def copied(thing: Any) -> Any:
    """Return a copy of an object whose containers are its own, what is in them not."""
    new = copy.copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, dict | list | set | array):
            setattr(new, name, copy.copy(value))
        elif type(value).__module__.startswith("meshnode.mesh.digests"):
            setattr(new, name, copied(value))
    return new
