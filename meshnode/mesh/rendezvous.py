"""What a rendezvous does for others: it keeps endpoint records and hands them out.

Every node runs this, for its neighbours may ask it, too. What it tells is signed by
who it is about, so a rendezvous can withhold, but not lie. All tables are bounded; a
full one refuses newcomers, who then ask again when they need to know.
"""

from typing import Final

from meshnode.codec.messages import Found, Lookup, Publish, Published, Refresh
from meshnode.deadlines import Deadline, earliest
from meshnode.mesh.candidates import tellable
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.refusal import RecordRefused

SUBSCRIBED_FOR: Final = 300.0
MAX_SUBSCRIBERS: Final = 1024
"""Of one key: so many `Found` may one publication cause."""

MAX_SUBSCRIPTIONS: Final = 256
"""Of one peer."""


class Rendezvous:
    """Keep what members publish, answer lookups, tell changes to who looked it up.

    *book* may be shared with our own lookups.
    """

    def __init__(self, book: EndpointBook, tunnels: Tunnels) -> None:
        self._book = book
        self._tunnels = tunnels
        # (key, peer) → end, in the order they end; and the peers of each key.
        self._subscriptions: dict[tuple[bytes, bytes], float] = {}
        self._subscribers: dict[bytes, dict[bytes, None]] = {}
        self._counts: dict[bytes, int] = {}

    def receive_publish(self, peer: bytes, message: Publish, *, now: float) -> None:
        """Keep the record that *peer*, a member, publishes about itself, and confirm.

        The confirmation names the version we keep, which may be a later one, and the
        address the peer is at. A refused record is not answered.
        """
        try:
            is_news = self._book.receive(peer, message.record, now=now)
        except RecordRefused:
            return
        kept = self._book.get(peer, now=now)
        if kept is not None:
            seen = tellable(self._tunnels.path_of(peer))
            published = Published(kept.endpoints.version, seen)
            self._tunnels.send(peer, published, now=now)
        if is_news:
            self._tell_subscribers(peer, now)

    def receive_refresh(self, peer: bytes, message: Refresh, *, now: float) -> None:
        """Let the record that *peer* published count further, and say which we keep."""
        self._book.refresh(peer, message.version, now=now)
        kept = self._book.get(peer, now=now)
        version = 0 if kept is None else kept.endpoints.version
        seen = tellable(self._tunnels.path_of(peer))
        self._tunnels.send(peer, Published(version, seen), now=now)

    def keep_own(self, key: bytes, record: bytes, *, now: float) -> None:
        """Keep our own record, as if *key*, ours, had published it to us.

        Raises:
            RecordRefused: if it is unsound, or we are no member that counts.
        """
        if self._book.receive(key, record, now=now):
            self._tell_subscribers(key, now)

    def receive_lookup(self, peer: bytes, message: Lookup, *, now: float) -> None:
        """Answer *peer*, a member, with what we know, and tell it changes for 300 s."""
        self._subscribe(message.key, peer, now)
        heard = self._book.get(message.key, now=now)
        record = heard.data if heard is not None else b""
        self._tunnels.send(peer, Found(message.key, record), now=now)

    def has(self, key: bytes, *, now: float) -> bool:
        """Whether a record of the member is kept."""
        return self._book.get(key, now=now) is not None

    def forget(self, key: bytes) -> None:
        """Drop everything of who is no member any more."""
        self._book.forget(key)
        for one in [one for one in self._subscriptions if key in one]:
            self._unsubscribe(*one)

    def handle_deadline(self, *, now: float, wall: int) -> None:
        """Drop subscriptions and records whose time is over."""
        self._book.handle_deadline(now=now)
        while self._subscriptions:
            one, until = next(iter(self._subscriptions.items()))
            if now < until:
                return
            self._unsubscribe(*one)

    def next_deadline(self) -> Deadline | None:
        """Return when something ends."""
        for until in self._subscriptions.values():
            ends = Deadline(until, "subscription ends")
            return earliest(ends, self._book.next_deadline())
        return self._book.next_deadline()

    def _subscribe(self, key: bytes, peer: bytes, now: float) -> None:
        if (key, peer) in self._subscriptions:
            self._unsubscribe(key, peer)
        subscribers = self._subscribers.get(key, {})
        if len(subscribers) >= MAX_SUBSCRIBERS:
            return
        if self._counts.get(peer, 0) >= MAX_SUBSCRIPTIONS:
            return
        self._subscribers.setdefault(key, {})[peer] = None
        self._counts[peer] = self._counts.get(peer, 0) + 1
        self._subscriptions[key, peer] = now + SUBSCRIBED_FOR

    def _unsubscribe(self, key: bytes, peer: bytes) -> None:
        del self._subscriptions[key, peer]
        del self._subscribers[key][peer]
        if not self._subscribers[key]:
            del self._subscribers[key]
        self._counts[peer] -= 1
        if not self._counts[peer]:
            del self._counts[peer]

    def _tell_subscribers(self, key: bytes, now: float) -> None:
        heard = self._book.get(key, now=now)
        if heard is None:
            return
        for peer in self._subscribers.get(key, {}):
            # A dead subscriber is not worth a handshake.
            if peer != key and self._tunnels.has_session(peer):
                self._tunnels.send(peer, Found(key, heard.data), now=now)
