"""Follow one TUN device: its name, MTU and state, in whatever namespace it is.

Theory of operation. The descriptor of a TUN device always knows the device: its name
(TUNGETIFF) and its network namespace (TUNGETDEVNETNS). So notifications are only
hints to look again, and looking again is always the same steps; nothing is lost
when a notification is.

A device that moved is watched through the *id* its new namespace has in ours
(NETLINK_LISTEN_ALL_NSID for notifications, IFLA_TARGET_NETNSID for questions). A
socket opened inside the other namespace would do as well, but would keep that
namespace alive for as long as we run: a container could end, and its interface would
stay. An id holds nothing. Notifications from there need CAP_NET_BROADCAST; without
it only the state right after the move is seen.
"""

import errno
import fcntl
import os
import socket
import sys

from meshnode.errors import HostError, PrivilegeError
from meshnode.host.rtnetlink import (
    NLMSG_ERROR,
    RTM_DELLINK,
    RTM_DELNSID,
    RTM_NEWLINK,
    LinkState,
    Message,
    get_link,
    get_nsid,
    new_nsid,
    parse_error,
    parse_link,
    parse_link_index,
    parse_messages,
    parse_nsid,
)
from meshnode.host.tun import device_name, device_namespace
from meshnode.values import frozen

_RTMGRP_LINK = 1
_RTNLGRP_NSID = 28
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_LISTEN_ALL_NSID = 8
_SIOCGSKNS = 0x894C
_RECEIVE_BYTES = 65536
_LOCATE_ATTEMPTS = 10


@frozen
class LinkGone:
    """The device was deleted, by itself or with its namespace."""


class LinkWatch:
    """Watch the device behind the TUN descriptor *tun_fd*, which stays the caller's.

    `state` is the device as it was last seen. Plain synchronous code for a loop
    around poll().

    Raises:
        HostError: with ENODEV if the device is already gone.
        PrivilegeError: without CAP_NET_ADMIN.
    """

    def __init__(self, tun_fd: int) -> None:
        self._tun_fd = tun_fd
        self._nsid: int | None = None
        self._sequence = 0
        self._gone = False
        self._stale = False
        self._namespace_ended = False
        self._events = _route_socket(_RTMGRP_LINK)
        try:
            self._questions = _route_socket(0)
        except HostError:
            self._events.close()
            raise
        try:
            self._own_namespace = _namespace_of(self._questions)
            state = self._locate()
            if state is None:
                raise HostError("the TUN device was deleted", errno=errno.ENODEV)
        except BaseException:
            self.close()
            raise
        self.state = state

    def fileno(self) -> int:
        """Return the descriptor to poll; readable means: ask `events`."""
        return self._events.fileno()

    def events(self) -> list[LinkState | LinkGone]:
        """Return what changed since the last call, at most the latest state.

        After `LinkGone` there is never anything again.

        Raises:
            PrivilegeError: if the device went where we may not look.
            HostError: if the kernel cannot be asked; the next call asks again.
        """
        self._stale |= self._drain()
        if not self._stale or self._gone:
            return []
        state = None if self._namespace_ended else self._locate()
        self._stale = False
        if state is None:
            self._gone = True
            return [LinkGone()]
        changed = state != self.state
        self.state = state
        return [state] if changed else []

    def close(self) -> None:
        """Close the netlink sockets; closing twice is harmless."""
        self._events.close()
        self._questions.close()

    def _drain(self) -> bool:
        """Read every notification; say whether one was about the device."""
        concerned = False
        while True:
            try:
                data, ancdata, _, _ = self._events.recvmsg(_RECEIVE_BYTES, 64)
            except BlockingIOError:
                return concerned
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                concerned = True  # some were lost, so look again
                continue
            sender = _sender(ancdata)
            for message in parse_messages(data):
                concerned |= self._concerns_device(message, sender)

    def _concerns_device(self, message: Message, sender: int | None) -> bool:
        if message.kind in (RTM_NEWLINK, RTM_DELLINK):
            index = parse_link_index(message.body)
            return sender == self._nsid and index == self.state.index
        if message.kind == RTM_DELNSID and self._nsid is not None:
            # A namespace loses its ids first and its devices a little later, when
            # nobody can be notified any more.
            self._namespace_ended |= parse_nsid(message.body) == self._nsid
            return self._namespace_ended
        return False

    def _locate(self) -> LinkState | None:
        """Find the device and read its state; None if it was deleted."""
        for _ in range(_LOCATE_ATTEMPTS):
            try:
                self._nsid = self._find_namespace()
                name = device_name(self._tun_fd)
                state = self._ask_state(name)
                # Renamed or moved meanwhile: what was read may be another's.
                if state is not None and device_name(self._tun_fd) == name:
                    return state
            except HostError as error:
                if error.errno == errno.ENODEV:
                    return None
                raise
        raise HostError("the TUN device does not stay in one place", errno=errno.EAGAIN)

    def _find_namespace(self) -> int | None:
        """Return the id of the device's namespace, None if it is our own."""
        namespace = device_namespace(self._tun_fd)
        try:
            if _identity(namespace) == self._own_namespace:
                return None
            nsid = self._ask_nsid(namespace)
        finally:
            os.close(namespace)
        self._listen_beyond()
        return nsid

    def _listen_beyond(self) -> None:
        """Hear the namespaces that have an id here, and when one of them ends."""
        for option, value in (
            (_NETLINK_LISTEN_ALL_NSID, 1),
            (_NETLINK_ADD_MEMBERSHIP, _RTNLGRP_NSID),
        ):
            self._events.setsockopt(_SOL_NETLINK, option, value)

    def _ask_nsid(self, namespace: int) -> int:
        nsid = parse_nsid(self._ask(get_nsid(namespace, self._next())).body)
        if nsid is None:
            self._ask(new_nsid(namespace, self._next()))
            nsid = parse_nsid(self._ask(get_nsid(namespace, self._next())).body)
        if nsid is None:
            raise HostError("the interface's network namespace has no id here")
        return nsid

    def _ask_state(self, name: str) -> LinkState | None:
        try:
            answer = self._ask(get_link(name, self._nsid, self._next()))
        except HostError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):
                return None
            raise
        return parse_link(answer.body)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _ask(self, request: bytes) -> Message:
        """Send one request and return its answer; a refusal is raised."""
        self._questions.send(request)
        while True:
            for message in parse_messages(self._questions.recv(_RECEIVE_BYTES)):
                if message.sequence != self._sequence:
                    continue
                if message.kind == NLMSG_ERROR:
                    _raise_refusal(parse_error(message.body))
                return message


def _route_socket(groups: int) -> socket.socket:
    try:
        one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError as error:
        raise HostError(
            f"cannot watch the interface: {error.strerror}",
            errno=error.errno or errno.EMFILE,
        ) from error
    one.bind((0, groups))
    # Answers come at once; notifications are read until there are no more.
    one.setblocking(not groups)
    return one


def _namespace_of(one: socket.socket) -> tuple[int, int]:
    try:
        namespace = fcntl.ioctl(one, _SIOCGSKNS)
    except PermissionError as error:
        raise PrivilegeError(
            "not allowed to watch the interface: run as root or with CAP_NET_ADMIN",
            errno=errno.EPERM,
        ) from error
    try:
        return _identity(namespace)
    finally:
        os.close(namespace)


def _identity(namespace: int) -> tuple[int, int]:
    status = os.fstat(namespace)
    return status.st_dev, status.st_ino


def _sender(ancdata: list[tuple[int, int, bytes]]) -> int | None:
    """Return the id of the namespace a notification is from, None for our own."""
    for level, kind, data in ancdata:
        if (level, kind) == (_SOL_NETLINK, _NETLINK_LISTEN_ALL_NSID):
            return int.from_bytes(data[:4], sys.byteorder, signed=True)
    return None


def _raise_refusal(number: int) -> None:
    if number == errno.EPERM:
        raise PrivilegeError(
            "not allowed to watch the interface in its namespace: run as root",
            errno=number,
        )
    if number:
        raise HostError(
            f"cannot watch the interface: {os.strerror(number)}", errno=number
        )
