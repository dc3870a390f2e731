"""Ask a router to forward a UDP port by UPnP IGD, with the optional miniupnpc.

Everything here blocks for seconds: it is called in a thread. Routers that only know
mappings without an end are not asked for one: it would outlive us.
"""

from typing import Any, Final

from meshnode.errors import HostError
from meshnode.types import Endpoint

DISCOVER_MS: Final = 2000
MAX_PORTS: Final = 4
"""Outside ports that are tried, if the first ones are another host's."""

_DESCRIPTION: Final = "meshnode"


def has_upnp() -> bool:
    """Whether the library is installed."""
    try:
        import miniupnpc  # noqa: F401
    except ImportError:
        return False
    return True


class UpnpMapping:
    """Our UDP *port* at the router that the link of *client*, our address, leads to."""

    def __init__(self, client: str, port: int) -> None:
        self._client = client
        self._port = port
        self._router: Any = None
        self._outside = port

    def renew(self, lifetime: int) -> Endpoint:
        """Have the port forwarded for *lifetime* seconds; return where from.

        Raises:
            HostError: if there is no such router, or it does not want to.
        """
        router = self._find()
        refusal = "no port was tried"
        for offset in range(MAX_PORTS):
            outside = (self._outside + offset - 1) % 65535 + 1
            try:
                host = router.externalipaddress()
                if not router.addportmapping(
                    *(outside, "UDP", self._client, self._port),
                    *(_DESCRIPTION, "", lifetime),
                ):
                    continue
            except Exception as error:  # the library has no class of its own
                refusal = str(error)
                continue
            self._outside = outside
            return Endpoint(host, outside)
        self._router = None  # the next time it is looked for again
        raise HostError(f"UPnP: the router refuses: {refusal}")

    def end(self) -> None:
        """Have the port forwarded no more, if it is; a refusal changes nothing."""
        if self._router is None:
            return
        try:
            self._router.deleteportmapping(self._outside, "UDP")
        except Exception as error:  # the library has no class of its own
            raise HostError(f"UPnP: {error}") from error
        finally:
            self._router = None

    def _find(self) -> Any:
        if self._router is None:
            import miniupnpc

            router = miniupnpc.UPnP(multicastif=self._client, discoverdelay=DISCOVER_MS)
            try:
                router.discover()
                router.selectigd()
            except Exception as error:  # the library has no class of its own
                raise HostError(f"UPnP: {error}") from error
            self._router = router
        return self._router
