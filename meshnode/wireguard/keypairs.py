"""The three key pairs of a peer, as control sees them (paper 5.4.6, 6.1).

Control derives the keys and hands them to the data plane at once; what it keeps is
when a pair was born, which index it answers to and which role we had in it.

An initiator may send under a new pair at once: the response proved that the other
side has it. A responder may not, until the first authenticated packet arrives under
it; so its new pair waits in `next`.
"""

from dataclasses import replace

from meshnode.types import Cipher
from meshnode.values import frozen
from meshnode.wireguard.constants import REJECT_AFTER_TIME


@frozen
class KeyPair:
    """One session: 32-bit indices, birth in boottime seconds, our role.

    `cipher` is what we send under; the peer may have another one.
    """

    local_index: int
    remote_index: int
    born_at: float
    is_initiator: bool
    cipher: Cipher = Cipher.CHACHA20_POLY1305


class KeyPairs:
    """Previous, current and next key pair; every change names what it retires."""

    __slots__ = ("current", "next", "previous")

    def __init__(self) -> None:
        self.previous: KeyPair | None = None
        self.current: KeyPair | None = None
        self.next: KeyPair | None = None

    def all(self) -> list[KeyPair]:
        """Return the pairs that exist, oldest slot first."""
        slots = (self.previous, self.current, self.next)
        return [pair for pair in slots if pair is not None]

    def can_send(self, *, now: float) -> bool:
        """Whether the current pair is young enough to send under."""
        current = self.current
        return current is not None and now - current.born_at < REJECT_AFTER_TIME

    def add_as_initiator(self, pair: KeyPair) -> list[KeyPair]:
        """Make *pair* current; return the pairs to forget.

        A waiting `next` becomes previous in place of the old current: it is the
        newer of the two, and its packets may still be under way.
        """
        if self.next is not None:
            retired = [self.previous, self.current]
            self.previous, self.next = self.next, None
        else:
            retired = [self.previous]
            self.previous = self.current
        self.current = pair
        return [old for old in retired if old is not None]

    def add_as_responder(self, pair: KeyPair) -> list[KeyPair]:
        """Let *pair* wait for confirmation as next; return the pairs to forget."""
        retired = [self.previous, self.next]
        self.previous, self.next = None, pair
        return [old for old in retired if old is not None]

    def confirm(self, local_index: int) -> list[KeyPair] | None:
        """Promote `next` after its first packet; return the pairs to forget.

        Returns:
            None if *local_index* is not that of `next`: nothing changes.
        """
        if self.next is None or self.next.local_index != local_index:
            return None
        retired = [] if self.previous is None else [self.previous]
        self.previous, self.current, self.next = self.current, self.next, None
        return retired

    def clear(self) -> list[KeyPair]:
        """Forget all pairs and return them."""
        retired = self.all()
        self.previous = self.current = self.next = None
        return retired

    def stop_sending(self) -> list[KeyPair]:
        """Keep only the current pair, to receive under; return those to forget.

        Our identity changed: what is under way to us may still arrive, but
        nothing more may be sent under a key of the old identity.
        """
        retired = [self.previous, self.next]
        self.previous, self.current, self.next = self.current, None, None
        return [old for old in retired if old is not None]

    def use_cipher(self, remote_index: int, cipher: Cipher) -> KeyPair | None:
        """Send under *cipher* in the session that the peer knows by *remote_index*.

        Returns:
            The pair as it is now; None if there is none, or nothing changes.
        """
        for name in ("previous", "current", "next"):
            pair: KeyPair | None = getattr(self, name)
            if pair is None or pair.remote_index != remote_index:
                continue
            if pair.cipher is cipher:
                return None
            changed = replace(pair, cipher=cipher)
            setattr(self, name, changed)
            return changed
        return None

    def adopt(self, pair: KeyPair, *, in_use: bool) -> None:
        """Take over a pair that the data plane held while control restarted.

        The pair in use is current. Of the others, one younger than current in
        which we answered is waiting for confirmation; the rest is previous.
        """
        known = {old.local_index: old for old in self.all()}
        known[pair.local_index] = pair
        current = pair if in_use else self.current
        if current is not None:
            known.pop(current.local_index)
        self.previous, self.current, self.next = None, current, None
        for other in sorted(known.values(), key=lambda p: p.born_at):
            older = current is not None and other.born_at < current.born_at
            if other.is_initiator or older:
                self.previous = other
            else:
                self.next = other
