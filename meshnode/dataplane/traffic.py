"""What the data plane did for each peer, in memory that three processes share.

Theory of operation: a peer slot has one record of three 64-byte lines. Egress
writes the first, ingress the second, control the third, and everybody reads all
of them, so there is no lock. A field is one aligned 8-byte word, written by one
store, so a reader sees the old value or the new one and never a mixture.

A new peer in a slot must not inherit facts, yet control may not write the workers'
lines. So control counts the *generation* of a slot up, and a line speaks for that
generation only whose stamp it bears: readers take a line with another stamp for
blank, and its writer starts it afresh at its next packet. A stamp is generation + 1,
so memory of zeros is blank, and 0.0 an instant like any other. What a worker records
between `clear` and its `RemovePeer` command counts for the new peer: a slot is best
left unused for a while.

The waits behind the timers are kept as an instant and a *mark*: egress notes when
data went out and how many packets we had received by then. The wait lasts while
that count stands. So nobody cancels anything, which would need a second writer; and
where control itself ends a wait, it adds to the count an answer that never came.

Only memory of slots in use is touched: a file of `TrafficTable.SIZE` bytes is sparse.
"""

from threading import Lock
from typing import TYPE_CHECKING, Final

from meshnode.ports import NEVER, Traffic
from meshnode.wireguard.constants import MAX_PEERS

if TYPE_CHECKING:
    from typing_extensions import Buffer

RECORD_BYTES: Final = 192
"""One record: three lines of 64 bytes, so that no two writers share a cache line."""

# Words of a record. Those with a time are C doubles, all others unsigned integers.
_RECORD_WORDS: Final = RECORD_BYTES // 8
_EGRESS: Final = 0
_INGRESS: Final = 8

# Words of a worker's line, egress or ingress.
_PACKETS: Final = 0
_BYTES: Final = 1
_LAST_AT: Final = 2
_LAST_DATA_AT: Final = 3
_WAIT_SINCE: Final = 4
_WAIT_MARK: Final = 5
_STAMP: Final = 7

# Words of control's line, within the record. A time holds if there was a handshake.
# Answers are handshakes received and waits that control ended. How many those were,
# so that no statistic counts them, stands in the watch word above its lowest bit.
_SENT_HANDSHAKES: Final = 16
_SENT_HANDSHAKE_BYTES: Final = 17
_SENT_HANDSHAKE_AT: Final = 18
_ANSWERS: Final = 19
_RECEIVED_HANDSHAKE_BYTES: Final = 20
_RECEIVED_HANDSHAKE_AT: Final = 21
_WATCH: Final = 22
_GENERATION: Final = 23

_WATCHED_BIT: Final = 1
_ENDED_WAIT: Final = 2
_NO_MARK: Final = 2**64 - 1


class TrafficTable:
    """The records, over any writable buffer: shared memory, or a bytearray.

    `words` and `times` are the same memory as unsigned integers and as doubles.
    Slots beyond `slots` raise IndexError wherever they are used.
    """

    SIZE: Final = MAX_PEERS * RECORD_BYTES
    """Bytes of a table for every slot a device can give."""

    __slots__ = ("slots", "times", "words", "workers")

    def __init__(self, buffer: "Buffer") -> None:
        octets = memoryview(buffer).cast("B")
        if octets.readonly or not octets.nbytes or octets.nbytes % RECORD_BYTES:
            raise ValueError(
                f"traffic records need writable memory, {RECORD_BYTES} bytes each"
            )
        self.words = octets.cast("Q")
        self.times = octets.cast("d")
        self.slots = octets.nbytes // RECORD_BYTES
        self.workers = 1


class _Fence:
    """Orders a store before a later load, as seen by other processes.

    A worker stores its mark and then loads the watched flag; control stores the flag
    and then loads the mark. If processors delayed both stores (as they may), each would
    miss the other and a timer would sleep through. Taking a lock is the locked
    instruction that forbids it.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()

    def pass_through(self) -> None:
        with self._lock:
            pass


class _Recorder:
    """The writer of one worker's line; *opposite* is the other worker's.

    *answers* is the word of control's that counts for the opposite direction too.
    """

    def __init__(
        self, table: TrafficTable, line: int, opposite: int, answers: int
    ) -> None:
        self._words = table.words
        self._times = table.times
        self._line = line
        self._opposite = opposite
        self._answers = answers
        self._fence = _Fence()

    def _count(self, slot: int, packets: int, octets: int, now: float) -> int:
        """Count packets; return the line's first word."""
        record = slot * _RECORD_WORDS
        line = record + self._line
        words = self._words
        if words[line + _STAMP] != words[record + _GENERATION] + 1:
            self._begin(record, line)
        words[line + _PACKETS] += packets
        words[line + _BYTES] += octets
        self._times[line + _LAST_AT] = now
        return line

    def _data(self, slot: int, packets: int, octets: int, now: float) -> bool:
        """Count data; return whether a wait began that nobody watches."""
        line = self._count(slot, packets, octets, now)
        self._times[line + _LAST_DATA_AT] = now
        words = self._words
        record = slot * _RECORD_WORDS
        mark = words[record + self._answers]
        opposite = record + self._opposite
        if words[opposite + _STAMP] == words[record + _GENERATION] + 1:
            mark += words[opposite + _PACKETS]
        if words[line + _WAIT_MARK] == mark:
            return False
        # The mark last: who sees it, sees the instant that belongs to it.
        self._times[line + _WAIT_SINCE] = now
        words[line + _WAIT_MARK] = mark
        self._fence.pass_through()
        return not words[record + _WATCH] & _WATCHED_BIT

    def _begin(self, record: int, line: int) -> None:
        """Start a line for a new generation; its stamp, last, makes it valid."""
        self._words[line + _PACKETS] = 0
        self._words[line + _BYTES] = 0
        for word in (_LAST_AT, _LAST_DATA_AT, _WAIT_SINCE):
            self._times[line + word] = NEVER
        self._words[line + _WAIT_MARK] = _NO_MARK
        self._words[line + _STAMP] = self._words[record + _GENERATION] + 1


class EgressRecorder(_Recorder):
    """Writes what was sent; used by the one process that seals packets."""

    def __init__(self, table: TrafficTable) -> None:
        super().__init__(table, _EGRESS, _INGRESS, _ANSWERS)

    def sent_data(self, slot: int, packets: int, octets: int, now: float) -> bool:
        """Count data packets sent at *now*, *octets* UDP payload bytes together.

        Returns:
            True if control must be told `TrafficResumed`: these are the first since
            we last received anything, and control watches no timer of the peer.
        """
        return self._data(slot, packets, octets, now)

    def sent_keepalive(self, slot: int, octets: int, now: float) -> bool:
        """Count one empty packet; it waits for no answer, so always False."""
        self._count(slot, 1, octets, now)
        return False


class IngressRecorder(_Recorder):
    """Writes what was received; used by the one process that opens packets."""

    def __init__(self, table: TrafficTable) -> None:
        super().__init__(table, _INGRESS, _EGRESS, _SENT_HANDSHAKES)

    def received_data(self, slot: int, packets: int, octets: int, now: float) -> bool:
        """Count authenticated data received at *now*, *octets* UDP payload bytes.

        Returns:
            True if control must be told `TrafficResumed`: these are the first since
            we last sent anything, and control watches no timer of the peer.
        """
        return self._data(slot, packets, octets, now)

    def received_keepalive(
        self, slot: int, octets: int, now: float, *, packets: int = 1
    ) -> bool:
        """Count empty packets, *octets* together; we owe nothing, so always False."""
        self._count(slot, packets, octets, now)
        return False


class ControlView:
    """Control's side of the table; implements `ports.TrafficView`."""

    def __init__(self, table: TrafficTable) -> None:
        self._words = table.words
        self._times = table.times
        self._fence = _Fence()

    def read(self, slot: int) -> Traffic:
        """Return the facts of the peer in *slot*, handshakes included."""
        words = self._words
        record = slot * _RECORD_WORDS
        # Marks before the counts they are compared with: a count that moves
        # meanwhile ends a wait, and cannot bring an old one back.
        unanswered_mark, unanswered_since = self._wait(record, _EGRESS)
        unacknowledged_mark, unacknowledged_since = self._wait(record, _INGRESS)
        sent = self._facts(record, _EGRESS)
        received = self._facts(record, _INGRESS)
        answers = words[record + _ANSWERS]
        handshakes_received = answers - words[record + _WATCH] // _ENDED_WAIT
        handshakes_sent = words[record + _SENT_HANDSHAKES]
        sent_packets = sent[0] + handshakes_sent
        times = self._times
        handshake_sent_at = (
            times[record + _SENT_HANDSHAKE_AT] if handshakes_sent else NEVER
        )
        handshake_received_at = (
            times[record + _RECEIVED_HANDSHAKE_AT] if handshakes_received else NEVER
        )
        return Traffic(
            sent_packets,
            sent[1] + words[record + _SENT_HANDSHAKE_BYTES],
            received[0] + handshakes_received,
            received[1] + words[record + _RECEIVED_HANDSHAKE_BYTES],
            max(sent[2], handshake_sent_at),
            sent[3],
            max(received[2], handshake_received_at),
            received[3],
            unanswered_since if unanswered_mark == received[0] + answers else None,
            unacknowledged_since if unacknowledged_mark == sent_packets else None,
        )

    def watch(self, slot: int, watched: bool) -> None:
        """Say whether a timer runs for the peer; read it once more after False."""
        word = slot * _RECORD_WORDS + _WATCH
        ended_waits = self._words[word] & ~_WATCHED_BIT
        self._words[word] = ended_waits | (_WATCHED_BIT if watched else 0)
        self._fence.pass_through()

    def count_handshake(
        self, slot: int, *, sent: int = 0, received: int = 0, now: float
    ) -> None:
        """Add one authenticated handshake message of that many bytes."""
        record = slot * _RECORD_WORDS
        if sent:
            self._count(record + _SENT_HANDSHAKES, sent, now)
        if received:
            self._count(record + _ANSWERS, received, now)

    def stop_waiting(self, slot: int) -> None:
        """End the wait for an answer though none came; the next data begins one."""
        record = slot * _RECORD_WORDS
        self._words[record + _WATCH] += _ENDED_WAIT
        self._words[record + _ANSWERS] += 1

    def clear(self, slot: int) -> None:
        """Forget everything about *slot*, its watched flag too; a new peer takes it."""
        record = slot * _RECORD_WORDS
        words = self._words
        # The generation last: who sees it, counts from these zeros.
        for word in range(_SENT_HANDSHAKES, _GENERATION):
            words[record + word] = 0
        words[record + _GENERATION] += 1

    def _count(self, word: int, octets: int, now: float) -> None:
        """Add to a count of handshakes and to the bytes and time that follow it."""
        self._words[word + 1] += octets
        self._times[word + 2] = now
        self._words[word] += 1

    def _is_current(self, record: int, line: int) -> bool:
        words = self._words
        return bool(words[record + line + _STAMP] == words[record + _GENERATION] + 1)

    def _wait(self, record: int, line: int) -> tuple[int, float]:
        """Return the mark of a worker's wait, and then the instant it began."""
        if not self._is_current(record, line):
            return _NO_MARK, NEVER
        word = record + line
        return self._words[word + _WAIT_MARK], self._times[word + _WAIT_SINCE]

    def _facts(self, record: int, line: int) -> tuple[int, int, float, float]:
        """Return packets, bytes, last time and last time of data."""
        if not self._is_current(record, line):
            return 0, 0, NEVER, NEVER
        word = record + line
        return (
            self._words[word + _PACKETS],
            self._words[word + _BYTES],
            self._times[word + _LAST_AT],
            self._times[word + _LAST_DATA_AT],
        )
