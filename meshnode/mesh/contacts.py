"""Whom a node talks to first: those that the administrator or an invite named.

A contact whose record we do not know is a peer without addresses and is greeted until
its record has come: it may be the only one we know. It may have been down when we
began, or its certificate may have been renewed while we were, so we go on: after 5 s,
then with doubling distance up to 120 s. A contact that was revoked is nobody's peer.
"""

from collections.abc import Callable
from typing import Final

from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.jitter import spread
from meshnode.mesh.neighbours import FIRST_RETRY, LAST_RETRY
from meshnode.mesh.ports import TunnelPeer, Tunnels
from meshnode.ports import Entropy
from meshnode.types import Endpoint

MAX_CONTACTS: Final = 16

SetStatic = Callable[[bytes, tuple[Endpoint, ...], float], None]
"""Use these endpoints for the WireGuard key, at boottime seconds."""


class Contacts:
    """The contacts of one node, by WireGuard key.

    Args:
        own_key: ours, which is no contact.
        tunnels: where contacts that are no members become peers.
        set_static: takes the endpoints configured for a key.
        greet: says hello to a key, at boottime seconds.
        is_member: whether that key counts, so that its peer is not ours to change.
        is_revoked: whether that key is revoked.
        entropy: for the jitter.
    """

    def __init__(
        self,
        own_key: bytes,
        *,
        tunnels: Tunnels,
        set_static: SetStatic,
        greet: Callable[[bytes, float], None],
        is_member: Callable[[bytes], bool],
        is_revoked: Callable[[bytes], bool],
        entropy: Entropy,
    ) -> None:
        self._own_key = own_key
        self._tunnels = tunnels
        self._set_static = set_static
        self._greet = greet
        self._is_member = is_member
        self._is_revoked = is_revoked
        self._entropy = entropy
        self._keys: dict[bytes, None] = {}
        self._waits: dict[bytes, float] = {}  # seconds until the next greeting
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All of them, as they were named."""
        return tuple(self._keys)

    def is_unknown(self, key: bytes) -> bool:
        """Whether *key* is a contact that is no member now, and may be one."""
        if key not in self._keys or self._is_member(key):
            return False
        return not self._is_revoked(key)

    def set(self, contacts: dict[bytes, tuple[Endpoint, ...]], *, now: float) -> None:
        """Let the first 16 of these be the contacts, with endpoints for each."""
        wanted = {
            key: endpoints
            for key, endpoints in list(contacts.items())[:MAX_CONTACTS]
            if key != self._own_key
        }
        for key in [key for key in self._keys if key not in wanted]:
            del self._keys[key]
            self._set_static(key, (), now)
            self._rest(key)
            if not self._is_member(key):
                self._tunnels.remove_peer(key, now=now)
        before, self._keys = self._keys, dict.fromkeys(wanted)
        for key, endpoints in wanted.items():
            if key not in before:
                self._approach(key, now)
            self._set_static(key, endpoints, now)
            if key in self._waits:
                # The endpoints may be others now.
                self._say_hello(key, now)

    def note_member(self, key: bytes) -> None:
        """The record of *key* is known: it is greeted as others are."""
        self._rest(key)

    def note_gone(self, key: bytes, *, now: float) -> None:
        """*key* was a member, and its peer was removed; it may come back."""
        if key in self._keys:
            self._approach(key, now)
            if key in self._waits:
                self._wake(key, now)

    def greet_again(self, *, now: float) -> None:
        """Greet whom we do not know yet anew: what was said may not have left."""
        for key in self._waits:
            self._waits[key] = FIRST_RETRY
            self._say_hello(key, now)

    def handle_deadline(self, *, now: float) -> None:
        """Greet whose turn it is."""
        for key in self._deadlines.pop_due(now):
            if self.is_unknown(key):
                self._say_hello(key, now)
                continue
            self._rest(key)
            if not self._is_member(key):
                self._tunnels.remove_peer(key, now=now)

    def next_deadline(self) -> Deadline | None:
        """Return when somebody is greeted again."""
        return self._deadlines.next()

    def _approach(self, key: bytes, now: float) -> None:
        if self.is_unknown(key):
            self._tunnels.set_peer(TunnelPeer(key), now=now)
            self._waits[key] = FIRST_RETRY

    def _say_hello(self, key: bytes, now: float) -> None:
        self._greet(key, now)
        self._wake(key, now)

    def _wake(self, key: bytes, now: float) -> None:
        wait = self._waits[key]
        self._waits[key] = min(2 * wait, LAST_RETRY)
        at = now + spread(wait, self._entropy)
        self._deadlines.set(key, Deadline(at, "greet a contact"))

    def _rest(self, key: bytes) -> None:
        if self._waits.pop(key, None) is not None:
            self._deadlines.set(key, None)
