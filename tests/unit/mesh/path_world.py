"""Two members, the links between them and traffic, in virtual time.

Each end has the real `Paths` over a data plane that does what docs/paths.md says of it:
sends by its path and by the standby, moves within a kind by itself, and tells of what
comes by the other kind. A direct path has 40 ms of round trip, a relay 40 ms one way.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from meshnode.channels import channel_of, endpoint_of
from meshnode.codec.messages import Message, Ping, Pong
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.paths import Paths
from meshnode.mesh.relays import RelayWay
from meshnode.ports import NEVER
from meshnode.types import Endpoint, Path
from tests.unit.mesh.issuing_parts import FakeTunnels

DIRECT = 0.02
RELAYED = 0.04
RELAYS = (b"1" * 32, b"2" * 32)
EVERY = 0.01
"""Seconds between two requests."""

FIND = 0.1
"""Seconds that a search for a direct path takes where there is one."""

Frame = Message | tuple[str, int]


class Relays:
    """Channels over both relays, open unless the relay is known to be dead."""

    def __init__(self, first: int) -> None:
        self.wanted: Counter[bytes] = Counter()
        self.dropped: Counter[bytes] = Counter()
        self.are_known = True
        self.channels = {first + n: relay for n, relay in enumerate(RELAYS)}

    def want(self, key: bytes, *, now: float) -> None:
        """Count it."""
        self.wanted[key] += 1

    def drop(self, key: bytes, *, now: float) -> None:
        """Count it."""
        self.dropped[key] += 1

    def ways(self, key: bytes) -> tuple[Endpoint, ...]:
        """Return all channels."""
        return tuple(map(endpoint_of, self.channels))

    def close(self, relay: int) -> None:
        """Forget the channel over the relay with this number."""
        self.channels = {n: one for n, one in self.channels.items() if n % 10 != relay}

    def describe(self, key: bytes) -> tuple[RelayWay, ...]:
        """Return all channels, open."""
        return tuple(
            RelayWay(endpoint_of(channel), (relay,), None, True)
            for channel, relay in self.channels.items()
        )


class End(FakeTunnels):
    """One end: data plane, paths, and what was counted."""

    def __init__(self, world: "PathWorld", name: str, address: Endpoint) -> None:
        super().__init__()
        self.world, self.name, self.address = world, name, address
        self.key = name.encode() * 32
        self.other: End = self
        self.relays = Relays(1 if name == "a" else 11)
        self.path: Path | None = None
        self.standby: Path | None = None
        self.received = self.sent_data = NEVER
        self.told: set[Path] = set()
        self.is_alive = True
        self.gossips = False
        self.changes: list[tuple[float, Path]] = []
        self.pings = 0
        self.got: dict[int, float] = {}
        self.copies = 0
        self.sought = 0
        self.open_at: tuple[Endpoint, ...] = ()
        self.is_other_public = False
        self.paths = Paths(
            self.key,
            self,
            world.rng.randbytes,
            relays=self.relays,
            seeker=self,
            kind_of=lambda key, endpoint: PathKind.DIRECT,
            candidates=lambda key, now: self.open_at,
            is_public=lambda key: self.is_other_public,
        )

    # --- the seeker ---

    def want(self, key: bytes, *, now: float) -> None:
        """Find the direct path after a while, if there is one."""
        self.sought += 1
        self.world.at(now + FIND, self._find)

    def stop(self, key: bytes) -> None:
        """Do nothing."""

    def _find(self) -> None:
        if self.world.is_up["direct"]:
            path = Path(self.other.address)
            self.paths.found(self.other.key, path, now=self.world.now)

    # --- the tunnels ---

    def has_session(self, key: bytes) -> bool:
        """Whether it is alive."""
        return self.is_alive

    def is_watched(self, key: bytes) -> bool:
        """Whether traffic is expected anyway, as who gossips does."""
        return self.gossips

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return where the other end is spoken to."""
        return None if self.path is None else self.path.remote

    def last_received(self, key: bytes) -> float:
        """Return when anything came."""
        return self.received

    def last_data_sent(self, key: bytes) -> float:
        """Return when a packet of the user went."""
        return self.sent_data

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Send by *path*."""
        self._move(path)

    def set_standby(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Send by *path* too."""
        self.standby = path

    def send_by(self, key: bytes, message: Message, path: Path, *, now: float) -> None:
        """Send a control frame."""
        self.pings += isinstance(message, Ping)
        self.world.carry(self, message, path)

    def send_data(self, frame: tuple[str, int]) -> None:
        """Send a packet of the user."""
        self.sent_data = self.world.now
        for path in filter(None, (self.path, self.standby)):
            self.world.carry(self, frame, path)

    def _move(self, path: Path | None) -> None:
        if path != self.path:
            self.path = path
            if path is not None:
                self.changes.append((self.world.now, path))
            self.paths.path_changed(self.other.key, now=self.world.now)

    # --- what arrives ---

    def arrive(self, frame: Frame, path: Path) -> None:
        """Take a frame that came by *path*."""
        now = self.world.now
        self.received = now
        if self.path is None:
            self._move(path)
        elif path != self.path:
            if not channel_of(path.remote) and not channel_of(self.path.remote):
                self._move(path)
            elif path not in self.told:
                self.told.add(path)
                self.paths.heard(self.other.key, path, now=now)
        match frame:
            case Ping(nonce):
                self.send_by(self.other.key, Pong(nonce, None), path, now=now)
                self.paths.receive_ping(self.other.key, path, now=now)
            case Pong(nonce):
                self.paths.receive_pong(self.other.key, nonce, path, now=now)
            case ("request", number):
                self.send_data(("answer", number))
            case ("answer", number):
                self.copies += number in self.got
                self.got.setdefault(number, now)


class PathWorld:
    """Both ends and what lies between."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.loss = 0.0
        self.jitter = 0.0
        self.is_up = dict.fromkeys(("direct", "relay 1", "relay 2"), True)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.a = End(self, "a", Endpoint("192.0.2.1", 51820))
        self.b = End(self, "b", Endpoint("192.0.2.2", 51820))
        self.a.other, self.b.other = self.b, self.a
        self.requests: dict[int, float] = {}
        self.is_talking = False

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Do something at *time*."""
        self._count += 1
        heapq.heappush(self._events, (time, self._count, act))

    def connect(self, *, relayed: bool) -> None:
        """Let a session be there, over the first relay or directly."""
        for end, channel in ((self.a, 1), (self.b, 11)):
            remote = endpoint_of(channel) if relayed else end.other.address
            end.path = Path(remote)
        for end in (self.a, self.b):
            end.paths.session_started(end.other.key, now=self.now)

    def talk(self) -> None:
        """Let *a* send a request every 10 ms from now on."""
        self.is_talking = True
        self._talk()

    def _talk(self) -> None:
        if self.is_talking:
            number = len(self.requests)
            self.requests[number] = self.now
            self.a.send_data(("request", number))
            self.at(self.now + EVERY, self._talk)

    def carry(self, end: End, frame: Frame, path: Path) -> None:
        """Carry a frame to the other end, or lose it."""
        channel = channel_of(path.remote)
        relay = channel % 10
        link = f"relay {relay}" if relay else "direct"
        other = end.other
        if relay:
            arrival, latency = relay + (0 if other.name == "a" else 10), RELAYED
            came_by = Path(endpoint_of(arrival))
        else:
            latency = DIRECT
            came_by = Path(end.address)
            if path.remote != other.address:
                return
        if not self.is_up[link] or self.rng.random() < self.loss:
            return
        delay = latency + self.rng.random() * self.jitter
        self.at(self.now + delay, partial(self._land, link, other, frame, came_by))

    def _land(self, link: str, other: End, frame: Frame, path: Path) -> None:
        if self.is_up[link]:
            other.arrive(frame, path)

    def run(self, seconds: float) -> int:
        """Let time pass; return how often an end was woken."""
        end, woken = self.now + seconds, 0
        while True:
            due = [
                (deadline.at, one.name)
                for one in (self.a, self.b)
                if (deadline := one.paths.next_deadline()) is not None
            ]
            at, name = min(due, default=(float("inf"), ""))
            event_at = self._events[0][0] if self._events else float("inf")
            if min(at, event_at) > end:
                self.now = end
                return woken
            if event_at <= at:
                self.now = max(self.now, event_at)
                heapq.heappop(self._events)[2]()
                continue
            self.now = max(self.now, at)
            woken += 1
            one = self.a if name == "a" else self.b
            one.paths.handle_deadline(now=self.now)

    def unanswered(self, since: float, until: float) -> list[float]:
        """Return when requests were sent in this time that had no answer."""
        return [
            at
            for number, at in self.requests.items()
            if since <= at < until and number not in self.a.got
        ]

    def silence(self, since: float) -> float:
        """Return the seconds from *since* to the first answer of a request after it."""
        answers = [
            self.a.got[number]
            for number, at in self.requests.items()
            if at >= since and number in self.a.got
        ]
        return min(answers) - since if answers else float("inf")
