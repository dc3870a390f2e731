"""The way out through an HTTP proxy: TCP alone, with CONNECT."""

from collections.abc import Sequence
from typing import Final

from meshnode.codec.proxies import (
    Credentials,
    HttpConnect,
    ProxyRefusal,
)
from meshnode.codec.socks import NOWHERE
from meshnode.proxy.direct_outlet import Direct
from meshnode.proxy.outlets import Datagrams, Incoming, Outlet, OutletError, Refusal
from meshnode.proxy.upstream import Stream, Upstream
from meshnode.types import Endpoint, Target

_REFUSALS: Final = {
    401: Refusal.FORBIDDEN,
    403: Refusal.FORBIDDEN,
    404: Refusal.NO_SUCH_NAME,
    405: Refusal.UNSUPPORTED,
    407: Refusal.FORBIDDEN,
    429: Refusal.BUSY,
    501: Refusal.UNSUPPORTED,
    502: Refusal.HOST_UNREACHABLE,
    503: Refusal.HOST_UNREACHABLE,
    504: Refusal.TIMED_OUT,
}


class ViaHttp:
    """An `Outlet` through the first HTTP proxy of *places* that answers.

    Names go to it as they are. It is reached *through* another outlet; by default, by
    this host's sockets.
    """

    def __init__(
        self,
        places: Sequence[Target],
        credentials: Credentials,
        *,
        through: Outlet | None = None,
    ) -> None:
        self._upstream = Upstream(places, through or Direct())
        self._credentials = credentials

    async def connect(self, target: Target) -> tuple[Stream, Endpoint]:
        """Connect to *target*; the address is unknown. Raises `OutletError`."""
        try:
            stream, _, _ = await self._upstream.open(
                lambda: HttpConnect(target, self._credentials),
                lambda dialogue: dialogue.is_open,
            )
        except ProxyRefusal as error:
            refusal = _REFUSALS.get(error.code, Refusal.FAILED)
            raise OutletError(refusal, str(error)) from error
        return stream, NOWHERE

    async def open_datagrams(self) -> Datagrams:
        """Raise `OutletError`: HTTP/1.1 carries none."""
        raise OutletError(Refusal.UNSUPPORTED)

    async def listen(self, peer: Target) -> Incoming:
        """Raise `OutletError`: nobody can call an HTTP proxy."""
        raise OutletError(Refusal.UNSUPPORTED)
