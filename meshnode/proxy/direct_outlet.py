"""The way out by this host's own sockets; members are reached by the kernel's routes.

Every address is judged when it is known as a number: a name may lead anywhere, and an
IPv4 address may be written as IPv6.
"""

import itertools
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio

from meshnode.proxy import host_sockets as host
from meshnode.proxy.outlets import Datagrams, Incoming, OutletError, Refusal
from meshnode.types import Endpoint, Target

CONNECT_TIMEOUT: Final = 20.0
"""Seconds until a host has answered, by any of its addresses."""

MAX_DATAGRAM: Final = 65_535
MAX_NAMES: Final = 64
"""Names that one place for datagrams remembers the addresses of."""

_NO_SUCH_NAME: Final = frozenset(
    (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
)

Resolve = Callable[[str], Sequence[str]]
"""Returns the addresses of a name of the mesh; nothing if it is not one."""

Permits = Callable[[IPv4Address | IPv6Address], bool]
"""Returns whether connections to an address, and from it, are let through."""


def _no_name(name: str) -> Sequence[str]:
    return ()


def _any_address(address: IPv4Address | IPv6Address) -> bool:
    return True


class Direct:
    """An `Outlet` by this host's sockets, to what *permits* allows.

    Names are looked up with *resolve*, and if it knows nothing, as the host does.
    """

    def __init__(
        self, *, resolve: Resolve = _no_name, permits: Permits = _any_address
    ) -> None:
        self._resolve = resolve
        self._permits = permits

    async def connect(self, target: Target) -> tuple[trio.SocketStream, Endpoint]:
        """Connect to the first address of *target* that answers, within 20 s.

        Raises:
            OutletError: if none does.
        """
        places = await self.places_of(target)
        with trio.move_on_after(CONNECT_TIMEOUT):
            stream = await host.connect_first(places)
            return stream, host.endpoint_of(stream.socket.getsockname())
        raise OutletError(Refusal.TIMED_OUT)

    async def open_datagrams(self) -> "HostDatagrams":
        """Return a socket for both families; raises `OutletError`."""
        try:
            return HostDatagrams(self, await _datagram_socket())
        except OSError as error:
            raise host.refusal_of(error) from error

    async def listen(self, peer: Target) -> "HostIncoming":
        """Listen at the address by which this host reaches *peer*.

        Raises:
            OutletError: if the peer is nobody in particular, or is not to be reached.
        """
        places = await self.places_of(peer)
        expected = frozenset(place.host for place in places)
        if any(host.address_of(place).is_unspecified for place in places):
            raise OutletError(Refusal.FORBIDDEN, "nobody in particular would be let in")
        try:
            listener = trio.socket.socket(host.family_of(places[0]))
            try:
                await listener.bind(await _local_address(places[0]))
                listener.listen(1)
            except BaseException:
                listener.close()
                raise
        except OSError as error:
            raise host.refusal_of(error) from error
        return HostIncoming(listener, expected)

    def permits(self, place: Endpoint) -> bool:
        """Return whether datagrams go there, and come from there."""
        return self._permits(host.address_of(place))

    async def places_of(self, target: Target) -> list[Endpoint]:
        """Return where *target* may be reached, at least one, families in turn.

        Raises:
            OutletError: if it has no address, or none that is permitted.
        """
        found = await self._look_up(target)
        places = list(_in_turn(dict.fromkeys(found)))
        if not places:
            raise OutletError(Refusal.NO_SUCH_NAME)
        allowed = [place for place in places if self.permits(place)]
        if not allowed:
            raise OutletError(Refusal.FORBIDDEN)
        return allowed

    async def _look_up(self, target: Target) -> list[Endpoint]:
        if target.address is None and (hosts := self._resolve(target.host)):
            return [host.endpoint_of((one, target.port)) for one in hosts]
        try:
            answers = await trio.socket.getaddrinfo(
                target.host, target.port, type=socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                raise OutletError(Refusal.NO_SUCH_NAME) from error
            if error.errno == socket.EAI_AGAIN:
                text = "the name servers do not answer"
                raise OutletError(Refusal.TIMED_OUT, text) from error
            raise OutletError(Refusal.FAILED, error.strerror or "") from error
        except OSError as error:
            raise host.refusal_of(error) from error
        except ValueError as error:
            # No name can be so: a label too long, a zero byte.
            raise OutletError(Refusal.NO_SUCH_NAME) from error
        families = (socket.AF_INET, socket.AF_INET6)
        return [host.endpoint_of(one[4]) for one in answers if one[0] in families]


class HostDatagrams(Datagrams):
    """A UDP socket that speaks IPv4 and IPv6, if the host does."""

    def __init__(self, outlet: Direct, one: trio.socket.SocketType) -> None:
        self._outlet = outlet
        self._socket = one
        self._names: dict[Target, Endpoint] = {}

    def close(self) -> None:
        """End it."""
        self._socket.close()

    async def send(self, data: bytes, target: Target) -> None:
        """Send *data*; what is not permitted or cannot be sent is lost."""
        with suppress(OutletError, OSError):
            place = await self._place_of(target)
            await self._socket.sendto(data, self._sockaddr_of(place))

    async def receive(self) -> tuple[bytes, Target]:
        """Return the next datagram that is permitted; raises `OutletError`."""
        while True:
            try:
                data, sockaddr = await self._socket.recvfrom(MAX_DATAGRAM)
            except OSError as error:
                raise host.refusal_of(error) from error
            place = host.endpoint_of(sockaddr)
            if self._outlet.permits(place):
                return data, Target(place.host, place.port)

    async def _place_of(self, target: Target) -> Endpoint:
        if target.address is not None:
            return (await self._outlet.places_of(target))[0]
        # Whoever sends to a name sends many, and wants them at one place.
        if target not in self._names:
            if len(self._names) >= MAX_NAMES:
                del self._names[next(iter(self._names))]
            self._names[target] = (await self._outlet.places_of(target))[0]
        return self._names[target]

    def _sockaddr_of(
        self, place: Endpoint
    ) -> tuple[str, int] | tuple[str, int, int, int]:
        is_dual = self._socket.family == socket.AF_INET6
        if place.version == 4 and is_dual:
            return f"::ffff:{place.host}", place.port, 0, 0
        if place.version == 6 and not is_dual:
            raise OutletError(Refusal.NETWORK_UNREACHABLE)
        return host.sockaddr_of(place)


class HostIncoming(Incoming):
    """A listening socket at which only *expected* hosts are let in."""

    def __init__(
        self, listener: trio.socket.SocketType, expected: frozenset[str]
    ) -> None:
        self._listener = listener
        self._expected = expected

    def close(self) -> None:
        """End it."""
        self._listener.close()

    @property
    def place(self) -> Endpoint:
        """Where the peer should call."""
        return host.endpoint_of(self._listener.getsockname())

    async def accept(self) -> tuple[trio.SocketStream, Endpoint]:
        """Wait for the peer; others are turned away. Raises `OutletError`."""
        while True:
            try:
                one, sockaddr = await self._listener.accept()
            except OSError as error:
                raise host.refusal_of(error) from error
            peer = host.endpoint_of(sockaddr)
            if peer.host in self._expected:
                return trio.SocketStream(one), peer
            one.close()


async def _datagram_socket() -> trio.socket.SocketType:
    try:
        one = trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        # A host without IPv6.
        return trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    await one.bind(("::", 0))
    return one


async def _local_address(
    place: Endpoint,
) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return our address on the way to *place*, with port 0; nothing is sent."""
    with trio.socket.socket(host.family_of(place), socket.SOCK_DGRAM) as probe:
        await probe.connect(host.sockaddr_of(Endpoint(place.host, 9, place.scope_id)))
        ours = host.endpoint_of(probe.getsockname())
        return host.sockaddr_of(Endpoint(ours.host, 0, ours.scope_id))


def _in_turn(places: Iterable[Endpoint]) -> Iterable[Endpoint]:
    """Yield IPv6 and IPv4 in turn, beginning with the first's (RFC 8305, 4)."""
    everything = list(places)
    first = [one for one in everything if one.version == everything[0].version]
    second = [one for one in everything if one.version != everything[0].version]
    for pair in itertools.zip_longest(first, second):
        yield from (one for one in pair if one is not None)
