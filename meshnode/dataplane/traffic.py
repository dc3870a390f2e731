"""What the data plane did for each peer, in memory that all processes share.

Theory of operation: a peer slot has one record of 64-byte lines. Every egress worker
writes one, every ingress worker one of those behind, control the last, and everybody
reads all of them, so there is no lock. A field is one aligned 8-byte word, written by
one store, so a reader sees the old value or the new one and never a mixture.

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

With several workers a mark is the sum over all lines of the other direction. They are
read one after the other, and yet nothing is missed: no count ever falls, so a sum that
is the same later means that none of them moved in between. Every line has a wait of
its own, and that of the peer is the earliest which stands.

Only memory of slots in use is touched: a file of `table_bytes` is sparse.
"""

from threading import Lock
from typing import TYPE_CHECKING, Final

from meshnode.ports import NEVER, Traffic
from meshnode.wireguard.constants import MAX_PEERS

if TYPE_CHECKING:
    from typing_extensions import Buffer

LINE_BYTES: Final = 64
"""One line of a record, so that no two writers share a cache line."""

_LINE_WORDS: Final = LINE_BYTES // 8

# Words of a worker's line, egress or ingress. Those with a time are C doubles, all
# others unsigned integers.
_PACKETS: Final = 0
_BYTES: Final = 1
_LAST_AT: Final = 2
_LAST_DATA_AT: Final = 3
_WAIT_SINCE: Final = 4
_WAIT_MARK: Final = 5
_LAST_USERS_AT: Final = 6
_STAMP: Final = 7

# Words of control's line. A time holds if there was a handshake.
# Answers are handshakes received and waits that control ended. How many those were,
# so that no statistic counts them, stands in the watch word above its lowest bit.
_SENT_HANDSHAKES: Final = 0
_SENT_HANDSHAKE_BYTES: Final = 1
_SENT_HANDSHAKE_AT: Final = 2
_ANSWERS: Final = 3
_RECEIVED_HANDSHAKE_BYTES: Final = 4
_RECEIVED_HANDSHAKE_AT: Final = 5
_WATCH: Final = 6
_GENERATION: Final = 7

_WATCHED_BIT: Final = 1
_ENDED_WAIT: Final = 2
_NO_MARK: Final = 2**64 - 1


def record_bytes(workers: int) -> int:
    """Return the bytes of one record where each direction has that many workers."""
    return LINE_BYTES * (2 * workers + 1)


def table_bytes(workers: int) -> int:
    """Return the bytes of a table for every slot a device can give."""
    return MAX_PEERS * record_bytes(workers)


RECORD_BYTES: Final = record_bytes(1)
"""One record of one worker a direction."""


class TrafficTable:
    """The records, over any writable buffer: shared memory, or a bytearray.

    *workers* is how many there are of each direction. `words` and `times` are the same
    memory as unsigned integers and as doubles; a record has `record_words` of them.
    The lines of egress, ingress and control begin at the words `egress`, `ingress` and
    `control` of a record. Slots beyond `slots` raise IndexError wherever they are used.
    """

    __slots__ = (
        "control",
        "egress",
        "ingress",
        "record_words",
        "slots",
        "times",
        "words",
        "workers",
    )

    def __init__(self, buffer: "Buffer", workers: int = 1) -> None:
        octets = memoryview(buffer).cast("B")
        size = record_bytes(workers)
        if octets.readonly or not octets.nbytes or octets.nbytes % size:
            raise ValueError(f"traffic records need writable memory, {size} bytes each")
        self.words = octets.cast("Q")
        self.times = octets.cast("d")
        self.slots = octets.nbytes // size
        self.workers = workers
        self.record_words = size // 8
        starts = tuple(range(0, self.record_words, _LINE_WORDS))
        self.egress, self.ingress = starts[:workers], starts[workers:-1]
        self.control = starts[-1]


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
    """The writer of one worker's line; *opposite* are those of the other direction.

    *answers* is the word of control's that counts for the opposite direction too.
    """

    def __init__(
        self, table: TrafficTable, line: int, opposite: tuple[int, ...], answers: int
    ) -> None:
        self._words = table.words
        self._times = table.times
        self._record_words = table.record_words
        self._line = line
        self._opposite = opposite
        self._answers = table.control + answers
        self._watch = table.control + _WATCH
        self._generation = table.control + _GENERATION
        self._fence = _Fence()

    def _count(self, slot: int, packets: int, octets: int, now: float) -> int:
        """Count packets; return the line's first word."""
        record = slot * self._record_words
        line = record + self._line
        words = self._words
        if words[line + _STAMP] != words[record + self._generation] + 1:
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
        record = slot * self._record_words
        mark = words[record + self._answers]
        stamp = words[record + self._generation] + 1
        for opposite in self._opposite:
            if words[record + opposite + _STAMP] == stamp:
                mark += words[record + opposite + _PACKETS]
        if words[line + _WAIT_MARK] == mark:
            return False
        # The mark last: who sees it, sees the instant that belongs to it.
        self._times[line + _WAIT_SINCE] = now
        words[line + _WAIT_MARK] = mark
        self._fence.pass_through()
        return not words[record + self._watch] & _WATCHED_BIT

    def _begin(self, record: int, line: int) -> None:
        """Start a line for a new generation; its stamp, last, makes it valid."""
        self._words[line + _PACKETS] = 0
        self._words[line + _BYTES] = 0
        for word in (_LAST_AT, _LAST_DATA_AT, _WAIT_SINCE, _LAST_USERS_AT):
            self._times[line + word] = NEVER
        self._words[line + _WAIT_MARK] = _NO_MARK
        self._words[line + _STAMP] = self._words[record + self._generation] + 1


class EgressRecorder(_Recorder):
    """Writes what was sent; used by the worker of that *number* that seals packets."""

    def __init__(self, table: TrafficTable, number: int = 0) -> None:
        super().__init__(table, table.egress[number], table.ingress, _ANSWERS)

    def sent_data(self, slot: int, packets: int, octets: int, now: float) -> bool:
        """Count data packets sent at *now*, *octets* UDP payload bytes together.

        Returns:
            True if control must be told `TrafficResumed`: these are the first since
            we last received anything, and control watches no timer of the peer.
        """
        return self._data(slot, packets, octets, now)

    def sent_for_users(self, slot: int, now: float) -> None:
        """Note that some of the data just counted was not of control's making."""
        line = slot * self._record_words + self._line
        self._times[line + _LAST_USERS_AT] = now

    def sent_keepalive(self, slot: int, octets: int, now: float) -> bool:
        """Count one empty packet; it waits for no answer, so always False."""
        self._count(slot, 1, octets, now)
        return False


class IngressRecorder(_Recorder):
    """Writes what was received; used by the worker of that *number* that opens them."""

    def __init__(self, table: TrafficTable, number: int = 0) -> None:
        super().__init__(table, table.ingress[number], table.egress, _SENT_HANDSHAKES)

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
        self._record_words = table.record_words
        self._egress = table.egress
        self._ingress = table.ingress
        self._control = table.control
        self._fence = _Fence()

    def read(self, slot: int) -> Traffic:
        """Return the facts of the peer in *slot*, handshakes included."""
        words = self._words
        record = slot * self._record_words
        control = record + self._control
        # Marks before the counts they are compared with: a count that moves
        # meanwhile ends a wait, and cannot bring an old one back.
        unanswered = self._waits(record, self._egress)
        unacknowledged = self._waits(record, self._ingress)
        sent = self._facts(record, self._egress)
        received = self._facts(record, self._ingress)
        answers = words[control + _ANSWERS]
        handshakes_received = answers - words[control + _WATCH] // _ENDED_WAIT
        handshakes_sent = words[control + _SENT_HANDSHAKES]
        sent_packets = sent[0] + handshakes_sent
        times = self._times
        handshake_sent_at = (
            times[control + _SENT_HANDSHAKE_AT] if handshakes_sent else NEVER
        )
        handshake_received_at = (
            times[control + _RECEIVED_HANDSHAKE_AT] if handshakes_received else NEVER
        )
        return Traffic(
            sent_packets,
            sent[1] + words[control + _SENT_HANDSHAKE_BYTES],
            received[0] + handshakes_received,
            received[1] + words[control + _RECEIVED_HANDSHAKE_BYTES],
            max(sent[2], handshake_sent_at),
            sent[3],
            max(received[2], handshake_received_at),
            received[3],
            _earliest(unanswered, received[0] + answers),
            _earliest(unacknowledged, sent_packets),
            self._last_for_users(record),
        )

    def watch(self, slot: int, watched: bool) -> None:
        """Say whether a timer runs for the peer; read it once more after False."""
        word = self._line_of(slot) + _WATCH
        ended_waits = self._words[word] & ~_WATCHED_BIT
        self._words[word] = ended_waits | (_WATCHED_BIT if watched else 0)
        self._fence.pass_through()

    def count_handshake(
        self, slot: int, *, sent: int = 0, received: int = 0, now: float
    ) -> None:
        """Add one authenticated handshake message of that many bytes."""
        line = self._line_of(slot)
        if sent:
            self._count(line + _SENT_HANDSHAKES, sent, now)
        if received:
            self._count(line + _ANSWERS, received, now)

    def stop_waiting(self, slot: int) -> None:
        """End the wait for an answer though none came; the next data begins one."""
        line = self._line_of(slot)
        self._words[line + _WATCH] += _ENDED_WAIT
        self._words[line + _ANSWERS] += 1

    def clear(self, slot: int) -> None:
        """Forget everything about *slot*, its watched flag too; a new peer takes it."""
        line = self._line_of(slot)
        words = self._words
        # The generation last: who sees it, counts from these zeros.
        for word in range(_SENT_HANDSHAKES, _GENERATION):
            words[line + word] = 0
        words[line + _GENERATION] += 1

    def _line_of(self, slot: int) -> int:
        return slot * self._record_words + self._control

    def _count(self, word: int, octets: int, now: float) -> None:
        """Add to a count of handshakes and to the bytes and time that follow it."""
        self._words[word + 1] += octets
        self._times[word + 2] = now
        self._words[word] += 1

    def _current(self, record: int, lines: tuple[int, ...]) -> list[int]:
        """Return where those lines begin that speak for the present generation."""
        words = self._words
        stamp = words[record + self._control + _GENERATION] + 1
        return [
            record + line for line in lines if words[record + line + _STAMP] == stamp
        ]

    def _waits(self, record: int, lines: tuple[int, ...]) -> list[tuple[int, float]]:
        """Return the marks of the workers' waits, each with the instant it began."""
        # The mark first: its instant was written before it.
        return [
            (self._words[line + _WAIT_MARK], self._times[line + _WAIT_SINCE])
            for line in self._current(record, lines)
        ]

    def _last_for_users(self, record: int) -> float:
        lines = self._current(record, self._egress)
        return max(
            (self._times[line + _LAST_USERS_AT] for line in lines), default=NEVER
        )

    def _facts(
        self, record: int, lines: tuple[int, ...]
    ) -> tuple[int, int, float, float]:
        """Return packets, bytes, last time and last time of data, of all workers."""
        packets, octets, last_at, last_data_at = 0, 0, NEVER, NEVER
        for line in self._current(record, lines):
            packets += self._words[line + _PACKETS]
            octets += self._words[line + _BYTES]
            last_at = max(last_at, self._times[line + _LAST_AT])
            last_data_at = max(last_data_at, self._times[line + _LAST_DATA_AT])
        return packets, octets, last_at, last_data_at


def _earliest(waits: list[tuple[int, float]], count: int) -> float | None:
    """Return when the first of those waits began that *count* has not ended."""
    return min((since for mark, since in waits if mark == count), default=None)
