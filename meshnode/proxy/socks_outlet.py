"""The way out through another SOCKS5 proxy: TCP, UDP, and being called.

An exit of the mesh is one, at its overlay addresses.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from meshnode.codec.proxies import Credentials, ProxyRefusal, Socks5
from meshnode.codec.socks import Command, decode_datagram, encode_datagram
from meshnode.errors import CodecError
from meshnode.proxy.direct_outlet import Direct
from meshnode.proxy.outlets import Datagrams, Incoming, Outlet, OutletError, Refusal
from meshnode.proxy.socks_messages import REFUSALS
from meshnode.proxy.upstream import Stream, Upstream, hear
from meshnode.types import Endpoint, Target

_ANYWHERE: Final = Target("0.0.0.0", 0)
"""Where our datagrams come from: we do not know before we send one."""


class ViaSocks:
    """An `Outlet` through the first SOCKS5 proxy of *places* that answers.

    Names go to it as they are. It is reached *through* another outlet; by default, by
    this host's sockets. One that does not answer is asked last for a minute.
    """

    def __init__(
        self,
        places: Sequence[Target],
        credentials: Credentials,
        *,
        through: Outlet | None = None,
    ) -> None:
        self._through: Outlet = through or Direct()
        self._upstream = Upstream(places, self._through)
        self._credentials = credentials

    async def connect(self, target: Target) -> tuple[Stream, Endpoint]:
        """Connect to *target*; raises `OutletError`."""
        stream, dialogue, _ = await self._open(Command.CONNECT, target)
        return stream, dialogue.place

    async def open_datagrams(self) -> "RelayedDatagrams":
        """Return a place for datagrams at the proxy; raises `OutletError`."""
        stream, dialogue, proxy = await self._open(Command.UDP_ASSOCIATE, _ANYWHERE)
        relay = _reachable(dialogue.place, proxy)
        try:
            inner = await self._through.open_datagrams()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return RelayedDatagrams(inner, relay, stream)

    async def listen(self, peer: Target) -> "RelayedIncoming":
        """Let the proxy wait for *peer*; raises `OutletError`."""
        stream, dialogue, proxy = await self._open(Command.BIND, peer)
        return RelayedIncoming(stream, dialogue, _reachable(dialogue.place, proxy))

    async def _open(
        self, command: Command, target: Target
    ) -> tuple[Stream, Socks5, Target]:
        try:
            return await self._upstream.open(
                lambda: Socks5(target, self._credentials, command),
                lambda dialogue: dialogue.is_open or dialogue.is_waiting,
            )
        except ProxyRefusal as error:
            raise _refusal_of(error) from error


class RelayedDatagrams(Datagrams):
    """Datagrams that a proxy passes on as long as its *stream* is open."""

    def __init__(self, inner: Datagrams, relay: Target, stream: Stream) -> None:
        self._inner = inner
        self._relay = relay
        self._is_over = trio.CancelScope()
        self._receiving: trio.CancelScope | None = None
        self._has_ended = False
        # Whoever has this is in no nursery of ours, and is not to wait when it closes.
        trio.lowlevel.spawn_system_task(self._watch, stream)

    def close(self) -> None:
        """End it."""
        self._is_over.cancel()
        self._inner.close()

    async def send(self, data: bytes, target: Target) -> None:
        """Send *data*; what cannot be said to the proxy is lost."""
        with suppress(CodecError):
            await self._inner.send(encode_datagram(data, target), self._relay)

    async def receive(self) -> tuple[bytes, Target]:
        """Return the next datagram that the proxy passes on; for one task at a time.

        Raises:
            OutletError: if the proxy has ended it.
        """
        with trio.CancelScope() as self._receiving:
            while not self._has_ended:
                datagram, source = await self._inner.receive()
                if not self._is_relay(source):
                    continue
                with suppress(CodecError):
                    return decode_datagram(datagram)
        raise OutletError(Refusal.FAILED, "the proxy ended the association")

    def _is_relay(self, source: Target) -> bool:
        # Of a proxy by name we know the port alone.
        return source == self._relay or (
            self._relay.address is None and source.port == self._relay.port
        )

    async def _watch(self, stream: Stream) -> None:
        try:
            with (
                self._is_over,
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                while await stream.receive_some(1024):
                    pass
        finally:
            self._has_ended = True
            if self._receiving is not None:
                self._receiving.cancel()
            await trio.aclose_forcefully(stream)


class RelayedIncoming(Incoming):
    """A place at a proxy where one peer is expected."""

    def __init__(self, stream: Stream, dialogue: Socks5, place: Target) -> None:
        self._stream: Stream | None = stream
        self._dialogue = dialogue
        self._place = place

    def close(self) -> None:
        """End it."""
        if self._stream is not None:
            trio.lowlevel.spawn_system_task(trio.aclose_forcefully, self._stream)

    @property
    def place(self) -> Endpoint:
        """Where the peer should call."""
        return Endpoint(self._place.host, self._place.port)

    async def accept(self) -> tuple[Stream, Endpoint]:
        """Wait for the peer; raises `OutletError`."""
        if self._stream is None:
            raise OutletError(Refusal.FAILED, "it has called already")
        try:
            while not self._dialogue.is_open:
                await hear(self._stream, self._dialogue)
        except ProxyRefusal as error:
            raise _refusal_of(error) from error
        except CodecError as error:
            raise OutletError(Refusal.FAILED, str(error)) from error
        stream, self._stream = self._stream, None
        return stream, self._dialogue.place


def _refusal_of(error: ProxyRefusal) -> OutletError:
    return OutletError(REFUSALS.get(error.code, Refusal.FAILED), str(error))


def _reachable(place: Endpoint, proxy: Target) -> Target:
    """Return where *place* is, if the proxy says no more than its port."""
    address = Target(place.host, 0).address
    if address is None or address.is_unspecified:
        return Target(proxy.host, place.port)
    return Target(place.host, place.port)
