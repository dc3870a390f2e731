"""UDP sockets as the pumps use them: segmented sends, coalesced receives.

Linux takes up to 64 equal datagrams in one call (UDP_SEGMENT, since 4.18) and hands
over received ones the same way (UDP_GRO, since 5.0); that is most of the difference
between 0.1 and 1 Gbit/s. The local address of each datagram travels beside it
(IP_PKTINFO, RFC 3542), so that answers leave from where the peer spoke to.
"""

import errno
import logging
import select
import socket
import struct
from typing import Any

from meshnode.crypto.transport import Arena
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.switches import Switch
from meshnode.offloads import (
    FULL,
    OFF,
    UDP_COALESCING,
    UDP_SEGMENTATION,
    UNFORCED,
    WHOLE,
    Offloads,
)
from meshnode.types import Endpoint, Path, Source

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 65535
"""What one receive brings at most."""

SEND_WAIT_MS = 20
"""How long a full socket buffer holds back the sender, like any slow link would."""

MAX_KNOWN_PATHS = 1024
"""Paths kept as ready objects; beyond, all are forgotten, so memory is bounded."""

_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_PKTINFO = 8
_PMTUDISC_PROBE = 3
_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, by version."""

_U16 = struct.Struct("=H")
_INT = struct.Struct("=i")
_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")
_ANCILLARY = (
    socket.CMSG_SPACE(_INT.size)
    + socket.CMSG_SPACE(_PKTINFO6.size)
    + socket.CMSG_SPACE(_PKTINFO4.size)
)

# What the kernel says of a source address it no longer has, or of its interface.
_SOURCE_GONE = frozenset(
    (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.ENODEV)
)
# What it says of segments that do not fit the path; alone they go in fragments.
_TOO_LARGE_TO_SEGMENT = (errno.EINVAL, errno.EMSGSIZE)

Origin = tuple[tuple[Any, ...], bytes]
"""A sender as the kernel tells it: socket address, and packet information."""

_Ancillary = list[tuple[int, int, bytes]]


class UdpSocket:
    """One bound UDP socket, IPv4 or IPv6-only, made non-blocking and told its options.

    `segmentation` and `coalescing` tell how far the kernel's offloads are used, which
    *offloads* limits. What comes has *port* in its path's source: 0 for the node's own
    socket. A full buffer holds back the sender for *wait_ms* milliseconds.

    Raises:
        OSError: if the kernel has not even the options to learn local addresses.
    """

    def __init__(
        self,
        sock: socket.socket,
        offloads: Offloads = UNFORCED,
        *,
        port: int = 0,
        wait_ms: int = SEND_WAIT_MS,
    ) -> None:
        self.port = port
        self._socket = sock
        self._wait_ms = wait_ms
        self.version = 4 if sock.family == socket.AF_INET else 6
        self.segmentation = Switch(UDP_SEGMENTATION, offloads.udp_segmentation)
        self.coalescing = Switch(UDP_COALESCING, offloads.udp_coalescing)
        self._paths: dict[tuple[object, bytes], Path] = {}
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)
        sock.setblocking(False)
        if self.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        try:
            # Off, too: the socket had other users before, and remembers.
            sock.setsockopt(_SOL_UDP, _UDP_GRO, int(self.coalescing.state == FULL))
        except OSError:
            logger.info("the kernel coalesces no UDP datagrams")
            self.coalescing = Switch(UDP_COALESCING, OFF)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, burst: Burst) -> int:
        """Send *burst*; return how many datagrams of it the host refused.

        No error is raised: routes, filters and neighbours come and go.
        """
        if burst.is_probe:
            return self._send_whole(burst)
        state = self.segmentation.state
        if burst.count > 1 and state == OFF:
            return self._send_singly(burst)
        if burst.has_short_tail and state == WHOLE:
            return sum(map(self.send, burst.without_tail()))
        code = self._send_at_once(burst)
        if code == 0:
            return 0
        if burst.count == 1 or code not in (errno.EIO, *_TOO_LARGE_TO_SEGMENT):
            return burst.count
        if code == errno.EINVAL and burst.has_short_tail:
            return self._send_tail_apart(burst)
        if code == errno.EIO:
            reason = "segmented sends get no checksums; sending singly is slower"
            self.segmentation.lower(OFF, reason)
        return self._send_singly(burst)

    def _send_whole(self, burst: Burst) -> int:
        """Send one datagram with the don't-fragment bit, which no other has.

        The option is the socket's, which other processes have too; what they send
        meanwhile are handshakes, and those fit any path.
        """
        level, option = _DISCOVER[self.version]
        before = self._socket.getsockopt(level, option)
        self._socket.setsockopt(level, option, _PMTUDISC_PROBE)
        try:
            # One that is too large for our own link has told all that it could.
            return int(self._send_at_once(burst) not in (0, errno.EMSGSIZE))
        finally:
            self._socket.setsockopt(level, option, before)

    def _send_tail_apart(self, burst: Burst) -> int:
        """Send in two what was refused as one, and see whether that was to blame."""
        whole, tail = burst.without_tail()
        if whole.count == 1 or self._send_at_once(whole) != 0:
            # No: more likely the segments do not fit the path.
            return self._send_singly(burst)
        refused = self.send(tail)
        if not refused:
            reason = "a shorter last segment is refused; sending it apart is slower"
            self.segmentation.lower(WHOLE, reason)
        return refused

    def _send_singly(self, burst: Burst) -> int:
        path = burst.path
        bursts = [Burst(path, len(d), bytearray(d)) for d in burst.datagrams()]
        return sum(self._send_at_once(one) != 0 for one in bursts)

    def _send_at_once(self, burst: Burst) -> int:
        """Send by one call; where the path's local address has gone, from any."""
        path, data = burst.path, burst.data
        extra: _Ancillary = []
        if burst.count > 1:
            extra.append((_SOL_UDP, _UDP_SEGMENT, _U16.pack(burst.segment_size)))
        if burst.is_probe and self.version == 6:
            # The option alone ignores what routers said; it would fragment here.
            extra.append((socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, _INT.pack(1)))
        if path.source is None:
            return self._send(path.remote, data, extra)
        sticky = _packet_info(path.source)
        code = self._send(path.remote, data, [*extra, sticky])
        if code in _SOURCE_GONE:
            code = self._send(path.remote, data, extra)
        return code

    def _send(self, remote: Endpoint, data: bytearray, ancillary: _Ancillary) -> int:
        """Return 0 or the error number."""
        address: tuple[str, int] | tuple[str, int, int, int]
        if self.version == 4:
            address = (remote.host, remote.port)
        else:
            address = (remote.host, remote.port, 0, remote.scope_id)
        for _ in range(2):
            try:
                self._socket.sendmsg((data,), ancillary, 0, address)
            except BlockingIOError:
                self._writable.poll(self._wait_ms)
            except OSError as error:
                return error.errno or errno.EIO
            else:
                return 0
        return errno.EAGAIN

    def receive_into(self, arena: Arena) -> tuple[int, int, Origin] | None:
        """Receive datagrams of one sender into *arena*, which has `RECEIVE_BYTES`.

        Returns:
            Their bytes together, the size of each (the last may be shorter) and where
            they came from, for `path_of`; or None if nothing more is waiting.
        """
        try:
            length, ancillary, _, address = self._socket.recvmsg_into(
                (arena.data,), _ANCILLARY
            )
        except BlockingIOError:
            return None
        except OSError:
            # What an earlier send caused; reading has cleared it.
            return None
        segment_size, info = length, b""
        for level, kind, data in ancillary:
            if level == _SOL_UDP and kind == _UDP_GRO:
                segment_size = _INT.unpack(data)[0]
            else:
                info = data
        return length, segment_size, (address, info)

    def path_of(self, origin: Origin) -> Path:
        """Return an origin as a path; equal ones as the same object, mostly."""
        path = self._paths.get(origin)
        if path is None:
            if len(self._paths) >= MAX_KNOWN_PATHS:
                self._paths.clear()
            path = self._paths[origin] = _read_path(*origin, self.port)
        return path


def _read_path(address: tuple[Any, ...], info: bytes, own_port: int) -> Path:
    host, port = str(address[0]), int(str(address[1]))
    scope_id = int(str(address[3])) if len(address) == 4 else 0
    source = None
    if len(info) == _PKTINFO4.size:
        interface, local, _ = _PKTINFO4.unpack(info)
        host_here = socket.inet_ntop(socket.AF_INET, local)
        source = Source(host_here, interface, own_port)
    elif len(info) == _PKTINFO6.size:
        local, interface = _PKTINFO6.unpack(info)
        host_here = socket.inet_ntop(socket.AF_INET6, local)
        source = Source(host_here, interface, own_port)
    return Path(Endpoint(host, port, scope_id), source)


def _packet_info(source: Source) -> tuple[int, int, bytes]:
    """Return the control message that sends from *source*."""
    if ":" in source.host:
        local = socket.inet_pton(socket.AF_INET6, source.host)
        data = _PKTINFO6.pack(local, source.interface)
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, data
    local = socket.inet_pton(socket.AF_INET, source.host)
    data = _PKTINFO4.pack(source.interface, local, bytes(4))
    return socket.IPPROTO_IP, _IP_PKTINFO, data
