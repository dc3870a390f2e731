# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Sessions as both ways need them: the compiled one, and that of the reference.

What a packet changes (counter, replay window, whether it was the first) stands in
memory that C reads, and the attributes by which the reference's halves know a session
read and write it. So a packet may take either way at any time.

Theory of operation: with several workers a direction, counter and window of a session
are shared by all of them (`SessionMemory`). No lock is taken, for a killed worker would
never give it back. Counters are claimed by an atomic addition, so none is used twice.
The window is a ring of words, each of 32 counters of one block and the block's number,
so one exchange of eight bytes both forgets an old block and accepts a counter of a new
one; a counter is accepted by one worker only, whoever tries. (Of the block's number a
word has 32 bits: a peer that skips 2^37 counters at once may have one refused.) What a worker holds it
marks in the record, and control gives no record away that anybody holds.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from meshnode.dataplane.fast.atomics cimport (
    fetch_add,
    fetch_and,
    fetch_or,
    load,
    store,
    swap,
)
from meshnode.dataplane.fast.cipher cimport (
    AES_256_GCM,
    CHACHA20_POLY1305,
    init_opening,
    init_sealing,
    release,
)

from meshnode.crypto.transport import Opener, Sealer, aes_key
from meshnode.types import Cipher as CipherName
from meshnode.wireguard.constants import (
    RECEIVE_REKEY_AGE,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
)

cdef uint64_t _LIMIT = REJECT_AFTER_MESSAGES

_NO_CIPHER = "libcrypto gives no cipher"

cdef enum:
    _WINDOW = 8128
    _RING = 256


cdef class SessionMemory:
    """The records of all sessions, as one worker sees them.

    Args:
        memory: writable, `RECORD_WORDS` words of eight bytes a place.
        holder: number of the worker's bit, 0 to 63.
    """

    def __cinit__(self, memory, int holder):
        cdef unsigned char[::1] octets = memory
        if not 0 <= holder < 64:
            raise ValueError("a word of holders has 64 bits")
        self._view = octets
        self._places = octets.shape[0] // (8 * RECORD_WORDS)
        if not self._places:
            raise ValueError("the memory has no place for a session")
        self._words = <uint64_t *>&octets[0]
        self._holder = <uint64_t>1 << holder

    cdef uint64_t *hold(self, size_t place) except NULL:
        """Return the record of *place*, marked as held."""
        if place >= self._places:
            raise IndexError("no such place")
        cdef uint64_t *record = self._words + place * RECORD_WORDS
        fetch_or(record + HOLDERS_WORD, self._holder)
        return record

    cdef void let_go(self, uint64_t *record) noexcept:
        fetch_and(record + HOLDERS_WORD, ~self._holder)


cdef uint64_t *_own(int words) except NULL:
    """Return zeroed words that are nobody else's."""
    cdef uint64_t *made = <uint64_t *>calloc(words, sizeof(uint64_t))
    if made == NULL:
        raise MemoryError
    return made


# Without the garbage collector's help, which would take the memory from a session before
# its end; sessions are in no cycle.
@cython.no_gc
cdef class SealSession:
    """A session to send under; as `reference.seal` wants it."""

    def __cinit__(self, int slot, object secrets, SessionMemory memory=None):
        cdef bytes key = secrets.send_key
        memset(&self.keys, 0, sizeof(self.keys))
        if len(key) != 32:
            raise ValueError("a data key has 32 bytes")
        self.keys.kind = CHACHA20_POLY1305
        if not init_sealing(&self.keys.cipher, CHACHA20_POLY1305, key):
            raise MemoryError(_NO_CIPHER)
        if memory is None:
            self.keys.counter = _own(1)
        else:
            self._memory = memory
            self._record = memory.hold(secrets.place)
            self.keys.counter = self._record + COUNTER_WORD
        self.slot = slot
        self.secrets = secrets
        self.local_index = secrets.local_index
        self.keys.remote_index = secrets.remote_index
        self.keys.expires_at = secrets.born_at + REJECT_AFTER_TIME
        after = REKEY_AFTER_TIME if secrets.is_initiator else float("inf")
        self.keys.rekey_at = secrets.born_at + after

    def __dealloc__(self):
        release(&self.keys.cipher)
        if self._record != NULL:
            self._memory.let_go(self._record)
        else:
            free(self.keys.counter)

    @property
    def cipher(self):
        """What is sent under."""
        return CipherName(self.keys.kind)

    @cipher.setter
    def cipher(self, value):
        cdef int kind = value
        cdef bytes key = self.secrets.send_key
        if kind == self.keys.kind:
            return
        if kind == AES_256_GCM:
            key = aes_key(key)
        release(&self.keys.cipher)
        self.keys.kind = kind
        if not init_sealing(&self.keys.cipher, kind, key):
            raise MemoryError(_NO_CIPHER)

    @property
    def sealer(self):
        """The cipher, as the reference has it."""
        if self._sealer is None:
            self._sealer = Sealer(self.secrets.send_key, self.cipher)
        return self._sealer

    @sealer.setter
    def sealer(self, value):
        self._sealer = value

    @property
    def counter(self):
        """The counter of the next packet."""
        return load(self.keys.counter)

    @counter.setter
    def counter(self, uint64_t value):
        store(self.keys.counter, value)

    @property
    def is_rekey_reported(self):
        """Whether control knows that a new session is due."""
        return self.keys.is_rekey_reported

    @is_rekey_reported.setter
    def is_rekey_reported(self, bint value):
        self.keys.is_rekey_reported = value

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
        return load(self.keys.counter) <= _LIMIT - packets

    def claim(self, uint64_t packets):
        """Return the first of so many counters, which nobody else uses."""
        return fetch_add(self.keys.counter, packets)


cdef bint claim(SealKeys *keys, uint64_t packets, uint64_t *first) noexcept nogil:
    """Claim so many counters; False if the session has not as many left (paper 6.2)."""
    if load(keys.counter) > _LIMIT - packets:
        return False
    first[0] = fetch_add(keys.counter, packets)
    # Others may have claimed meanwhile; never as many as lie between limit and end.
    return first[0] <= _LIMIT - packets


@cython.no_gc
cdef class OpenSession:
    """A session to receive under; as `reference.open` wants it."""

    def __cinit__(self, int slot, object secrets, SessionMemory memory=None):
        cdef bytes key = secrets.receive_key
        memset(&self.keys, 0, sizeof(self.keys))
        if len(key) != 32:
            raise ValueError("a data key has 32 bytes")
        if not init_opening(&self.keys.cipher, CHACHA20_POLY1305, key):
            raise MemoryError(_NO_CIPHER)
        if memory is None:
            self.keys.window = _own(WINDOW_WORDS)
        else:
            self._memory = memory
            self._record = memory.hold(secrets.place)
            self.keys.window = self._record + WINDOW_WORD
        self.cipher = CipherName.CHACHA20_POLY1305
        self.slot = self.keys.slot = slot
        self.secrets = secrets
        self.local_index = secrets.local_index
        self.keys.expires_at = secrets.born_at + REJECT_AFTER_TIME
        after = RECEIVE_REKEY_AGE if secrets.is_initiator else float("inf")
        self.keys.rekey_at = secrets.born_at + after

    def __dealloc__(self):
        release(&self.keys.cipher)
        release(&self.keys.aes)
        if self._record != NULL:
            self._memory.let_go(self._record)
        else:
            free(self.keys.window)

    @property
    def opener(self):
        """WireGuard's cipher, as the reference has it."""
        if self._opener is None:
            self._opener = Opener(self.secrets.receive_key)
        return self._opener

    @property
    def aes_opener(self):
        """The other cipher, as the reference has it; None until it was needed."""
        return self._aes_opener

    @aes_opener.setter
    def aes_opener(self, value):
        cdef bytes key = aes_key(self.secrets.receive_key)
        self._aes_opener = value
        # What came once will come again: from now on the compiled way opens it.
        release(&self.keys.aes)
        if not init_opening(&self.keys.aes, AES_256_GCM, key):
            raise MemoryError(_NO_CIPHER)

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


cdef inline bint _is_in_window(OpenKeys *keys, uint64_t counter) noexcept nogil:
    cdef uint64_t end = load(keys.window)
    if counter >= end:
        return counter < _LIMIT
    return end - 1 - counter <= _WINDOW


cdef inline bint _is_free(uint64_t word, uint64_t counter) noexcept nogil:
    """Whether the word of a counter in the window says that it was not accepted.

    A word of another block is of one that the window has left.
    """
    if <uint32_t>(word >> 32) != <uint32_t>(counter >> 5):
        return True
    return not (word >> (counter & 31)) & 1


cdef bint is_fresh(OpenKeys *keys, uint64_t counter) noexcept nogil:
    """Return whether `accept` would take *counter*; changes nothing."""
    cdef uint64_t *word = keys.window + 1 + ((counter >> 5) & (_RING - 1))
    return _is_in_window(keys, counter) and _is_free(load(word), counter)


cdef bint accept(OpenKeys *keys, uint64_t counter) noexcept nogil:
    """Record *counter*; return False if it is old, was seen, or is too great."""
    cdef uint64_t *word = keys.window + 1 + ((counter >> 5) & (_RING - 1))
    cdef uint64_t block = <uint64_t><uint32_t>(counter >> 5) << 32
    cdef uint64_t bit = <uint64_t>1 << (counter & 31)
    cdef uint64_t end = load(keys.window)
    cdef uint64_t seen, updated
    if counter >= _LIMIT:
        return False
    # First the window moves. So whoever reads a word, and then still finds its own
    # counter in the window, knows that the word is of its block or of an older one.
    while end <= counter and not swap(keys.window, &end, counter + 1):
        pass
    seen = load(word)
    while True:
        if not _is_in_window(keys, counter) or not _is_free(seen, counter):
            return False
        updated = seen | bit if (seen >> 32) << 32 == block else block | bit
        if swap(word, &seen, updated):
            return True
