"""Members that share a link find each other by multicast, without anybody's help.

Each says in an announcement where it is: at the start, when its links change, and once
a minute. Who hears a question of a member that it did not hear of lately says where it
is too, to the asker alone, in an announcement of the same length.

An announcement is sealed with a key that all members can make from the network's id
and the day. So a stranger on the link learns an address, which it sees anyway, and
nothing of network or member; what a stranger sends opens under no key, makes no state
and gets no answer. Replayed by a stranger it names the address that it was sent from
first, or does not count. What remains is an insider's lie: an address at which the
handshake then fails.
"""

from collections.abc import Callable
from typing import Final

from meshnode.codec.lan import (
    NONCE_SIZE,
    Word,
    WordKind,
    parse_announcement,
    parse_word,
    serialise_header,
    serialise_word,
)
from meshnode.crypto.kdf import kdf1
from meshnode.crypto.primitives import blake2s, xaead_open, xaead_seal
from meshnode.deadlines import Deadline, earliest
from meshnode.errors import AuthenticationError, CodecError
from meshnode.mesh.budgets import Budgets
from meshnode.mesh.jitter import spread
from meshnode.ports import Entropy
from meshnode.types import Datagram, Endpoint, Path, Source

PORT: Final = 61197
"""Of the dynamic range (RFC 6335), above what Linux gives to clients."""

GROUP4: Final = Endpoint("239.255.109.110", PORT)
"""Of the IPv4 local scope (RFC 2365), which RFC 5771 leaves to each site."""

GROUP6: Final = Endpoint("ff12::6d65:7368", PORT)
"""Not permanently assigned, of link-local scope (RFC 4291, 2.7)."""

ANNOUNCE_EVERY: Final = 60.0
FIRST_REPEATS: Final = 2
"""Times the first announcement is said again, 1 s apart: datagrams are lost."""

FIRST_PAUSE: Final = 1.0
FOUND_FOR: Final = 180.0
"""Seconds a place counts after it was heard last."""

MAX_LINKS: Final = 16
MAX_PLACES: Final = 4
"""Places of one member, the latest first."""

OPENED_RATE: Final = 50.0
OPENED_BURST: Final = 100.0
"""Announcements a second that are looked at, from all sources together."""

ANSWER_EVERY: Final = 10.0
"""Seconds between two answers to one member."""

_DAY: Final = 86400
_LABEL: Final = blake2s(b"meshnode/1 lan discovery")


class LanDiscovery:
    """Announces one member, and finds others.

    Args:
        network_id: 16 bytes.
        key: our WireGuard key, 32 bytes.
        port: our UDP port.
        is_member: whether somebody with this WireGuard key is a member.
        entropy: for nonces and jitter.
    """

    def __init__(
        self,
        *,
        network_id: bytes,
        key: bytes,
        port: int,
        is_member: Callable[[bytes], bool],
        entropy: Entropy,
    ) -> None:
        self._network_id = network_id
        self._key = key
        self._port = port
        self._is_member = is_member
        self._entropy = entropy
        self._links: tuple[Source, ...] = ()
        self._announce_at: float | None = None
        self._repeats = 0
        self._day_keys: dict[int, bytes] = {}
        self._opened = Budgets(rate=OPENED_RATE, burst=OPENED_BURST)
        self._answered: dict[bytes, float] = {}
        self._found: dict[bytes, dict[Endpoint, float]] = {}
        self._changed: dict[bytes, None] = {}
        self._to_send: list[Datagram] = []

    # --- inputs ---

    def set_links(self, links: tuple[Source, ...], *, now: float) -> None:
        """Be on these links, at most 16 of them, and say so at once.

        Each is our address there, IPv4 or IPv6 link-local, and its interface.
        """
        links = links[:MAX_LINKS]
        if links == self._links:
            return
        self._links = links
        self._announce_at = now if links else None
        self._repeats = FIRST_REPEATS

    def receive_datagram(
        self, data: bytes, path: Path, *, now: float, wall: float
    ) -> None:
        """Take what came in, to the group or to us; *wall* is wall seconds."""
        if not self._opened.spend(b"", 1.0, now=now):
            return
        try:
            word = self._open(data, int(wall) // _DAY)
        except (CodecError, AuthenticationError):
            return
        # Where it was not sent from it was only replayed, or a NAT is between us.
        if word.key == self._key or word.host != path.remote.host:
            return
        if not self._is_member(word.key):
            self._found.pop(word.key, None)  # it has to be told of if it comes back
            return
        self._note(word, path.remote.scope_id, now)
        if word.kind is WordKind.QUESTION:
            self._answer(word.key, path, now, wall)

    def handle_deadline(self, *, now: float, wall: float) -> None:
        """Announce us when it is time, and forget whom we have not heard of lately."""
        for key, places in list(self._found.items()):
            ended = [place for place, until in places.items() if now >= until]
            for place in ended:
                del places[place]
                self._changed[key] = None
            if not places:
                del self._found[key]
        if self._announce_at is None or now < self._announce_at:
            return
        for link in self._links:
            data = self._seal(WordKind.QUESTION, link.host, wall)
            group = GROUP6 if ":" in link.host else GROUP4
            self._to_send.append(Datagram(data, Path(group, link)))
        pause = FIRST_PAUSE if self._repeats else ANNOUNCE_EVERY
        self._repeats = max(self._repeats - 1, 0)
        self._announce_at = now + spread(pause, self._entropy)

    # --- outputs ---

    def next_deadline(self) -> Deadline | None:
        """Return when `handle_deadline` is due."""
        ends = [until for places in self._found.values() for until in places.values()]
        return earliest(
            None
            if self._announce_at is None
            else Deadline(self._announce_at, "announce us on the LAN"),
            Deadline(min(ends), "a place on the LAN ends") if ends else None,
        )

    def datagrams_to_send(self) -> list[Datagram]:
        """Return what is to be sent now, each with the link it leaves by."""
        datagrams, self._to_send = self._to_send, []
        return datagrams

    def changes(self) -> list[tuple[bytes, tuple[Endpoint, ...]]]:
        """Return the members whose places changed, with all of these, latest first."""
        changed, self._changed = self._changed, {}
        return [(key, tuple(reversed(self._found.get(key, {})))) for key in changed]

    # --- the steps ---

    def _note(self, word: Word, scope_id: int, now: float) -> None:
        places = self._found.setdefault(word.key, {})
        place = Endpoint(word.host, word.port, scope_id)
        if place not in places:
            self._changed[word.key] = None
        places.pop(place, None)
        places[place] = now + FOUND_FOR
        while len(places) > MAX_PLACES:
            del places[next(iter(places))]

    def _answer(self, key: bytes, path: Path, now: float, wall: float) -> None:
        ended = [one for one, at in self._answered.items() if now >= at + ANSWER_EVERY]
        for one in ended:
            del self._answered[one]
        if key in self._answered:
            return
        # The kernel tells no address of ours for a datagram to an IPv6 group.
        index = path.source.interface if path.source else path.remote.scope_id
        for link in self._links:
            is_same_version = (":" in link.host) == (path.remote.version == 6)
            if link.interface == index and is_same_version:
                data = self._seal(WordKind.ANSWER, link.host, wall)
                self._to_send.append(Datagram(data, Path(path.remote, link)))
                self._answered[key] = now
                return

    def _seal(self, kind: WordKind, host: str, wall: float) -> bytes:
        day = int(wall) // _DAY & 0xFFFF
        header, nonce = serialise_header(day), self._entropy(NONCE_SIZE)
        word = serialise_word(Word(kind, self._key, host, self._port))
        return header + nonce + xaead_seal(self._day_key(day), nonce, word, header)

    def _open(self, data: bytes, today: int) -> Word:
        sealed = parse_announcement(data)
        # Clocks differ, and so do the moments at which a day begins for them.
        if (sealed.day - today + 1) & 0xFFFF > 2:
            raise CodecError("LAN announcement: of another day")
        key = self._day_key(sealed.day)
        return parse_word(xaead_open(key, sealed.nonce, sealed.sealed, sealed.header))

    def _day_key(self, day: int) -> bytes:
        key = self._day_keys.get(day)
        if key is None:
            if len(self._day_keys) > 3:
                self._day_keys.clear()
            key = kdf1(_LABEL, self._network_id + day.to_bytes(2, "big"))
            self._day_keys[day] = key
        return key
