# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled way out: TUN frames to sealed datagrams, a batch a call.

    sender.wait(links)           # carries packets until Python is needed
    sender.pump(queue, frames)   # -> why it stopped; WAITING: `frame` is another's
    sender.send_to(slot)         # the frame that waits, to this peer
    sender.finish()              # the facts, and then what is sealed
    sender.news()                # what control is to be told

Theory of operation. What a packet needs is mirrored into C structures when a command
changes it; a frame that meets anything else (no session, no path, no route, a header
out of the ordinary) waits for the reference's half, which knows what to do and whom to
tell. Packets of one peer are sealed one behind the other into a burst of equal-sized
datagrams, which leaves by one segmented send when the next packet does not fit, or at
the end of the batch: nothing waits for company.

A peer behind a relay has the prefix of its channel before each datagram, and a peer with
a standby path has two ways: what left by the first is made what the second wants, where
it lies, and leaves again.

Bounds: a burst holds at most `BURST_BYTES`, asked before each packet is written, and
a packet is at most as long as the frame it came from.
"""

from libc.errno cimport EAGAIN, EINTR, errno as c_errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from meshnode.dataplane.fast.bursts cimport (
    BURST_BYTES,
    BURST_DATAGRAMS,
    MAX_BURSTS,
    Burst,
    Outgoing,
    add_burst,
    relabel,
    send_from,
)
from meshnode.dataplane.fast.channels cimport PREFIX_BYTES, put_prefix
from meshnode.dataplane.fast.cipher cimport seal
from meshnode.dataplane.fast.facts cimport Facts, Recorder, note_data, note_users
from meshnode.dataplane.fast.frames cimport (
    FRAME_SLACK,
    Frame,
    packet_size,
    place_packet,
    read_frame,
)
from meshnode.dataplane.fast.libc cimport read
from meshnode.dataplane.fast.lookup cimport NOBODY, SEVERAL, PrefixTable
from meshnode.dataplane.fast.paths cimport RawPath, encode
from meshnode.dataplane.fast.sessions cimport SealKeys, SealSession, claim
from meshnode.dataplane.fast.taps cimport PASSED, TUNNEL_OUT, UNDERLAY_OUT, Tap
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
    VNET_BYTES,
    padding,
    put_little32,
    put_little64,
)

from meshnode.wireguard.constants import REKEY_AFTER_MESSAGES

cdef uint64_t _REKEY_AFTER = REKEY_AFTER_MESSAGES

cdef enum:
    _FRAME_BYTES = VNET_BYTES + 65535
    _FRAMES_PER_TURN = 16     # of one queue, before the next has its turn
    _WAYS = 2                 # that a peer may have at once

cdef enum:
    _EMPTY = 0      # the device has nothing more
    _ENOUGH = 1     # the batch is complete
    _WAITING = 2    # a frame waits for the reference
    _SHARED = 3     # a frame waits for the choice of an owner
    _FAILED = 4     # reading failed

EMPTY = _EMPTY
ENOUGH = _ENOUGH
WAITING = _WAITING
SHARED = _SHARED
FAILED = _FAILED


cdef struct Way:
    RawPath path
    uint32_t label    # of the relay channel, 0 for none
    int descriptor    # of the socket; -1 if there is none


cdef struct Target:
    SealKeys *keys
    Way ways[_WAYS]
    int way_count
    int burst         # number of its own and 1, 0 for none
    bint is_active
    bint is_noted
    bint has_resumed
    uint64_t packets
    uint64_t octets


cdef class Sender:
    """Sends for all peers; see the module for its use.

    Args:
        queues: descriptors of the TUN device.
        recorder: writes the facts, and knows how many slots there are.
        on_refused: called with slot, number of the way, bytes and segment size of a
            burst that the kernel did not take as it was.
        tap: takes copies while somebody captures.
    """

    cdef tuple _queues
    cdef int _mtu
    cdef int _slots
    cdef Target *_targets
    cdef Burst _bursts[MAX_BURSTS]
    cdef Outgoing _outgoing
    cdef Burst *_leaving[MAX_BURSTS]
    cdef int _open_count
    cdef uint8_t *_frame
    cdef int _frame_size
    cdef Frame _parsed
    cdef double _now
    cdef int _error
    cdef int _shared
    cdef int _pending         # why the last wait stopped, not yet told
    cdef int _pending_queue
    cdef Facts _facts
    cdef object _recorder
    cdef int *_active
    cdef int _active_count
    cdef int *_noted          # slots of whom control is to hear
    cdef int _noted_count
    cdef bint _has_refused    # what Python made of it is perhaps to be published
    cdef dict _kept
    cdef PrefixTable _routes4
    cdef PrefixTable _routes6
    cdef object _on_refused
    cdef Tap _tap
    cdef public bint can_segment
    cdef public bint takes_tails

    def __cinit__(self, tuple queues, Recorder recorder, object on_refused, Tap tap):
        cdef int number
        cdef int slots = recorder.facts.slots
        self._queues = queues
        self._slots = slots
        memset(self._bursts, 0, sizeof(self._bursts))
        # Zeros that nobody touches cost no memory.
        self._targets = <Target *>calloc(slots, sizeof(Target))
        self._active = <int *>calloc(slots, sizeof(int))
        self._noted = <int *>calloc(slots, sizeof(int))
        self._frame = <uint8_t *>malloc(_FRAME_BYTES + FRAME_SLACK)
        if self._targets == NULL or self._frame == NULL:
            raise MemoryError
        if self._active == NULL or self._noted == NULL:
            raise MemoryError
        for number in range(MAX_BURSTS):
            self._bursts[number].slot = -1
            self._bursts[number].data = <uint8_t *>malloc(BURST_BYTES)
            if self._bursts[number].data == NULL:
                raise MemoryError
        self._recorder, self._facts = recorder, recorder.facts
        self._kept = {}
        self._routes4 = PrefixTable(4)
        self._routes6 = PrefixTable(6)
        self._on_refused, self._tap = on_refused, tap
        self.can_segment = self.takes_tails = True

    def __dealloc__(self):
        cdef int number
        free(self._targets)
        free(self._active)
        free(self._noted)
        free(self._frame)
        for number in range(MAX_BURSTS):
            free(self._bursts[number].data)

    # --- the mirror ---

    def set_routes(self, PrefixTable v4, PrefixTable v6):
        """Ask these tables whose a destination is."""
        self._routes4, self._routes6 = v4, v6

    def set_mtu(self, int mtu):
        """Pad up to *mtu*; 0 for none."""
        self._mtu = mtu

    def set_target(self, int slot, SealSession session, ways):
        """Seal for *slot* under *session* and send by all *ways*, each the same.

        A way is a path, the label of a channel, 0 for none, and the descriptor of the
        socket, -1 for none. There are at most two, and the first has a label if any
        has. Without a way or a session all is Python's.
        """
        cdef Target *target
        cdef int number
        if not 0 <= slot < self._slots:
            raise IndexError("no such slot")
        if len(ways) > _WAYS:
            raise ValueError("too many ways")
        target = &self._targets[slot]
        if session is None or not ways:
            target.keys = NULL
            self._kept.pop(slot, None)
            return
        target.way_count = len(ways)
        for number in range(target.way_count):
            path, label, descriptor = ways[number]
            encode(path, &target.ways[number].path)
            target.ways[number].label = label
            target.ways[number].descriptor = descriptor
        if target.way_count > 1 and target.ways[1].label and not target.ways[0].label:
            raise ValueError("prefixes are taken away and not added")
        target.keys = &session.keys
        self._kept[slot] = session

    # --- the batch ---

    @property
    def frame(self):
        """The bytes of the frame that waits."""
        return self._frame[: self._frame_size]

    @property
    def shared(self):
        """The number of the owners of the destination, after `SHARED`."""
        return self._shared

    @property
    def error(self):
        """Why reading failed, an error number."""
        return self._error

    @property
    def now(self):
        """The boottime seconds of the last batch."""
        return self._now

    def wait(self, links):
        """Carry packets until Python is needed.

        Args:
            links: the events to wait for beside ours, by descriptor.

        Returns:
            The descriptors that are ready; a queue's if `pump` has something to tell.
            None if there is only news, or a signal.
        """
        cdef Watch watch
        begin_watch(&watch, links, self._queues)
        with nogil:
            self._wait(&watch)
        ready = ready_links(&watch)
        if self._pending:
            ready.append(self._pending_queue)
        return ready

    def pump(self, int queue, int frames, double now):
        """Seal what waits in a queue, up to so many frames; say why it stopped."""
        cdef int stop = self._pending
        self._pending = _EMPTY
        self._now = now
        if stop == _EMPTY:
            with nogil:
                stop = self._pump(queue, frames)
        return stop

    def send_to(self, int slot):
        """Send the frame that waits to *slot*; return whether that could be done."""
        cdef bint is_done
        if not 0 <= slot < self._slots:
            return False
        with nogil:
            is_done = self._send_frame(slot)
        return is_done

    def finish(self):
        """Write the facts, and then send everything that is sealed.

        In this order: an answer must not come before the question is noted.
        """
        with nogil:
            self._finish()

    def news(self):
        """Return and forget of whom control is to hear: slots, and who resumed."""
        cdef Target *target
        cdef int number
        result = []
        for number in range(self._noted_count):
            target = &self._targets[self._noted[number]]
            result.append((self._noted[number], bool(target.has_resumed)))
            target.has_resumed = target.is_noted = False
        self._noted_count = 0
        return result

    cdef void _wait(self, Watch *watch) noexcept nogil:
        cdef int number, stop
        while sleep(watch):
            self._now = boottime()
            for number in range(watch.links, watch.count):
                if not watch.fds[number].revents:
                    continue
                stop = self._pump(watch.fds[number].fd, _FRAMES_PER_TURN)
                if stop > _ENOUGH:
                    self._pending = stop
                    self._pending_queue = watch.fds[number].fd
                    break
            self._finish()
            if self._pending:
                return
            if self._noted_count or self._has_refused:
                self._has_refused = False
                return

    cdef void _finish(self) noexcept nogil:
        cdef int number, slot
        cdef Target *target
        cdef bint is_due
        for number in range(self._active_count):
            slot = self._active[number]
            target = &self._targets[slot]
            target.is_active = False
            if not target.packets:
                continue
            if note_data(
                &self._facts, slot, target.packets, target.octets, self._now
            ):
                target.has_resumed = True
            note_users(&self._facts, slot, self._now)
            target.packets = target.octets = 0
            is_due = target.keys != NULL and _is_rekey_due(target.keys, self._now)
            if (target.has_resumed or is_due) and not target.is_noted:
                target.is_noted = True
                self._noted[self._noted_count] = slot
                self._noted_count += 1
        self._active_count = 0
        self._flush()
        self._tap.show()

    cdef int _pump(self, int queue, int frames) noexcept nogil:
        cdef ssize_t size
        cdef int owner
        self._tap.look()
        while frames > 0:
            frames -= 1
            size = read(queue, self._frame, _FRAME_BYTES)
            if size < 0:
                if c_errno == EINTR:
                    continue
                self._error = c_errno
                return _EMPTY if self._error == EAGAIN else _FAILED
            self._frame_size = <int>size
            read_frame(self._frame, self._frame_size, &self._parsed)
            if self._parsed.count == 0:
                return _WAITING
            if self._parsed.packet[0] >> 4 == 4:
                owner = self._routes4.find(self._parsed.packet + 16)
            else:
                owner = self._routes6.find(self._parsed.packet + 24)
            if owner <= SEVERAL:
                self._shared = owner
                return _SHARED
            if owner == NOBODY or not self._send_frame(owner):
                return _WAITING
        return _ENOUGH

    cdef bint _send_frame(self, int slot) noexcept nogil:
        """Seal the packets of the frame for *slot*; False if the reference must."""
        cdef Target *target
        cdef SealKeys *keys
        cdef Frame *frame = &self._parsed
        cdef uint64_t counter
        cdef int number
        if slot >= self._slots or frame.count == 0:
            return False
        target = &self._targets[slot]
        keys = target.keys
        if keys == NULL or self._now >= keys.expires_at:
            return False
        # The longest is the first, and with it and its padding the run begins.
        if packet_size(frame, 0) + 16 + OVERHEAD + PREFIX_BYTES > BURST_BYTES:
            return False
        # Before anything is encrypted: whatever happens, no counter is used twice.
        if not claim(keys, frame.count, &counter):
            return False
        if not target.is_active:
            target.is_active = True
            self._active[self._active_count] = slot
            self._active_count += 1
        for number in range(frame.count):
            self._seal_packet(target, slot, number, counter + <uint64_t>number)
        # It is sealed, and its packets overwrote each other.
        frame.count = 0
        return True

    cdef void _seal_packet(
        self, Target *target, int slot, int number, uint64_t counter
    ) noexcept nogil:
        cdef SealKeys *keys = target.keys
        cdef int size = packet_size(&self._parsed, number)
        cdef int padded = size + padding(size, self._mtu)
        cdef uint8_t *packet = place_packet(&self._parsed, number)
        cdef int whole = padded + OVERHEAD + (PREFIX_BYTES if target.ways[0].label else 0)
        cdef Burst *burst = self._burst_for(target, slot, whole)
        cdef uint8_t *out = put_prefix(burst.data + burst.used, target.ways[0].label)
        cdef uint8_t behind[FRAME_SLACK]
        cdef bint is_sealed
        if self._tap.sides:
            self._tap.put(
                TUNNEL_OUT, packet, size, slot, PASSED, &target.ways[0].path,
                target.ways[0].label,
            )
        put_little32(out, keys.kind)
        put_little32(out + 4, keys.remote_index)
        put_little64(out + 8, counter)
        # The padding, less than 16 bytes, is written over what follows for a moment.
        memcpy(behind, packet + size, FRAME_SLACK)
        memset(packet + size, 0, padded - size)
        is_sealed = seal(&keys.cipher, counter, packet, padded, out + HEADER_BYTES)
        memcpy(packet + size, behind, FRAME_SLACK)
        if not is_sealed:
            return  # libcrypto is out of memory: the packet is lost, nothing leaks
        burst.last = whole
        burst.used += whole
        burst.count += 1
        target.packets += 1
        target.octets += padded + OVERHEAD

    cdef Burst *_burst_for(self, Target *target, int slot, int size) noexcept nogil:
        """Return a burst of the peer that has room for a datagram of *size* bytes."""
        cdef Burst *burst
        cdef int number
        if target.burst:
            burst = &self._bursts[target.burst - 1]
            # A shorter datagram may be the last; nothing may follow it.
            if (
                size <= burst.segment and burst.last == burst.segment
                and (size == burst.segment or self.takes_tails)
                and burst.count < BURST_DATAGRAMS
                and burst.used + size <= BURST_BYTES
            ):
                return burst
            self._send(burst)
        if self._open_count == MAX_BURSTS:
            self._flush()
        # Sent bursts leave holes; there are few.
        for number in range(MAX_BURSTS):
            if self._bursts[number].slot < 0:
                break
        burst = &self._bursts[number]
        burst.slot, burst.segment = slot, size
        burst.used = burst.count = 0
        burst.last = size
        target.burst = number + 1
        self._open_count += 1
        return burst

    cdef void _flush(self) noexcept nogil:
        """Send all open bursts, those that leave by one socket by one call."""
        cdef Burst *burst
        cdef int number, descriptor
        while self._open_count:
            descriptor = self._next_descriptor()
            self._outgoing.count = 0
            for number in range(MAX_BURSTS):
                burst = &self._bursts[number]
                if burst.slot >= 0 and self._way(burst, 0).descriptor == descriptor:
                    self._gather(burst, 0)
            self._depart(descriptor, 0)
            for number in range(MAX_BURSTS):
                burst = &self._bursts[number]
                if burst.slot >= 0 and self._way(burst, 0).descriptor == descriptor:
                    self._double(burst)
                    self._free(burst)

    cdef int _next_descriptor(self) noexcept nogil:
        """Return by which socket one of the open bursts leaves."""
        cdef int number
        for number in range(MAX_BURSTS):
            if self._bursts[number].slot >= 0:
                return self._way(&self._bursts[number], 0).descriptor
        return -1

    cdef void _send(self, Burst *burst) noexcept nogil:
        self._leave(burst, 0)
        self._double(burst)
        self._free(burst)

    cdef void _double(self, Burst *burst) noexcept nogil:
        """Send what has left by the first way by the second, if there is one."""
        cdef Target *target = &self._targets[burst.slot]
        if target.way_count > 1 and burst.count:
            relabel(burst, target.ways[0].label, target.ways[1].label)
            self._leave(burst, 1)

    cdef void _leave(self, Burst *burst, int way) noexcept nogil:
        self._outgoing.count = 0
        self._gather(burst, way)
        self._depart(self._way(burst, way).descriptor, way)

    cdef Way *_way(self, const Burst *burst, int number) noexcept nogil:
        return &self._targets[burst.slot].ways[number]

    cdef void _gather(self, Burst *burst, int number) noexcept nogil:
        """Let a burst be among those that leave, unless Python must see to it."""
        cdef Way *way = self._way(burst, number)
        if not burst.count:
            return
        if self._tap.sides:
            self._tap.put_burst(
                UNDERLAY_OUT, burst.data, burst.used, burst.segment, burst.slot,
                PASSED, &way.path, way.label,
            )
        if way.descriptor < 0 or (burst.count > 1 and not self.can_segment):
            with gil:
                self._refuse(burst, number)
        else:
            self._leaving[self._outgoing.count] = burst
            add_burst(&self._outgoing, &way.path, burst)

    cdef void _depart(self, int descriptor, int way) noexcept nogil:
        """Send what was gathered; what the kernel does not take is Python's."""
        cdef int at = 0
        while at < self._outgoing.count:
            at += send_from(&self._outgoing, at, descriptor)
            if at < self._outgoing.count:
                with gil:
                    self._refuse(self._leaving[at], way)
                at += 1

    cdef void _free(self, Burst *burst) noexcept nogil:
        """Let the place of a burst be free."""
        self._targets[burst.slot].burst = 0
        burst.slot = -1
        self._open_count -= 1

    cdef int _refuse(self, Burst *burst, int way) except -1 with gil:
        self._has_refused = True
        self._on_refused(
            burst.slot, way, bytearray(burst.data[: burst.used]), burst.segment
        )
        return 0


cdef bint _is_rekey_due(SealKeys *keys, double now) noexcept nogil:
    """Whether control has not heard yet that the session is used or old enough."""
    if keys.is_rekey_reported:
        return False
    return keys.counter[0] > _REKEY_AFTER or now >= keys.rekey_at
