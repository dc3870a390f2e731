"""Links between the processes: SOCK_SEQPACKET pairs that also carry descriptors.

Messages keep their boundaries and their order, and arrive whole or not at all. An
empty message cannot be told from the end of the link, so none is ever sent.
"""

import array
import errno
import os
import socket
from collections.abc import Sequence

from meshnode.errors import HostError

_SO_SNDBUFFORCE = 32
_INT_BYTES = array.array("i").itemsize


def seqpacket_pair(*, buffer_bytes: int) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a link, non-blocking and closed on exec.

    *buffer_bytes* is how much each direction may hold, the kernel's own overhead
    of some 700 bytes a message included.

    Raises:
        HostError: if the process has no descriptors left.
    """
    try:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise HostError(
            f"cannot make a link between processes: {error.strerror}",
            errno=error.errno or errno.EMFILE,
        ) from error
    for end in pair:
        end.setblocking(False)
        _set_send_buffer(end, buffer_bytes)
    return pair


def send_with_fds(end: socket.socket, data: bytes, fds: Sequence[int] = ()) -> bool:
    """Send one message with duplicates of *fds*; False if the link is full.

    Raises:
        ValueError: if *data* is empty.
        HostError: if it is larger than the link can ever hold (EMSGSIZE), or the
            other end is closed (EPIPE).
    """
    if not data:
        raise ValueError("an empty message means the end of the link")
    try:
        socket.send_fds(end, [data], list(fds))
    except BlockingIOError:
        return False
    except OSError as error:
        # Too many descriptors in flight is congestion too, and passes.
        if error.errno in (errno.ENOBUFS, errno.ETOOMANYREFS):
            return False
        raise _broken(error) from error
    return True


def recv_with_fds(
    end: socket.socket, *, max_bytes: int, max_fds: int = 0
) -> tuple[bytes, list[int]] | None:
    """Receive one message and its descriptors, which are closed on exec.

    Returns:
        None if nothing is there; `(b"", [])` at the end of the link.

    Raises:
        HostError: if the message was larger than allowed (EMSGSIZE; it is lost and
            its descriptors are closed), or the link broke.
    """
    try:
        # Not socket.recv_fds: it loses the flags, and so MSG_CMSG_CLOEXEC.
        data, ancdata, flags, _ = end.recvmsg(
            max_bytes, socket.CMSG_LEN(max_fds * _INT_BYTES), socket.MSG_CMSG_CLOEXEC
        )
    except BlockingIOError:
        return None
    except OSError as error:
        raise _broken(error) from error
    fds = _descriptors(ancdata)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise HostError(
            "a message between processes is too large", errno=errno.EMSGSIZE
        )
    return data, fds


def discard_messages(end: socket.socket, *, max_bytes: int, max_fds: int = 0) -> None:
    """Throw away all that waits on a link: it was meant for who is gone.

    Raises:
        HostError: as `recv_with_fds`.
    """
    while received := recv_with_fds(end, max_bytes=max_bytes, max_fds=max_fds):
        data, fds = received
        for fd in fds:
            os.close(fd)
        if not data:
            return


def _descriptors(ancdata: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancdata:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    return list(fds)


def _set_send_buffer(end: socket.socket, size: int) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
    except PermissionError:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _broken(error: OSError) -> HostError:
    number = error.errno or errno.EIO
    return HostError(f"link between processes: {os.strerror(number)}", errno=number)
