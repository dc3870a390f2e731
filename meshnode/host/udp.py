"""The UDP port: one socket for IPv4 and one for IPv6 on the same number.

The supervisor opens the pair and lends the descriptors to the others. Path MTU
discovery is off (IP_PMTUDISC_DONT): like the kernel's WireGuard, which clears the
don't-fragment bit and ignores its own, a datagram that does not fit the path goes in
fragments. PROBE would set the bit, and a path with a smaller MTU than the interface
would swallow full-size packets; OMIT would ignore what IPv6 routers report, with the
same end.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence

from meshnode.errors import HostError, PrivilegeError
from meshnode.host.ancillary import (
    IP_PKTINFO,
    RECEIVE_SPACE,
    UDP_GRO,
    ancillary_for,
    path_from,
    sockaddr_of,
    split_segments,
)
from meshnode.types import Datagram, Endpoint, Path
from meshnode.values import frozen

BUFFER_BYTES = 4 << 20
"""Asked for in each direction: some 3,600 full datagrams, 60 ms of our best rate."""

_RANDOM_PORT_ATTEMPTS = 100  # as the kernel's WireGuard tries
_MAX_PAYLOAD = 65536

_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DONT = 0

_Prepare = Callable[[socket.socket], None]

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

# What the kernel says of a source it does not have: IPv4 "unreachable", IPv6
# "invalid"; and of an interface that went.
_SOURCE_GONE = (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV)


@frozen
class UdpPair:
    """A socket of each family for the port, non-blocking and closed on exec.

    `v6` is None where the host has no IPv6. `gro` says whether payloads may arrive
    merged, with their segment size beside them.
    """

    port: int
    v4: socket.socket
    v6: socket.socket | None
    gro: bool

    @classmethod
    def adopt(cls, v4_fd: int, v6_fd: int | None) -> "UdpPair":
        """Wrap the descriptors of a pair that another process opened."""
        v4 = socket.socket(fileno=v4_fd)
        v6 = None if v6_fd is None else socket.socket(fileno=v6_fd)
        return cls(v4.getsockname()[1], v4, v6, _has_gro(v4))

    def sockets(self) -> tuple[socket.socket, ...]:
        """Return the sockets there are."""
        return (self.v4,) if self.v6 is None else (self.v4, self.v6)

    def socket_for(self, remote: Endpoint) -> socket.socket:
        """Return the socket that reaches *remote*.

        Raises:
            HostError: with EAFNOSUPPORT for IPv6 where there is none.
        """
        if remote.version == 4:
            return self.v4
        if self.v6 is None:
            raise HostError("this host has no IPv6", errno=errno.EAFNOSUPPORT)
        return self.v6

    def close(self) -> None:
        """Close the sockets of this process."""
        for one in self.sockets():
            one.close()


def open_udp_pair(port: int, *, fwmark: int = 0) -> UdpPair:
    """Bind *port* (0 to 65535, 0 for a random one) on all addresses of both families.

    Raises:
        HostError: with errno 98 if the port is taken.
        PrivilegeError: if the port or the mark needs a privilege we lack.
    """
    return open_udp_pairs(1, port, fwmark=fwmark)[0]


def open_udp_pairs(count: int, port: int, *, fwmark: int = 0) -> tuple[UdpPair, ...]:
    """Bind *count* pairs to one port; the kernel spreads who sends to it over them.

    All datagrams from one address and port reach the same pair. Arguments and errors
    are those of `open_udp_pair`: a port that another program holds is refused, even if
    that program would share it.
    """
    try:
        return _open_with_retries(count, port, fwmark)
    except PermissionError as error:
        raise PrivilegeError(
            f"not allowed to use UDP port {port} with mark {fwmark:#x}: run as root "
            "or with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE",
            errno=error.errno or errno.EPERM,
        ) from error
    except OSError as error:
        number = error.errno or errno.EIO
        if number == errno.EADDRINUSE:
            raise HostError(
                f"UDP port {port} is taken: choose another ListenPort or stop what "
                "uses it (ss -ulpn)",
                errno=number,
            ) from error
        raise HostError(
            f"cannot open UDP port {port}: {os.strerror(number)}", errno=number
        ) from error


def adopt_pairs(descriptors: Sequence[int], count: int) -> tuple[UdpPair, ...]:
    """Wrap the descriptors of *count* pairs: those of IPv4, then those of IPv6, if any.

    It is the order of `descriptors_of`.
    """
    v4, v6 = descriptors[:count], descriptors[count:]
    return tuple(
        UdpPair.adopt(fd, v6[number] if number < len(v6) else None)
        for number, fd in enumerate(v4)
    )


def descriptors_of(pairs: Sequence[UdpPair]) -> list[int]:
    """Return the descriptors of *pairs*: those of IPv4, then those of IPv6, if any."""
    v6 = [pair.v6.fileno() for pair in pairs if pair.v6 is not None]
    return [pair.v4.fileno() for pair in pairs] + v6


def set_fwmark(pair: UdpPair, mark: int) -> None:
    """Mark what the pair sends with *mark* (32 bits, 0 for none) for policy routing.

    Raises:
        PrivilegeError: without CAP_NET_ADMIN.
    """
    try:
        for one in pair.sockets():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _as_signed(mark))
    except PermissionError as error:
        raise PrivilegeError(
            "not allowed to set the firewall mark: run with CAP_NET_ADMIN",
            errno=error.errno or errno.EPERM,
        ) from error


def send_datagram(pair: UdpPair, datagram: Datagram) -> Path:
    """Send one datagram, over no more routers than its `hops`; return the path it took.

    That is the path given, or the same without its source if the host has lost that
    address: the caller should then forget the source too.

    Raises:
        OSError: if the host refused it; no such error is a reason to stop.
        HostError: for IPv6 where there is none.
    """
    path = datagram.path
    try:
        _send(pair, datagram, path)
    except OSError as error:
        if path.source is None or error.errno not in _SOURCE_GONE:
            raise
        path = Path(path.remote)
        _send(pair, datagram, path)
    return path


def send_by(one: socket.socket, datagram: Datagram) -> None:
    """Send one datagram by a socket beside the node's own; raises `OSError`."""
    path = datagram.path
    ancillary = ancillary_for(path, hops=datagram.hops)
    one.sendmsg([datagram.data], ancillary, 0, sockaddr_of(path.remote))


def open_beside(*, fwmark: int = 0) -> socket.socket:
    """Return a UDP socket over IPv4 on a random port, beside the node's own.

    Raises:
        OSError: if it cannot be had, as when there are no descriptors left.
    """
    return _open_socket(socket.AF_INET, 0, fwmark, _prepare_v4)


def receive_datagrams(one: socket.socket) -> list[Datagram]:
    """Receive one payload and cut it into the datagrams it holds; [] if none waits.

    Raises:
        OSError: if the kernel reports an error of an earlier send.
    """
    try:
        data, ancdata, _, sockaddr = one.recvmsg(_MAX_PAYLOAD, RECEIVE_SPACE)
    except BlockingIOError:
        return []
    path, segment_size = path_from(sockaddr, ancdata)
    return [Datagram(part, path) for part in split_segments(data, segment_size)]


def _send(pair: UdpPair, datagram: Datagram, path: Path) -> None:
    send_by(pair.socket_for(path.remote), Datagram(datagram.data, path, datagram.hops))


def _open_with_retries(count: int, port: int, fwmark: int) -> tuple[UdpPair, ...]:
    attempts = 1 if port else _RANDOM_PORT_ATTEMPTS
    while True:
        attempts -= 1
        try:
            first = _open_pair(port, fwmark)
        except OSError as error:
            # The number that was free for IPv4 may be taken for IPv6.
            if error.errno != errno.EADDRINUSE or attempts == 0:
                raise
        else:
            return _open_beside(first, count, fwmark)


def _open_beside(first: UdpPair, count: int, fwmark: int) -> tuple[UdpPair, ...]:
    """Open the other pairs on the port of *first*."""
    pairs = [first]
    try:
        if count > 1:
            # Only now: had the first been bound so, it would have joined the sockets
            # of any program of the same user that shares this port.
            for one in first.sockets():
                _share_port(one)
        for _ in range(1, count):
            # One by one, so that a failure closes those that were opened.
            pairs.append(_open_pair(first.port, fwmark, _share_port))  # noqa: PERF401
    except OSError:
        for pair in pairs:
            pair.close()
        raise
    return tuple(pairs)


def _share_port(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _open_pair(port: int, fwmark: int, *prepare: _Prepare) -> UdpPair:
    v4 = _open_socket(socket.AF_INET, port, fwmark, _prepare_v4, *prepare)
    chosen = v4.getsockname()[1]
    v6 = None
    try:
        v6 = _open_socket(socket.AF_INET6, chosen, fwmark, _prepare_v6, *prepare)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            v4.close()
            raise
    return UdpPair(chosen, v4, v6, _has_gro(v4))


def _open_socket(
    family: socket.AddressFamily,
    port: int,
    fwmark: int,
    *prepare: _Prepare,
) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        for step in prepare:
            step(one)
        _enable_gro(one)
        _set_buffer(one, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
        _set_buffer(one, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
        if fwmark:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _as_signed(fwmark))
        one.bind(("", port))
    except OSError:
        one.close()
        raise
    return one


def _prepare_v4(one: socket.socket) -> None:
    one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)


def _prepare_v6(one: socket.socket) -> None:
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    one.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)


def _enable_gro(one: socket.socket) -> None:
    try:
        one.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:  # kernels before 5.0
            raise


def _has_gro(one: socket.socket) -> bool:
    try:
        return bool(one.getsockopt(socket.IPPROTO_UDP, UDP_GRO))
    except OSError:
        return False


def _set_buffer(one: socket.socket, force: int, ask: int) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, ask, BUFFER_BYTES)


def _as_signed(mark: int) -> int:
    """Return the 32 bits of *mark* in the C int that `setsockopt` packs."""
    return mark - (1 << 32) if mark >= 1 << 31 else mark
