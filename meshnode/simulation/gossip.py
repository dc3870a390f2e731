"""A network of gossiping nodes over mailboxes, light enough for thousands of them.

The nodes run the real `Sync`, `RecordSet`, `Membership` and `Neighbours`. What is left
out: WireGuard (sessions are there at once; handshakes are counted by formula, see
`tools/scale`), bytes (messages arrive as values, their length is that of the encoded
frame in its packet), and signatures verified more than once (`SharedTrust`).

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
from meshnode.codec.messages import Message
from meshnode.codec.records import Role
from meshnode.deadlines import DeadlineHeap
from meshnode.mesh.clock import WallMark
from meshnode.mesh.membership import MemberChange, Membership
from meshnode.mesh.neighbours import Neighbours
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import SharedPrefix, TunnelPeer
from meshnode.mesh.record_set import Merge, RecordSet
from meshnode.mesh.sync import Sync
from meshnode.mesh.trust import VerifiedMember
from meshnode.ports import NEVER
from meshnode.simulation.population import EPOCH, Population
from meshnode.types import Cipher, Endpoint

# IPv4 and UDP, and WireGuard's header and tag.
_PACKET_OVERHEAD: Final = 28 + 32
_PADDING: Final = 16

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
    """What a node sent: messages and bytes of whole IP packets."""

    messages: int = 0
    bytes: int = 0


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
        self.take(self.sync.receive(sender, message, now=now, wall=EPOCH + now))

    def handle_deadline(self) -> None:
        """Do what is due."""
        now = self._world.now
        self._follow(self.membership.handle_deadline(wall=EPOCH + now))
        self.take(self.sync.handle_deadline(now=now, wall=EPOCH + now))

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

    def last_received(self, key: bytes) -> float:
        """Return `NEVER`: no packets flow."""
        return NEVER

    def last_data_sent(self, key: bytes) -> float:
        """Return `NEVER`: no packets flow."""
        return NEVER

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
        people = [self.population.add() for _ in range(running)]
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
        if receiver not in self.nodes or self.blocks(sender.key, receiver):
            return
        for delay in self.fate(self.random):
            self._posted += 1
            letter = (self.now + delay, self._posted, sender.key, receiver, message)
            heapq.heappush(self._letters, letter)

    def arm(self, node: Node) -> None:
        """Wake *node* when it wants to be."""
        self._deadlines.set(node.key, node.sync.next_deadline())

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
            self._step(self.nodes[receiver], lambda node: node.receive(sender, message))

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
