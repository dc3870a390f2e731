# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Sessions as both ways need them: the compiled one, and that of the reference.

What a packet changes (counter, replay window, whether it was the first) stands in one
C structure, and the attributes by which the reference's halves know a session read and
write it. So a packet may take either way at any time.

One cipher context is kept for each session and direction: setting a key costs more
than a small packet.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from meshnode.dataplane.fast.libc cimport (
    EVP_CIPHER_CTX_free,
    EVP_CIPHER_CTX_new,
    EVP_DecryptInit_ex,
    EVP_EncryptInit_ex,
    EVP_chacha20_poly1305,
)

from meshnode.crypto.transport import Opener, Sealer
from meshnode.wireguard.constants import (
    RECEIVE_REKEY_AGE,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
)

cdef uint64_t _LIMIT = REJECT_AFTER_MESSAGES

cdef enum:
    _WINDOW = 8128
    _WORDS = 128


cdef class SealSession:
    """A session to send under; as `reference.seal` wants it."""

    def __cinit__(self, int slot, object secrets):
        cdef bytes key = secrets.send_key
        memset(&self.keys, 0, sizeof(self.keys))
        if len(key) != 32:
            raise ValueError("a data key has 32 bytes")
        self.keys.context = EVP_CIPHER_CTX_new()
        if self.keys.context == NULL or EVP_EncryptInit_ex(
            self.keys.context, EVP_chacha20_poly1305(), NULL, key, NULL
        ) != 1:
            raise MemoryError("libcrypto gives no cipher")
        self.slot = slot
        self.secrets = secrets
        self.local_index = secrets.local_index
        self.is_rekey_reported = False
        self.keys.remote_index = secrets.remote_index
        self.keys.expires_at = secrets.born_at + REJECT_AFTER_TIME
        after = REKEY_AFTER_TIME if secrets.is_initiator else float("inf")
        self.keys.rekey_at = secrets.born_at + after

    def __dealloc__(self):
        EVP_CIPHER_CTX_free(self.keys.context)

    @property
    def sealer(self):
        """The cipher of the reference."""
        if self._sealer is None:
            self._sealer = Sealer(self.secrets.send_key)
        return self._sealer

    @property
    def counter(self):
        """The counter of the next packet."""
        return self.keys.counter

    @counter.setter
    def counter(self, uint64_t value):
        self.keys.counter = value

    @property
    def remote_index(self):
        """The index that the peer knows the session by."""
        return self.keys.remote_index

    @property
    def expires_at(self):
        """Boottime seconds from which on nothing is sent."""
        return self.keys.expires_at

    @property
    def rekey_at(self):
        """Boottime seconds from which on control is told, if something is sent."""
        return self.keys.rekey_at

    def can_carry(self, uint64_t packets, double now):
        """Return whether that many packets may still be sent (paper 6.2)."""
        if now >= self.keys.expires_at or packets > _LIMIT:
            return False
        return self.keys.counter <= _LIMIT - packets


cdef class OpenSession:
    """A session to receive under; as `reference.open` wants it."""

    def __cinit__(self, int slot, object secrets):
        cdef bytes key = secrets.receive_key
        memset(&self.keys, 0, sizeof(self.keys))
        if len(key) != 32:
            raise ValueError("a data key has 32 bytes")
        self.keys.context = EVP_CIPHER_CTX_new()
        if self.keys.context == NULL or EVP_DecryptInit_ex(
            self.keys.context, EVP_chacha20_poly1305(), NULL, key, NULL
        ) != 1:
            raise MemoryError("libcrypto gives no cipher")
        self.slot = self.keys.slot = slot
        self.secrets = secrets
        self.local_index = secrets.local_index
        self.keys.expires_at = secrets.born_at + REJECT_AFTER_TIME
        after = RECEIVE_REKEY_AGE if secrets.is_initiator else float("inf")
        self.keys.rekey_at = secrets.born_at + after

    def __dealloc__(self):
        EVP_CIPHER_CTX_free(self.keys.context)

    @property
    def opener(self):
        """The cipher of the reference."""
        if self._opener is None:
            self._opener = Opener(self.secrets.receive_key)
        return self._opener

    @property
    def window(self):
        """The counters that were accepted, as `wireguard.replay` tells them."""
        return Window(self)

    @property
    def is_confirmed(self):
        """Whether a packet has come under it."""
        return self.keys.is_confirmed

    @is_confirmed.setter
    def is_confirmed(self, bint value):
        self.keys.is_confirmed = value

    @property
    def expires_at(self):
        """Boottime seconds from which on nothing is accepted."""
        return self.keys.expires_at

    @property
    def rekey_at(self):
        """Boottime seconds after which control is told, if something comes."""
        return self.keys.rekey_at

    @rekey_at.setter
    def rekey_at(self, double value):
        self.keys.rekey_at = value


cdef class Window:
    """The replay window of a session (RFC 6479); same contract as `ReplayWindow`."""

    def __cinit__(self, OpenSession session):
        self._session = session

    def is_fresh(self, uint64_t counter):
        """Return whether `accept` would take *counter*; changes nothing."""
        return is_fresh(&self._session.keys, counter)

    def accept(self, uint64_t counter):
        """Record *counter* and return whether it was new."""
        return accept(&self._session.keys, counter)


cdef bint is_fresh(const OpenKeys *keys, uint64_t counter) noexcept nogil:
    """Return whether `accept` would take *counter*; changes nothing."""
    if not keys.has_greatest or counter > keys.greatest:
        return counter < _LIMIT
    if keys.greatest - counter > _WINDOW:
        return False
    return not (keys.words[(counter >> 6) & 127] >> (counter & 63)) & 1


cdef bint accept(OpenKeys *keys, uint64_t counter) noexcept nogil:
    """Record *counter*; return False if it is old, was seen, or is too great."""
    cdef uint64_t number, last, target
    if not is_fresh(keys, counter):
        return False
    if not keys.has_greatest or counter > keys.greatest:
        target = counter >> 6
        # With nothing accepted yet all words are empty.
        last = keys.greatest >> 6 if keys.has_greatest else target
        if target - last >= _WORDS:
            memset(keys.words, 0, sizeof(keys.words))
        else:
            for number in range(last + 1, target + 1):
                keys.words[number & 127] = 0
        keys.greatest = counter
        keys.has_greatest = True
    keys.words[(counter >> 6) & 127] |= <uint64_t>1 << (counter & 63)
    return True
