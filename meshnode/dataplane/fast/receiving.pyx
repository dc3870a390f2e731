# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled way in: received datagrams to TUN frames, a batch a call.

    receiver.wait(links, sockets)    # carries packets until Python is needed
    receiver.pump(descriptor, now)   # -> why it stopped; WAITING: `batch` is another's
    receiver.finish()                # the facts
    receiver.resumed(), receiver.control_frames(), receiver.drops()

Theory of operation. One `recvmmsg` brings up to 32 batches, each of up to 64 datagrams
of one sender. Datagrams are opened where they lie, checked as the paper says (5.4.6,
6.5), and named in one write to the device a run. A batch goes to the reference's half
as it came if it is anything but data of a peer from where it is known to be, under a
session that was used before and is not due for renewal; so whatever has consequences
is decided there, before anything of the batch was touched. Data in a relay channel is
such data, 8 bytes further on; what goes on to others is the `Forwarder`'s.

Bounds: every datagram lies within the bytes that the kernel says it wrote, and inner
packets within their datagram, by their own length, before a byte of them is read.
"""

from libc.errno cimport EINTR, EINVAL, errno as c_errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from meshnode.dataplane.fast.arrivals cimport Arrivals
from meshnode.dataplane.fast.channels cimport (
    CHANNEL_TYPE,
    PREFIX_BYTES,
    ChannelEntry,
)
from meshnode.dataplane.fast.cipher cimport (
    AES_256_GCM,
    CHACHA20_POLY1305,
    Cipher,
    open_sealed,
)
from meshnode.dataplane.fast.facts cimport Facts, Recorder, note_data, note_keepalives
from meshnode.dataplane.fast.libc cimport writev
from meshnode.dataplane.fast.lookup cimport IndexTable, PrefixTable
from meshnode.dataplane.fast.merge cimport Run, begin, finish, join
from meshnode.dataplane.fast.paths cimport RawPath, decode, encode, is_same
from meshnode.dataplane.fast.relaying cimport Forwarder
from meshnode.dataplane.fast.sessions cimport (
    OpenKeys,
    accept,
    is_fresh,
)
from meshnode.dataplane.fast.taps cimport (
    PASSED,
    TUNNEL_IN,
    UNDERLAY_IN,
    Tap,
    verdict_of,
)
from meshnode.dataplane.fast.waiting cimport (
    Watch,
    begin_watch,
    boottime,
    ready_links,
    sleep,
)
from meshnode.dataplane.fast.wire cimport (
    HEADER_BYTES,
    OVERHEAD,
    little32,
    little64,
    true_length,
)

from meshnode.codec.forwarding import MAX_PADDED_FRAME
from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES

cdef uint64_t _LIMIT = REJECT_AFTER_MESSAGES
cdef int _MAX_FRAME = MAX_PADDED_FRAME

cdef enum:
    _CONTROL_FIRST = 1
    _PATHS = 5

cdef enum:
    _EMPTY = 0      # the socket has nothing more
    _ENOUGH = 1     # one round is done; there may be more
    _WAITING = 2    # a batch waits for the reference
    _GONE = 3       # the device takes nothing: see `error`

EMPTY = _EMPTY
ENOUGH = _ENOUGH
WAITING = _WAITING
GONE = _GONE

cdef enum:
    _REPLAY = 0
    _BAD_TAG = 1
    _BAD_INNER = 2
    _BAD_SOURCE = 3
    _BAD_LENGTH = 4
    _UNKNOWN_INDEX = 5
    _KEY_EXPIRED = 6
    _COUNTER_LIMIT = 7
    _DEVICE_DOWN = 8
    _DROPS = 9

DROPS = (
    "REPLAY", "BAD_TAG", "BAD_INNER", "BAD_SOURCE", "BAD_LENGTH", "UNKNOWN_INDEX",
    "KEY_EXPIRED", "COUNTER_LIMIT", "DEVICE_DOWN",
)
"""The names of the reasons that `drops` counts, in its order."""

cdef int[_DROPS] _VERDICTS
for _number, _name in enumerate(DROPS):
    _VERDICTS[_number] = verdict_of(_name)


cdef struct Origin:
    # Where the peer is, and by what it came to the knowledge of control.
    RawPath paths[_PATHS]
    int path_count
    bint is_active
    bint has_resumed
    uint64_t packets
    uint64_t octets
    uint64_t keepalives
    uint64_t keepalive_octets


cdef class Receiver:
    """Receives for all peers; see the module for its use.

    Args:
        device: descriptor of the TUN device.
        recorder: writes the facts, and knows how many slots there are.
        on_refused: called with a frame of many packets with which the device found
            fault.
        forwarder: takes what is not for us.
        tap: takes copies while somebody captures.

    `arrivals` must be told of the sockets.
    """

    cdef int _device
    cdef int _slots
    cdef Origin *_origins
    cdef readonly Arrivals arrivals
    cdef Tap _tap
    cdef int _next
    cdef RawPath _path
    cdef RawPath _behind      # the channel that a batch came by
    cdef int _segment
    cdef Run _run
    cdef double _now
    cdef int _error
    cdef int _pending         # why the last wait stopped, not yet told
    cdef int _pending_socket
    cdef uint64_t _drops[_DROPS]
    cdef bint _has_news
    cdef Facts _facts
    cdef object _recorder
    cdef int *_active
    cdef int _active_count
    cdef int *_resumed        # slots of whom control is to hear
    cdef int _resumed_count
    cdef list _frames
    cdef PrefixTable _routes4
    cdef PrefixTable _routes6
    cdef IndexTable _sessions
    cdef dict _accepted
    cdef object _on_refused
    cdef Forwarder _forwarder
    cdef bint _has_caught_up
    cdef public bint is_up

    def __cinit__(
        self, int device, Recorder recorder, object on_refused, Forwarder forwarder,
        Tap tap,
    ):
        cdef int slots = recorder.facts.slots
        self._device = device
        self._slots = slots
        self._origins = <Origin *>calloc(slots, sizeof(Origin))
        self._active = <int *>calloc(slots, sizeof(int))
        self._resumed = <int *>calloc(slots, sizeof(int))
        if self._origins == NULL or self._active == NULL or self._resumed == NULL:
            raise MemoryError
        memset(&self._run, 0, sizeof(Run))
        self.arrivals = Arrivals()
        self._tap = tap
        self._recorder, self._facts = recorder, recorder.facts
        self._on_refused = on_refused
        self._forwarder = forwarder
        self._frames = []
        self._routes4 = PrefixTable(4)
        self._routes6 = PrefixTable(6)
        self._sessions = IndexTable()
        self._accepted = {}

    def __dealloc__(self):
        free(self._origins)
        free(self._active)
        free(self._resumed)

    # --- the mirror ---

    def set_merged(self, bint tcp, bint udp):
        """Write many packets of these protocols in one frame; of others, none."""
        self._run.takes_tcp, self._run.takes_udp = tcp, udp

    def set_routes(self, PrefixTable v4, PrefixTable v6):
        """Ask these tables whose a source is."""
        self._routes4, self._routes6 = v4, v6

    def set_sessions(self, IndexTable sessions):
        """Open under these sessions."""
        self._sessions = sessions

    def set_origin(self, int slot, list paths):
        """Take data of *slot* by *paths*, the first few of them."""
        cdef int number
        cdef int count = min(<int>len(paths), _PATHS)
        if not 0 <= slot < self._slots:
            raise IndexError("no such slot")
        for number in range(count):
            encode(paths[number], &self._origins[slot].paths[number])
        self._origins[slot].path_count = count

    # --- the batch ---

    @property
    def batch(self):
        """What waits: the bytes, the size of each datagram, and the path."""
        cdef uint8_t *data
        cdef int size = self.arrivals.take(
            self._next - 1, &data, &self._path, &self._segment
        )
        return bytearray(data[:size]), self._segment, decode(&self._path)

    @property
    def error(self):
        """The error number of the device's last refusal."""
        return self._error

    def drops(self):
        """Return and forget how many were dropped, in the order of `DROPS`."""
        counts = tuple([self._drops[number] for number in range(_DROPS)])
        memset(self._drops, 0, sizeof(self._drops))
        return counts

    @property
    def now(self):
        """The boottime seconds of the last round."""
        return self._now

    def resumed(self):
        """Return and forget of whom control is to hear: the slots that resumed."""
        cdef int number
        result = []
        for number in range(self._resumed_count):
            result.append(self._resumed[number])
            self._origins[self._resumed[number]].has_resumed = False
        self._resumed_count = 0
        return result

    def control_frames(self):
        """Return and forget the control frames: slot, bytes, whole size and path.

        Of one with more padding than any has, only the beginning.
        """
        frames, self._frames = self._frames, []
        return frames

    def wait(self, links, sockets):
        """Carry packets until Python is needed.

        Args:
            links: the events to wait for beside ours, by descriptor.
            sockets: the descriptors to receive by.

        Returns:
            The descriptors that are ready; a socket's if `pump` has something to tell.
            None for a signal, or because there is news.
        """
        cdef Watch watch
        begin_watch(&watch, links, sockets)
        with nogil:
            self._wait(&watch)
        ready = ready_links(&watch)
        if self._pending:
            ready.append(self._pending_socket)
        return ready

    def pump(self, int descriptor, double now):
        """Receive one round; call it again after `WAITING` for the rest of it."""
        cdef int stop = self._pending
        self._pending = _EMPTY
        self._now = now
        if stop == _EMPTY:
            with nogil:
                stop = self._pump(descriptor)
        return stop

    def finish(self):
        """Write the facts."""
        with nogil:
            self._finish()

    cdef void _wait(self, Watch *watch) noexcept nogil:
        cdef int number, stop
        while sleep(watch):
            self._now = boottime()
            for number in range(watch.links, watch.count):
                if not watch.fds[number].revents:
                    continue
                stop = self._pump(watch.fds[number].fd)
                if stop > _ENOUGH:
                    self._pending = stop
                    self._pending_socket = watch.fds[number].fd
                    break
            self._finish()
            if self._pending or self._has_news or self._forwarder.has_news:
                self._has_news = self._forwarder.has_news = False
                return

    cdef void _finish(self) noexcept nogil:
        cdef int number, slot
        cdef Origin *origin
        for number in range(self._active_count):
            slot = self._active[number]
            origin = &self._origins[slot]
            origin.is_active = False
            if origin.packets and note_data(
                &self._facts, slot, origin.packets, origin.octets, self._now
            ) and not origin.has_resumed:
                origin.has_resumed = self._has_news = True
                self._resumed[self._resumed_count] = slot
                self._resumed_count += 1
            if origin.keepalives:
                note_keepalives(
                    &self._facts, slot, origin.keepalives, origin.keepalive_octets,
                    self._now,
                )
            origin.packets = origin.octets = 0
            origin.keepalives = origin.keepalive_octets = 0
        self._active_count = 0

    cdef int _pump(self, int descriptor) noexcept nogil:
        cdef int size
        cdef uint8_t *data
        if self._next == self.arrivals.count:
            self._next = 0
            self._error = 0
            if not self.arrivals.receive(descriptor):
                return _EMPTY
            self._has_caught_up = False
        self._tap.look()
        while self._next < self.arrivals.count:
            size = self.arrivals.take(self._next, &data, &self._path, &self._segment)
            self._next += 1
            if not self._take(data, size):
                self._complete()
                return _WAITING
        self._complete()
        return _GONE if self._error else _ENOUGH

    cdef void _complete(self) noexcept nogil:
        """Let go of everything that still lies in the buffers."""
        self._write_run()
        self._forwarder.flush()
        self._tap.show()

    cdef bint _take(self, uint8_t *data, int size) noexcept nogil:
        """Take a whole batch; False, with nothing done, if it is not ours."""
        if not self.is_up or size < PREFIX_BYTES:
            return False
        if little32(data) == CHANNEL_TYPE:
            return self._take_channel(data, size)
        return self._take_data(data, size, &self._path, 0)

    cdef bint _take_channel(self, uint8_t *data, int size) noexcept nogil:
        """The same of one whose first datagram is of type 5."""
        cdef ChannelEntry *entry = self._forwarder.find(little32(data + 4))
        if entry == NULL or entry.onward >= 0:
            if not self._forwarder.carries(
                data, size, self._segment, self._has_caught_up
            ):
                # It may be that an unknown channel has just been opened.
                self._has_caught_up = True
                return False
            self._forwarder.take(data, size, self._segment, &self._path, self._now)
            return True
        if not self._forwarder.is_from(entry.slot, &self._path):
            return False
        memset(&self._behind, 0, sizeof(RawPath))
        self._behind.channel = little32(data + 4)
        return self._take_data(data, size, &self._behind, PREFIX_BYTES)

    cdef bint _take_data(
        self, uint8_t *data, int size, const RawPath *path, int prefix
    ) noexcept nogil:
        """Open all datagrams, each behind so many bytes, as they came by *path*."""
        cdef OpenKeys *keys
        cdef Origin *origin
        cdef int at, length
        cdef int least = OVERHEAD + prefix
        cdef Cipher *cipher
        cdef uint32_t kind
        if size < least or self._segment < least:
            return False
        kind = little32(data + prefix)
        if kind != CHACHA20_POLY1305 and kind != AES_256_GCM:
            return False
        keys = <OpenKeys *>self._sessions.find(little32(data + prefix + 4))
        if keys == NULL:
            if not self._has_caught_up:
                self._has_caught_up = True
                return False
            self._drop(_UNKNOWN_INDEX, (size + self._segment - 1) // self._segment)
            if self._tap.sides:
                self._tap.put_burst(
                    UNDERLAY_IN, data, size, self._segment, -1,
                    _VERDICTS[_UNKNOWN_INDEX], &self._path, path.channel,
                )
            return True
        if keys.slot >= self._slots or not keys.is_confirmed:
            return False
        if self._now > keys.rekey_at:
            return False
        if self._now >= keys.expires_at:
            return False
        cipher = &keys.cipher if kind == CHACHA20_POLY1305 else &keys.aes
        if cipher.context == NULL:
            return False
        origin = &self._origins[keys.slot]
        if not self._is_known(origin, path):
            return False
        at = self._segment
        while at < size:
            length = min(self._segment, size - at)
            if length < least or memcmp(data, data + at, prefix + 8):
                return False
            at += self._segment
        if not origin.is_active:
            origin.is_active = True
            self._active[self._active_count] = keys.slot
            self._active_count += 1
        at = prefix
        while at < size:
            length = min(self._segment, size - at + prefix) - prefix
            if self._tap.sides:
                # Now, for it is opened where it lies.
                self._tap.put(
                    UNDERLAY_IN, data + at - prefix, length + prefix, keys.slot,
                    PASSED, &self._path, path.channel,
                )
            self._open(keys, cipher, origin, path, data + at, length)
            at += self._segment
        return True

    cdef bint _is_known(self, const Origin *origin, const RawPath *path) noexcept nogil:
        """Whether the peer may come by *path* without consequences."""
        cdef int number
        for number in range(origin.path_count):
            if is_same(&origin.paths[number], path):
                return True
        return False

    cdef void _drop(self, int reason, uint64_t count) noexcept nogil:
        self._drops[reason] += count
        self._has_news = True

    cdef void _reject(self, int reason) noexcept nogil:
        """Drop one of which the tap was told."""
        self._drop(reason, 1)
        self._tap.condemn(_VERDICTS[reason])

    cdef void _open(
        self, OpenKeys *keys, Cipher *cipher, Origin *origin, const RawPath *path,
        uint8_t *data, int size,
    ) noexcept nogil:
        cdef uint64_t counter = little64(data + 8)
        cdef uint8_t *packet = data + HEADER_BYTES
        cdef int length = size - OVERHEAD
        if counter >= _LIMIT:
            self._reject(_COUNTER_LIMIT)
        elif not is_fresh(keys, counter):
            # Asked before the cipher, for a replayed flood must not cost one.
            self._reject(_REPLAY)
        elif not open_sealed(cipher, counter, packet, size - HEADER_BYTES):
            self._reject(_BAD_TAG)
        elif not accept(keys, counter):
            self._reject(_REPLAY)
        elif length == 0:
            origin.keepalives += 1
            origin.keepalive_octets += size
        else:
            origin.packets += 1
            origin.octets += size
            self._deliver(keys.slot, path, packet, length)

    cdef void _deliver(
        self, int slot, const RawPath *path, uint8_t *packet, int length
    ) noexcept nogil:
        """Check the inner packet, and let it join the run or begin the next."""
        cdef int size = true_length(packet, length)
        cdef int owner
        if size < 0:
            if packet[0] == _CONTROL_FIRST:
                self._has_news = True
                with gil:
                    kept = packet[: min(length, _MAX_FRAME)]
                    self._frames.append((slot, kept, length, decode(path)))
            else:
                self._note(slot, path, packet, length)
                self._reject(_BAD_INNER)
            return
        self._note(slot, path, packet, size)
        if packet[0] >> 4 == 4:
            owner = self._routes4.find(packet + 12)
        else:
            owner = self._routes6.find(packet + 8)
        if owner != slot and not self._is_accepted(slot, owner):
            self._reject(_BAD_SOURCE)
            return
        if not join(&self._run, packet, size):
            self._write_run()
            begin(&self._run, packet, size)

    cdef void _note(
        self, int slot, const RawPath *path, const uint8_t *packet, int size
    ) noexcept nogil:
        """Let the tap have an inner packet."""
        if self._tap.sides:
            self._tap.put(
                TUNNEL_IN, packet, size, slot, PASSED, &self._path, path.channel
            )

    cdef bint _is_accepted(self, int slot, int owner) noexcept nogil:
        """Whether *owner* stands for several, and *slot* is among them."""
        if owner > -2:
            return False
        with gil:
            return slot in self._accepted.get(owner, ())

    def set_accepted(self, dict accepted):
        """Take who may speak from shared prefixes: slots, by the owner below -1."""
        self._accepted = accepted

    cdef void _write_run(self) noexcept nogil:
        cdef int count = finish(&self._run)
        if count == 0:
            return
        while writev(self._device, self._run.pieces, count) < 0:
            if c_errno == EINTR:
                continue
            if c_errno == EINVAL and count > 2:
                with gil:
                    self._refuse(count)
                return
            self._error = c_errno
            self._drop(_DEVICE_DOWN, 1)
            return

    cdef int _refuse(self, int count) except -1 with gil:
        self._has_news = True
        self._on_refused(b"".join([
            (<uint8_t *>self._run.pieces[number].iov_base)[
                : self._run.pieces[number].iov_len
            ]
            for number in range(count)
        ]))
        return 0
